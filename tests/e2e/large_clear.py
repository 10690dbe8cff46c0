#!/usr/bin/env python3
"""DEL of a large set, with two nodes, while others read and write. Run by hand: it says what it cost whom.

SKERRYD names the binary; SKERRY_CLEAR_MEMBERS the set (default 1000000).
"""
import os
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, free_port  # noqa: E402

MEMBERS = int(os.environ.get("SKERRY_CLEAR_MEMBERS", "1000000"))


class Writer(threading.Thread):
    """Another client: SET and GET in turn, and how long each reply took."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.client, self.took, self.stopped = node.client(timeout=60), [], False

    def run(self):
        i = 0
        while not self.stopped:
            i += 1
            began = time.time()
            self.client.call("SET", "beside:%d" % (i % 100), i)
            self.client.call("GET", "beside:%d" % (i % 100))
            self.took.append((began, time.time() - began))
            time.sleep(0.001)

    def between(self, first, last):
        took = sorted(took for at, took in self.took if first <= at < last)
        return "n %d, 50 %% %.2f ms, 99 %% %.2f ms, slowest %.2f ms" % (
            len(took), 1000 * took[len(took) // 2], 1000 * took[len(took) * 99 // 100], 1000 * took[-1])


def metric(port, name):
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=60) as page:
        for line in page.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    raise KeyError(name)


def fill(node, key):
    client = node.client(timeout=120)
    for first in range(0, MEMBERS, 1000):
        client.pipeline([("SADD", key) + tuple("member:%d" % i for i in range(first, first + 1000))])
    client.close()


def main():
    with Cluster(["a", "b"], namespaces=False) as cluster:
        pages = [free_port(), free_port()]
        for node, page in zip(cluster.nodes, pages):
            node.start("--http", "127.0.0.1:%d" % page)
        cluster.wait_connected()
        a, b = cluster.nodes
        began = time.time()
        fill(a, "crowd")
        cluster.wait_agreement(120)
        print("filled: %d members in %.0f s" % (a.call("SCARD", "crowd"), time.time() - began), flush=True)
        for node, page in zip(cluster.nodes, pages):  # a clean end brings all to the ordered store
            node.stop()
            node.start("--http", "127.0.0.1:%d" % page)
        cluster.wait_connected()
        a.call("SADD", "crowd", "one more")
        cluster.wait_agreement(120)
        sizes = [os.stat(os.path.join(node.directory, "state.mdb")).st_blocks // 2048 for node in cluster.nodes]
        writers = [Writer(node) for node in cluster.nodes]
        for writer in writers:
            writer.start()
        quiet = time.time()
        time.sleep(10)
        client = a.client()
        began = time.time()
        assert client.call("DEL", "crowd") == 1
        took = time.time() - began
        assert client.call("EXISTS", "crowd") == 0 and client.call("SCARD", "crowd") == 0
        b.call("CRDT.BARRIER", a.call("CRDT.CLOCK"), 10000)
        assert b.call("EXISTS", "crowd") == 0 and b.call("TYPE", "crowd") == "none"
        print("DEL answered in %.2f ms, seen by the other node after %.1f ms" % (1000 * took, 1000 * (time.time() - began)), flush=True)
        time.sleep(2)  # the page is made once a second
        while any(metric(page, "skerry_masked_keys") for page in pages):
            assert time.time() < began + 300
            time.sleep(0.5)
        done = time.time()
        print("nothing left of it after %.1f s" % (done - began))
        time.sleep(2)
        for writer in writers:
            writer.stopped = True
            writer.join()
        for node, writer in zip(cluster.nodes, writers):
            print("%s before:    %s" % (node.name, writer.between(quiet, began)))
            print("%s meanwhile: %s" % (node.name, writer.between(began, done)), flush=True)
        fill(a, "other")  # as large: it finds the space of the first
        cluster.wait_agreement(120)
        for node in cluster.nodes:
            node.stop()
        now = [os.stat(os.path.join(node.directory, "state.mdb")).st_blocks // 2048 for node in cluster.nodes]
        print("state.mdb in MiB with the set %s, with another as large in its place %s" % (sizes, now))


if __name__ == "__main__":
    main()
