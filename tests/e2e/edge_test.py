#!/usr/bin/env python3
"""Two hubs and eight edges that only dial out, over slow links, and one that holds its site's domain alone; one hub is killed, and its
edges go on at the other.

Edges reach hubs over tests/e2e/wire.py (delay, loss, a bandwidth) in network namespaces; where these are not allowed, over loopback
as it is. SKERRYD names the binary.
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster  # noqa: E402
from network_load import figures, row, until  # noqa: E402

EDGES = 8
LINK = {"delay": 25, "loss": 0.5, "rate": 250}  # ms one way, percent, kB/s
RATE = 40  # of all writes of an edge, a second
DOMAIN = ["--domain", "site=17,prefix=site:"]


def hub_of(edge):
    """The hub that it follows; nothing: none."""
    rows = [row(reply) for reply in edge.call("CRDT.PEERS")]
    return next((one["name"] for one in rows if one["link"] == "up" and one["phase"] == "following"), None)


class Writer(threading.Thread):
    """At one edge: a counter and a set that are everybody's, and a key of its own. It counts what was acknowledged."""

    def __init__(self, node, done):
        super().__init__(daemon=True)
        self.node, self.done, self.turns = node, done, 0

    def run(self):
        client = self.node.client()
        while not self.done.is_set():
            self.turns += 1
            client.pipeline([["INCR", "all"], ["SADD", "names", "%s-%d" % (self.node.name, self.turns)],
                             ["SET", "last:" + self.node.name, self.turns], ["SET", "gone:" + self.node.name, "x"],
                             ["DEL", "gone:" + self.node.name]])
            time.sleep(5 / RATE)
        client.close()


def bytes_of(node):
    seen = figures(node)
    return seen["skerry_peer_bytes_in_total"], seen["skerry_peer_bytes_out_total"]


def check_roles(hubs, edges):
    for node in hubs + edges:
        members = [row(reply) for reply in node.call("CRDT.MEMBERS")]
        assert sorted((one["name"], one["role"]) for one in members) == sorted((n.name, n.role) for n in hubs + edges), members
        nodes = node.call("CLUSTER", "NODES").splitlines()
        assert len(nodes) == 1, "no client is sent to an edge, or away from one: %s" % nodes
    assert "is connected" in hubs[0].refusal("CRDT.FORGET", edges[1].name), "hub2 hears it"
    assert "say it to a hub" in edges[0].refusal("CRDT.FORGET", edges[1].name)
    assert edges[0].call("WAIT", 1, 5000) == 1


def check_domain(hub, edge, site):
    """Keys of the domain are those of hub and site; who does not hold something says so."""
    site.call("SET", "site:till", "open")
    until(lambda: hub.call("GET", "site:till") == "open", 5, "the hub has what was written at the site")
    for node, key in ((site, "all"), (edge, "site:till")):
        assert node.refusal("GET", key).startswith("NODOMAIN"), (node.name, key)
    assert site.call("KEYS", "*") == ["site:till"], site.call("KEYS", "*")
    assert "site:till" in hub.call("KEYS", "*") and "site:till" not in edge.call("KEYS", "*")
    verdicts = [row(reply) for reply in site.call("CRDT.VERIFY")]
    assert all(one["verdict"] == "equal" for one in verdicts) and len(verdicts) == 1, verdicts


def domain_traffic(hub, edges, site):
    """Two seconds of writes to the domain at a hub: what they cost the site, and edges that do not hold it, in kB/s."""
    before, began = [bytes_of(node)[0] for node in edges + [site]], time.time()
    client = hub.client()
    for turn in range(40):
        client.pipeline([["SET", "site:%d" % i, "%d" % turn] for i in range(16)])
        time.sleep(0.05)
    client.close()
    until(lambda: site.call("GET", "site:15") == "39", 5, "the site has what was written at the hub")
    spent = 1000 * (time.time() - began)
    cost = [(now - then) / spent for now, then in zip([bytes_of(node)[0] for node in edges + [site]], before)]
    return cost[-1], max(cost[:-1])


def check_same(nodes, writers):
    turns = sum(writer.turns for writer in writers)
    for node in nodes:
        assert node.call("GET", "all") == str(turns), (node.name, node.call("GET", "all"), turns)
        assert node.call("SCARD", "names") == turns, (node.name, node.call("SCARD", "names"), turns)
        for writer in writers:
            assert node.call("GET", "last:" + writer.node.name) == str(writer.turns), (node.name, writer.node.name)
        assert figures(node)["skerry_divergence_alarms_total"] == 0, node.name


