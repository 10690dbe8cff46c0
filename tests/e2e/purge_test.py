"""Traces of removals go: 10^5 keys and set members are deleted on three nodes, and no tombstone is left.

Then a node is away for longer than --member-silent-ms while the others delete and purge: it comes back through a pull of all
leaves, its own writes made while it was away survive, and nothing that was deleted returns. `--count N` deletes N keys and
N members instead of 50 000 each, and prints how fast tombstones fall.
"""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import ROOT, Cluster, ReplyError  # noqa: E402

SKERRY = os.environ.get("SKERRY", os.path.join(ROOT, "build", "release", "skerry"))
CHUNK = 1000


def run_all(node, commands):
    client, chunk = node.client(), []
    for command in commands:
        chunk.append(command)
        if len(chunk) == CHUNK:
            check_replies(client.pipeline(chunk))
            chunk = []
    check_replies(client.pipeline(chunk))
    client.close()


def check_replies(replies):
    bad = [reply for reply in replies if isinstance(reply, ReplyError)]
    if bad:
        raise bad[0]


def in_tens(numbers, first, form):
    numbers = list(numbers)
    return ([*first, *(form % n for n in numbers[i:i + 10])] for i in range(0, len(numbers), 10))


def info(node):
    return dict(line.split(":", 1) for line in node.call("INFO", "crdt").split("\r\n") if ":" in line)


def tombstones(node):
    return int(info(node)["skerry_tombstones"])


def peers(node):
    return {row["name"]: row for row in (dict(zip(p[::2], p[1::2])) for p in node.call("CRDT.PEERS"))}


def wait(what, holds, seconds=60):
    end = time.time() + seconds
    while not holds():
        if time.time() > end:
            raise AssertionError("not within %d s: %s" % (seconds, what))
        time.sleep(0.05)


def no_tombstones(nodes, seconds=600):
    wait("no tombstones: %s" % [tombstones(node) for node in nodes], lambda: not any(map(tombstones, nodes)), seconds)


def deletes(cluster, count, told):
    eu, us, _ = cluster.nodes
    run_all(eu, (["MSET", *(x for n in range(i, i + 10) for x in ("k%d" % n, n))] for i in range(0, count, 10)))
    run_all(eu, in_tens(range(count), ["SADD", "set"], "m%d"))
    cluster.wait_agreement(600)
    began = time.time()
    run_all(us, in_tens(range(count), ["DEL"], "k%d"))
    run_all(eu, in_tens(range(count), ["SREM", "set"], "m%d"))
    told("%d deletes and %d set removes in %.1f s" % (count, count, time.time() - began))
    cluster.wait_agreement(600)
    seen = time.time()
    told("all have seen them; tombstones: %s" % [tombstones(node) for node in cluster.nodes])
    no_tombstones(cluster.nodes)
    told("none is left %.1f s after all have seen them" % (time.time() - seen))
    for node in cluster.nodes:
        assert node.call("DBSIZE") == 0
        assert int(info(node)["skerry_purged_total"]) >= 2 * count


def away(cluster, count, told):
    eu, us, ap = cluster.nodes
    run_all(eu, (["SET", "a%d" % n, n] for n in range(count)))
    run_all(eu, (["SADD", "left", n] for n in range(count)))
    run_all(eu, (["INCRBY", "n%d" % n, 5] for n in range(100)))
    cluster.wait_agreement()
    for other in (eu, us):
        cluster.cut(other.name, ap.name)
    run_all(ap, (["SET", "own%d" % n, n] for n in range(100)))
    run_all(ap, (["INCRBY", "n%d" % n, 2] for n in range(100)))
    run_all(us, in_tens(range(count), ["DEL"], "a%d"))
    run_all(us, in_tens(range(count // 2), ["SREM", "left"], "%d"))
    assert peers(us)["ap"]["cut"] == "holds" and tombstones(us) > 0
    wait("ap leaves the cut", lambda: peers(us)["ap"]["cut"] == "out" and peers(eu)["ap"]["cut"] == "out")
    no_tombstones([eu, us], 60)
    us.call("SET", "later", "1")
    ap.kill9()  # else it would read on in their logs, where the removals still are
    for other in (eu, us):
        cluster.heal(other.name, ap.name)
    ap.start()
    cluster.wait_agreement(120)
    assert "pull_needs_full" in ap.log(), "the way back leads through a full pull"
    for node in cluster.nodes:
        assert node.call("DBSIZE") == 100 + 100 + 2, (node.name, node.call("DBSIZE"))
        assert node.call("SCARD", "left") == count - count // 2
        assert node.call("GET", "own7") == "7" and node.call("GET", "n7") == "7" and node.call("EXISTS", "a7") == 0
    no_tombstones(cluster.nodes, 60)
    told("a node away past the limit is back: its own writes are there, and nothing deleted")


def expires(cluster):
    node = cluster.nodes[0]
    node.call("EXPIRE", "own1", "1000")
    assert "db0:keys=202,expires=1," in node.call("INFO", "keyspace"), node.call("INFO", "keyspace")
    node.call("PERSIST", "own1")
    assert ",expires=0," in node.call("INFO", "keyspace")


def main():
    count = int(sys.argv[sys.argv.index("--count") + 1]) if "--count" in sys.argv else 50_000
    began = time.time()

    def told(line):
        print("%6.1f s  %s" % (time.time() - began, line), flush=True)

    with tempfile.TemporaryDirectory(prefix="skerry-purge-") as directory:
        with Cluster(["eu", "us", "ap"], directory=directory, extra=["--member-silent-ms", "604800000"]) as cluster:
            cluster.start()
            deletes(cluster, count, told)
            for node in cluster.nodes:
                node.call("CONFIG", "SET", "member-silent-ms", "3000")
            away(cluster, min(count, 5000), told)
            expires(cluster)
        for node in cluster.nodes:
            checked = subprocess.run([SKERRY, "check", node.directory], capture_output=True, text=True)
            assert checked.returncode == 0, checked.stdout + checked.stderr
    told("skerry check finds nothing")


if __name__ == "__main__":
    main()
