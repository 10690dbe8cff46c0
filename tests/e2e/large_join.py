#!/usr/bin/env python3
"""A node with little memory joins a node with much data. Run by hand: it says how long it took, and what it cost.

SKERRYD names the binary; SKERRY_JOIN_MB the data (default 1000), SKERRY_JOIN_MEMORY the joining node's --memory (64mb),
SKERRY_JOIN_KILLS how often the joining node is killed while it stages or drains (0).
"""
import os
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, ReplyError, free_port  # noqa: E402

MEGABYTES = int(os.environ.get("SKERRY_JOIN_MB", "1000"))
MEMORY = os.environ.get("SKERRY_JOIN_MEMORY", "64mb")
KILLS = int(os.environ.get("SKERRY_JOIN_KILLS", "0"))
VALUE_BYTES = 1000
KEYS = MEGABYTES * 1000


def value(i):
    return ("%d " % i).encode().ljust(VALUE_BYTES, b"v")


def fill(node):
    client = node.client(timeout=120)
    for first in range(0, KEYS, 500):
        for reply in client.pipeline([("SET", "key:%d" % i, value(i)) for i in range(first, first + 500)]):
            assert reply == "OK", reply
    for first in range(0, 20000, 500):
        client.pipeline([("SADD", "crowd", "member:%d" % i) for i in range(first, first + 500)])
    client.close()


class Reader(threading.Thread):
    """Reads keys of the joining node, one after the other, and notes the slowest reply."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node = node
        self.found = self.missing = self.failed = 0
        self.slow = []
        self.stopped = False

    def run(self):
        i, client = 0, None
        while not self.stopped:
            i = (i + 7919) % KEYS
            began = time.time()
            try:
                client = client or self.node.client(timeout=60)
                reply = client.call("GET", "key:%d" % i)
            except (OSError, ConnectionError, ReplyError):
                self.failed += 1
                client = None
                time.sleep(0.05)
                continue
            self.slow.append(time.time() - began)
            if reply is None:
                self.missing += 1
            else:
                assert reply.encode() == value(i), "key:%d is %.60r" % (i, reply)
                self.found += 1
            time.sleep(0.002)


def memory_of(node):
    found = {}
    with open("/proc/%d/status" % node.process.pid) as status:
        for line in status:
            name, _, rest = line.partition(":")
            if name in ("VmHWM", "RssAnon", "VmRSS"):
                found[name] = int(rest.split()[0]) // 1024
    return found


def draining(port):
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=60) as page:
        return b"\nskerry_draining 1" in page.read()


def main():
    http = free_port()
    extra = ["--memory", MEMORY, "--http", "127.0.0.1:%d" % http]
    with Cluster(["full", "new"], namespaces=False) as cluster:
        full, new = cluster.nodes
        began = time.time()
        full.start("--memory", "1gb")
        fill(full)
        keys = full.call("DBSIZE")
        print("filled: %d keys in %.0f s" % (keys, time.time() - began), flush=True)
        began = time.time()
        new.start(*extra)
        reader = Reader(new)
        reader.start()
        anonymous, resident, flipped, kills = 0, 0, None, 0
        while time.time() < began + 3600:
            time.sleep(0.2)
            if kills < KILLS and time.time() > began + 5 * (kills + 1):
                new.kill9()
                kills += 1
                new.start(*extra)
            memory = memory_of(new)
            anonymous, resident = max(anonymous, memory["RssAnon"]), max(resident, memory["VmHWM"])
            size = new.call("DBSIZE")
            assert size in (0, keys), size
            if flipped is None and size == keys:
                flipped = time.time() - began
                assert new.call("SCARD", "crowd") == 20000
                print("flipped after %.1f s" % flipped, flush=True)
            # The page is made once a second.
            if flipped is not None and time.time() > began + flipped + 2 and not draining(http):
                break
        reader.stopped = True
        reader.join()
        slow = sorted(reader.slow)
        print("drained after %.1f s; kills %d" % (time.time() - began, kills))
        print("memory in MiB at most: anonymous %d, resident with mapped pages %d" % (anonymous, resident))
        print("reads meanwhile: %d found, %d before the flip, %d without a node; 50 %% in %.1f ms, 99 %% in %.1f ms, all in %.0f ms"
              % (reader.found, reader.missing, reader.failed, 1000 * slow[len(slow) // 2], 1000 * slow[len(slow) * 99 // 100],
                 1000 * slow[-1]))
        cursor, seen = "0", 0
        client = new.client()
        while True:
            cursor, page = client.call("SCAN", cursor, "COUNT", 1000)
            seen += len(page)
            if cursor == "0":
                break
        assert seen == keys, (seen, keys)
        for line in new.log().splitlines():
            if "pull" in line or "diverge" in line:
                print(line)


if __name__ == "__main__":
    main()