def run(cluster):
    hubs, edges, site = cluster.nodes[:2], cluster.nodes[2:-1], cluster.nodes[-1]
    for node in cluster.nodes:
        node.role = "hub" if node in hubs else "edge"
        node.peers = hubs if node in hubs or node is site or edges.index(node) % 2 == 0 else hubs[::-1]
    for node in hubs + [site]:
        node.extra = DOMAIN + (["--main", "no"] if node is site else [])
    if cluster.wire:
        for edge in range(2, len(cluster.nodes)):
            for hub in (0, 1):
                cluster.wire.set(edge, hub, **LINK)
                cluster.wire.set(hub, edge, **LINK)
    for node in cluster.nodes:
        node.start(wait=False)
    for node in cluster.nodes:
        node.wait_ready()
    began = until(lambda: all(len(node.call("CRDT.MEMBERS")) == len(cluster.nodes) for node in cluster.nodes) and
                  all(row(reply)["heard_ms"] >= 0 for reply in hubs[0].call("CRDT.MEMBERS")) and
                  all(hub_of(edge) == edge.peers[0].name for edge in edges + [site]), 20,
                  "all edges are members, and follow their first hub")
    check_roles(hubs, edges + [site])
    check_domain(hubs[1], edges[0], site)

    done = threading.Event()
    writers = [Writer(edge, done) for edge in edges]
    before = [bytes_of(edge) for edge in edges + [site]]
    for writer in writers:
        writer.start()
    time.sleep(3)
    after = [bytes_of(edge) for edge in edges + [site]]
    hubs[0].kill9()
    failed_over = until(lambda: all(hub_of(edge) == "hub2" for edge in edges + [site]), 15, "all edges follow the second hub")
    time.sleep(1)
    hubs[0].start()
    done.set()
    for writer in writers:
        writer.join()
    began_agreeing = time.time()
    cluster.wait_agreement(30)
    agreed = time.time() - began_agreeing
    check_same(hubs + edges, writers)
    verdicts = [row(reply) for reply in edges[0].call("CRDT.VERIFY")]
    assert all(one["verdict"] == "equal" for one in verdicts) and len(verdicts) == 1, verdicts
    until(lambda: all(figures(node)["skerry_tombstones"] == 0 for node in cluster.nodes), 20, "no tombstone is left, at an edge either")
    idle = [bytes_of(edge) for edge in edges]
    time.sleep(3)
    rest = [bytes_of(edge) for edge in edges]

    def rates(first, last, way):
        return [(b[way] - a[way]) / 3000 for a, b in zip(first, last)]

    def rate(first, last, way):
        return max(rates(first, last, way)[:EDGES])

    of_main = rates(before, after, 0)
    of_site, beside = domain_traffic(hubs[1], edges, site)

    print("%d edges met in %.1f s; %d writes a second: at most %.1f kB/s in and %.1f kB/s out of an edge, idle %.2f and %.2f kB/s; "
          "a hub killed: all went on at the other after %.1f s, agreed %.1f s after the last write; %d turns" % (
              len(edges), began, RATE * len(edges), rate(before, after, 0), rate(before, after, 1), rate(idle, rest, 0), rate(idle, rest, 1),
              failed_over, agreed, sum(writer.turns for writer in writers)))
    print("an edge that holds its site's domain alone: %.2f kB/s in while those with main got %.1f to %.1f; "
          "320 writes a second to the domain: %.2f kB/s in, and at most %.2f at those with main" % (
              of_main[-1], min(of_main[:-1]), max(of_main[:-1]), of_site, beside))
    assert of_main[-1] * 4 < min(of_main[:-1]), "bytes follow what an edge holds"
    assert beside * 4 < of_site, "bytes follow what an edge holds"


def main():
    names = ["hub1", "hub2"] + ["edge%d" % (i + 1) for i in range(EDGES)] + ["site"]
    with Cluster(names, wire=True, extra=["--memory", "64mb"]) as cluster:
        if not cluster.wire:
            print("over loopback: no network namespaces and packet sockets here")
        try:
            run(cluster)
        except BaseException:
            for node in cluster.nodes:
                print("---- %s\n%s" % (node.name, node.log()[-1500:]))
            raise


if __name__ == "__main__":
    main()
