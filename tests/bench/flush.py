"""What FLUSHALL costs, and what another client feels of it.

Usage: tests/bench/flush.py [--keys N]
Needs redis-benchmark, and build/release/skerryd (./run --build).
"""
import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from cluster import Cluster  # noqa: E402


class Writer:
    """Another client: a durable SET each millisecond."""

    def __init__(self, node):
        self.took, self.ended = [], threading.Event()
        self.client = node.client()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended.wait(0.001):
            began = time.time()
            self.client.call("SET", "other", "value")
            self.took.append(time.time() - began)

    def print(self, when):
        while not self.took:
            time.sleep(0.001)
        took, self.took = sorted(self.took), []
        print("another client's SET %s: p50 %.1f ms, p99 %.1f ms, longest %.1f ms" %
              (when, took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3, took[-1] * 1e3))


def used_memory(node):
    lines = node.call("INFO", "memory").splitlines()
    return int(next(line for line in lines if line.startswith("used_memory:")).split(":")[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    keys = str(parser.parse_args().keys)
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as directory, \
            Cluster(["eu"], directory=directory, namespaces=False, extra=["--memory", "4gb"]) as cluster:
        node = cluster.start().nodes[0]
        subprocess.run(["redis-benchmark", "-h", node.host, "-p", str(node.port), "-c", "50", "-P", "64", "-n", str(3 * int(keys)), "-r", keys,
                        "-t", "set", "-d", "64", "-q"], check=True, stdout=subprocess.DEVNULL)
        writer = Writer(node)
        time.sleep(2)
        writer.print("before")
        full = used_memory(node)
        there, began = node.call("DBSIZE"), time.time()
        assert node.client(timeout=600).call("FLUSHALL") == "OK"
        print("FLUSHALL of %d keys: %.1f ms" % (there, (time.time() - began) * 1e3))
        writer.print("meanwhile")
        while used_memory(node) > full // 20 and time.time() < began + 180:
            time.sleep(0.5)
        writer.print("behind it")
        print("memory %d MB of %d MB after %.0f s" % (used_memory(node) >> 20, full >> 20, time.time() - began))
        writer.ended.set()
        writer.thread.join()


if __name__ == "__main__":
    main()
