"""What no redis-benchmark shows: propagation, large sets, catching up, bytes per key, restarting. Prints Markdown lines.

Usage: tests/bench/figures.py [--keys N]      (build/release/skerryd is measured: ./run --build)
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from cluster import Cluster  # noqa: E402

VALUE_BYTES = 64
PIPE = 1000


def info(node, key):
    for section in ("crdt", "memory"):
        for line in node.call("INFO", section).splitlines():
            if line.startswith(key + ":"):
                return int(line.split(":")[1])
    raise KeyError(key)


def fill(client, keys):
    for at in range(0, len(keys), PIPE):
        client.pipeline([["SET", "key:%d" % i, os.urandom(VALUE_BYTES // 2).hex()] for i in keys[at:at + PIPE]])


def propagation(a, b):
    writer, reader, taken = a.client(), b.client(), []
    for i in range(600):
        began = time.perf_counter()
        writer.call("SET", "ping", i)
        while reader.call("GET", "ping") != str(i):
            pass
        taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    print("- write on A until B shows it: p50 %.2f ms, p99 %.2f ms (%d samples; durable on A first, seen by polling B)" % (
        taken[len(taken) // 2], taken[len(taken) * 99 // 100], len(taken)), flush=True)


def large_sets(node):
    client, times = node.client(), {}
    for count in (10, 10_000, 1_000_000):
        for at in range(0, count, PIPE):
            client.pipeline([["SADD", "set:%d" % count] + ["m%d" % m for m in range(at, min(at + PIPE, count))]])
        rounds = []
        for r in range(21):
            commands = [["SADD", "set:%d" % count, "n%d-%d" % (r, i)] for i in range(PIPE)]
            began = time.perf_counter()
            client.pipeline(commands)
            rounds.append((time.perf_counter() - began) / PIPE * 1e6)
        times[count] = statistics.median(rounds)
    print("- SADD of a new member, pipelined, into a set of 10: %.1f us, 10^4: %.1f us, 10^6: %.1f us" % tuple(times.values()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    keys = parser.parse_args().keys
    with Cluster(["a", "b"], namespaces=False, extra=["--memory", "4gb", "--log-level", "info"]) as cluster:
        cluster.start()
        a, b = cluster.nodes
        propagation(a, b)
        client = a.client()
        before = info(a, "used_memory")
        fill(client, range(keys))
        cluster.wait_agreement(300)
        rss = int(subprocess.run(["ps", "-o", "rss=", "-p", str(a.process.pid)], capture_output=True, text=True).stdout) * 1024
        print("- memory per key of 64 bytes: %.0f bytes counted, %.0f resident" % ((info(a, "used_memory") - before) / keys, rss / keys), flush=True)
        b.stop()
        fill(client, range(0, keys, 10))
        began = time.time()
        b.start()
        print("- restart with %d keys: %.2f s until it answers" % (keys, time.time() - began))
        cluster.wait_agreement(300)
        changed = keys // 10
        leaf = len("key:%d" % keys) + VALUE_BYTES + 1 + 24  # key, payload, and an entry's writer, seq and hlc
        received = info(b, "skerry_peer_bytes_in_total")
        print("- catching up %d changed of %d keys: %.1f MB received, %.2f of the bytes of those leaves; %.1f s" % (
            changed, keys, received / 1e6, received / (changed * leaf), time.time() - began), flush=True)
        a.stop()
        size = {name: sum(os.stat(os.path.join(root, f)).st_blocks * 512 for root, _, files in os.walk(os.path.join(a.directory, *part)) for f in files)
                for name, part in (("all", ()), ("log", ("log",)))}
        print("- bytes on disk per key: %.0f in the ordered store, %.0f in the log kept" % (
            (size["all"] - size["log"]) / keys, size["log"] / keys), flush=True)
        a.start()
        large_sets(a)


main()
