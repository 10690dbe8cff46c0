"""Skerry beside Debian's redis-server, in one run: throughput and the server's CPU time per command, alternating.

Usage: tests/bench/compare_redis.py [--keys N] [--fill N] [--requests N] [--rounds N] [--cells A,B] [--modes A,B]
Needs redis-server and redis-benchmark, and build/release/skerryd (./run --build). Prints medians and ratios.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from cluster import SKERRYD, Client, free_port  # noqa: E402

CELLS = ["SET", "GET", "INCR", "SADD", "HSET", "MSET"]
MODES = {"always": (["--appendfsync", "always"], "always"), "interval": (["--appendfsync", "everysec"], "interval")}


def cpu_seconds(pid):
    """User and system time of the process and of the children that it has waited for (redis-server rewrites its file in one)."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


class Server:
    def __init__(self, kind, mode, directory):
        self.port = free_port()
        redis_flags, durability = MODES[mode]
        path = os.path.join(directory, kind)
        os.makedirs(path, exist_ok=True)
        if kind == "redis":
            command = ["redis-server", "--port", str(self.port), "--dir", path, "--save", "", "--appendonly", "yes"] + redis_flags
        else:
            command = [SKERRYD, "--listen", "127.0.0.1:%d" % self.port, "--dir", path, "--durability", durability,
                       "--memory", "8gb", "--log-level", "error"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                Client("127.0.0.1", self.port).call("PING")
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("%s does not start" % kind)

    def bench(self, cell, pipeline, keys, requests):
        before = cpu_seconds(self.process.pid)
        out = subprocess.run(["redis-benchmark", "-p", str(self.port), "-c", "50", "-P", str(pipeline), "-n", str(requests),
                              "-r", str(keys), "-d", "64", "-t", cell.lower(), "--csv"],
                             check=True, capture_output=True, text=True).stdout
        cpu = cpu_seconds(self.process.pid) - before
        rate = float(out.strip().splitlines()[-1].split('","')[1].strip('"'))
        return rate, cpu / requests * 1e6

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fill", type=int, default=0, help="SETs of random keys before the first cell")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--modes", default=",".join(MODES))
    arguments = parser.parse_args()
    print("| durability | pipeline | command | skerry req/s | redis req/s | ratio | skerry µs CPU | redis µs CPU | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for mode in arguments.modes.split(","):
        directory = tempfile.mkdtemp(prefix="skerry-bench-")
        servers = {kind: Server(kind, mode, directory) for kind in ("redis", "skerry")}
        try:
            if arguments.fill:
                for server in servers.values():
                    server.bench("SET", 64, arguments.keys, arguments.fill)
            for pipeline in (1, 16):
                for cell in arguments.cells.split(","):
                    requests = arguments.requests // (1 if pipeline > 1 else 2) // (10 if cell == "MSET" else 1)
                    results = {"redis": [], "skerry": []}
                    for _ in range(arguments.rounds):
                        for kind, server in servers.items():
                            results[kind].append(server.bench(cell, pipeline, arguments.keys, requests))
                    rate = {kind: statistics.median(r[0] for r in rows) for kind, rows in results.items()}
                    cpu = {kind: statistics.median(r[1] for r in rows) for kind, rows in results.items()}
                    print("| %s | %d | %s | %.0f | %.0f | %.2f | %.2f | %.2f | %.2f |" % (
                        mode, pipeline, cell, rate["skerry"], rate["redis"], rate["skerry"] / rate["redis"],
                        cpu["skerry"], cpu["redis"], cpu["skerry"] / cpu["redis"]), flush=True)
        finally:
            for server in servers.values():
                server.stop()
            shutil.rmtree(directory, ignore_errors=True)


main()
