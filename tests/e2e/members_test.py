#!/usr/bin/env python3
"""A cluster that grows from one address each, under writes, loses a member for good, gets another of its name, and lets one leave.

SKERRYD names the binary.
"""
import os
import re
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import run_checks  # noqa: E402
from cluster import Cluster, ReplyError  # noqa: E402


def eventually(what, text, seconds=20):
    end = time.time() + seconds
    while not what():
        assert time.time() < end, text() if callable(text) else text
        time.sleep(0.05)


def members(node):
    rows = [dict(zip(row[::2], row[1::2])) for row in node.call("CRDT.MEMBERS")]
    return [(row["name"], row["identity"], row["state"], row["counts"], row["gossip"], row["client"], row["incarnations"]) for row in rows]


def states(node):
    return sorted((row[0], row[2]) for row in members(node))


class Writers:
    """A client at each node that increments one counter; what is acknowledged is counted."""

    def __init__(self):
        self.acknowledged, self.threads, self.stopped = {}, [], threading.Event()

    def at(self, node):
        def run():
            try:
                client = node.client(timeout=10)
                while not self.stopped.is_set():
                    client.call("INCR", "count:" + node.name)
                    self.acknowledged[node.name] = self.acknowledged.get(node.name, 0) + 1
                    time.sleep(0.002)
            except (OSError, ConnectionError, ReplyError):
                pass  # the node was killed or leaves
        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def start(node, *peers):
    """With the addresses of these alone."""
    everyone, node.cluster.nodes = node.cluster.nodes, [node]
    try:
        node.start(*[word for peer in peers for word in ("--peer", "%s:%d" % (peer.gossip_host, peer.gossip))])
    finally:
        node.cluster.nodes = everyone


def check_growing_and_shrinking():
    with Cluster(["eu", "us", "ap", "sa"], namespaces=False) as cluster:
        eu, us, ap, sa = cluster.nodes
        writers = Writers()
        start(eu)
        writers.at(eu)
        start(us, eu)
        writers.at(us)
        start(ap, us)
        start(sa, ap)
        everybody = [("ap", "active"), ("eu", "active"), ("sa", "active"), ("us", "active")]
        for node in cluster.nodes:
            eventually(lambda: states(node) == everybody, lambda: "%s sees %s\n%s" % (node.name, states(node), node.log()))
        writers.at(sa)

        # One is gone for good.
        assert "'sa' is connected" in eu.refusal("CRDT.FORGET", "sa")
        assert "no member is named 'xx'" in eu.refusal("CRDT.FORGET", "xx")
        eventually(lambda: writers.acknowledged.get("sa", 0) > 20, "no writes at sa")
        sa.kill9()
        eventually(lambda: "link=down" in [line for line in eu.call("INFO", "crdt").split("\r\n") if "name=sa" in line][0], "sa is not down")
        assert eu.call("CRDT.FORGET", "sa") == "OK"
        for node in (eu, us, ap):
            eventually(lambda: ("sa", "forgotten") in states(node), lambda: "%s sees %s" % (node.name, states(node)))

        # What was forgotten is told so when it comes back; emptied, it is a new member under the same name.
        start(sa, ap)
        eventually(lambda: "no_member" in sa.log(), lambda: "not told:\n" + sa.log())
        assert re.search(r"'sa' \([0-9a-f]{8}\) has been forgotten by the cluster: wipe", sa.refusal("SET", "key", "value"))
        assert sa.refusal("DEL", "key").startswith("NOMEMBER")
        assert sa.stop() == 0
        os.rename(sa.directory, sa.directory + ".old")
        start(sa, ap)
        for node in cluster.nodes:
            eventually(lambda: states(node) == sorted(everybody + [("sa", "forgotten")]),
                       lambda: "%s sees %s\n%s" % (node.name, states(node), sa.log()))

        # One is started again without any address: its own directory says where the others are.
        ap.kill9()
        start(ap)
        cluster.wait_connected()
        writers.stop()
        cluster.wait_agreement()
        tables = [members(node) for node in cluster.nodes]
        assert all(table == tables[0] for table in tables), tables
        for name in ("eu", "us"):
            counts = [int(node.call("GET", "count:" + name)) for node in cluster.nodes]
            assert counts == [writers.acknowledged[name]] * 4, (counts, writers.acknowledged)
        shown = [node.call("GET", "count:sa") for node in cluster.nodes]
        assert len(set(shown)) == 1 and int(shown[0]) <= writers.acknowledged["sa"] + 1, (shown, writers.acknowledged)

        # One leaves: what it has goes over first.
        us.call("SET", "last", "words")
        us.call("CRDT.LEAVE")
        assert us.process.wait(timeout=20) == 0
        for node in (eu, ap, sa):
            eventually(lambda: ("us", "left") in states(node), lambda: "%s sees %s" % (node.name, states(node)))
            eventually(lambda: node.call("GET", "last") == "words", "the last word is lost")
        us.start()
        assert "has left the cluster: wipe its data directory" in us.refusal("SET", "key", "value")
        for node in cluster.nodes:
            assert "divergence" not in node.log(), node.log()


def check_coming_back_with_its_data():
    """Who was forgotten with what nobody else has joins as a new member, once its identity is removed, and brings it."""
    with Cluster(["eu", "us"], namespaces=False) as cluster:
        eu, us = cluster.start().nodes
        eventually(lambda: states(eu) == states(us) == [("eu", "active"), ("us", "active")], lambda: "%s %s" % (states(eu), states(us)))
        eu.call("SET", "both", "have it")
        cluster.wait_agreement()
        for node, other in ((eu, "us"), (us, "eu")):
            assert node.call("CRDT.LINK", other, "cut") == "OK"
        us.call("SET", "only", "here")
        us.call("DEL", "both")
        us.kill9()
        assert eu.call("CRDT.LINK", "us", "heal") == "OK"
        eventually(lambda: "link=down" in eu.call("INFO", "crdt"), "us is not down")
        assert eu.call("CRDT.FORGET", "us") == "OK"
        us.start()
        eventually(lambda: "no_member" in us.log(), lambda: "not told:\n" + us.log())
        assert us.stop() == 0
        assert eu.call("GET", "only") is None
        os.unlink(os.path.join(us.directory, "identity"))
        us.start()
        eventually(lambda: eu.call("GET", "only") == "here", lambda: "it is lost:\n" + us.log())
        eventually(lambda: eu.call("GET", "both") is None, "what was removed is there")
        eventually(lambda: states(us) == states(eu) == [("eu", "active"), ("us", "active"), ("us", "forgotten")],
                   lambda: "%s %s" % (states(eu), states(us)))
        us.call("SET", "again", "a member")
        cluster.wait_agreement()
        assert "divergence" not in eu.log() + us.log()


if __name__ == "__main__":
    sys.exit(run_checks("members", globals()))
