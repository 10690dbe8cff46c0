#!/usr/bin/env python3
"""DEL of a large set, and FLUSHALL, on real processes: gone at once on both sides of a cut, but for what it had not seen; through kill -9."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster  # noqa: E402

MEMBERS = 50_000
KEYS = 20_000


def fill(node, key, names):
    client = node.client()
    for first in range(0, len(names), 1000):
        client.pipeline([("SADD", key) + tuple(names[first:first + 1000])])
    client.close()


def log_bytes(node):
    return int(next(line for line in node.call("INFO").splitlines() if line.startswith("log_bytes:")).split(":")[1])


def main():
    began = time.time()
    with Cluster(["a", "b"], namespaces=False) as cluster:
        cluster.start()
        a, b = cluster.nodes
        names = ["m%d" % i for i in range(MEMBERS)]
        fill(a, "crowd", names)
        a.call("HSET", "hash", *(word for i in range(200) for word in ("f%d" % i, "text" if i % 10 else "7")))
        cluster.wait_agreement()
        cluster.cut("a", "b")
        assert b.call("SADD", "crowd", "m7", "new") == 1  # not seen by the DEL
        assert b.call("HINCRBY", "hash", "f10", 5) == 12
        before = log_bytes(a)
        assert a.call("DEL", "crowd", "hash") == 2
        assert log_bytes(a) - before < 20_000, (before, log_bytes(a))
        for command in (("EXISTS", "crowd", "hash"), ("SCARD", "crowd"), ("HLEN", "hash"), ("SISMEMBER", "crowd", "m9"), ("DBSIZE",)):
            assert a.call(*command) == 0, command
        assert a.call("TYPE", "crowd") == "none" and a.call("SADD", "crowd", "later") == 1
        a.kill9()  # rows are left of it
        a.start()
        assert a.call("SMEMBERS", "crowd") == ["later"]
        b.kill9()
        b.start()
        assert b.call("SCARD", "crowd") == MEMBERS + 1
        cluster.heal("a", "b")
        cluster.wait_connected()
        cluster.wait_agreement()
        for node in cluster.nodes:
            assert sorted(node.call("SMEMBERS", "crowd")) == ["later", "m7", "new"], node.call("SCARD", "crowd")
            assert node.call("HGETALL", "hash") == ["f10", "5"], node.call("HGETALL", "hash")
            assert node.call("DBSIZE") == 2
            assert "diverge" not in node.log()
        print("clear_test: %d members gone by one entry, what it had not seen stayed (%.1f s)" % (MEMBERS, time.time() - began))
        flushed(cluster)


def flushed(cluster):
    """FLUSHALL: one entry a shard, but for what counts; the other side of a cut has written meanwhile."""
    began = time.time()
    a, b = cluster.nodes
    client = a.client()
    for first in range(0, KEYS, 1000):
        client.pipeline([("SET", "k%d" % i, "text", "EX", "1000") for i in range(first, first + 1000)])
    client.close()
    a.call("MSET", *(word for i in range(50) for word in ("n%d" % i, "7")))
    a.call("SADD", "set", *("m%d" % i for i in range(100)))
    cluster.wait_agreement()
    cluster.cut("a", "b")
    assert b.call("SET", "k7", "unseen") == "OK"
    assert b.call("SADD", "set", "unseen") == 1
    assert b.call("INCRBY", "n3", 5) == 12
    before = log_bytes(a)
    assert a.call("FLUSHALL") == "OK"
    assert log_bytes(a) - before < 60_000, (before, log_bytes(a))
    for command in (("DBSIZE",), ("EXISTS", "k3", "n3", "set", "crowd"), ("KEYS", "*")):
        assert not a.call(*command), command
    assert a.call("RANDOMKEY") is None and a.call("SCAN", "0", "COUNT", "1000") == ["0", []]
    assert a.call("TTL", "k7") == -2 and a.call("SET", "k9", "later") == "OK"
    for node in (a, b):
        node.kill9()
        node.start()
    assert a.call("KEYS", "*") == ["k9"] and b.call("DBSIZE") == KEYS + 53
    cluster.heal("a", "b")
    cluster.wait_connected()
    cluster.wait_agreement()
    for node in cluster.nodes:
        assert sorted(node.call("KEYS", "*")) == ["k7", "k9", "n3", "set"], node.call("DBSIZE")
        assert node.call("MGET", "k7", "k9", "n3") == ["unseen", "later", "5"]
        assert node.call("SMEMBERS", "set") == ["unseen"] and node.call("TTL", "k7") == -1
        assert "diverge" not in node.log()
    print("clear_test: %d keys gone by FLUSHALL, what it had not seen stayed (%.1f s)" % (KEYS, time.time() - began))


if __name__ == "__main__":
    main()
