"""Writes on every node while a network is in trouble, and what must be there afterwards: exact sums, equal state."""
import threading
import time

from cluster import ReplyError


def row(reply):
    return dict(zip(reply[::2], reply[1::2]))


def peer(node, name):
    """What `node` says of its peer of that name; one that it has not met yet is down."""
    rows = [row(reply) for reply in node.call("CRDT.PEERS")]
    return next((one for one in rows if one["name"] == name), {"link": "down", "phase": "calling", "silent_ms": "-1"})


def figures(node):
    """INFO crdt: the figures of /metrics."""
    lines = [line.partition(":") for line in node.call("INFO", "crdt").splitlines()]
    return {name: int(value) for name, _, value in lines if value.isdigit()}


def until(condition, seconds, what):
    """Waits until condition() is true. The seconds that it took."""
    began = time.time()
    while not condition():
        if time.time() - began > seconds:
            raise AssertionError("not within %g s: %s" % (seconds, what))
        time.sleep(0.05)
    return time.time() - began


class Writer(threading.Thread):
    """One client of one node. It counts what was acknowledged, and nothing else is in its keys."""

    def __init__(self, node, number, done, value=lambda turn: "v%d" % turn, pause=0.01):
        super().__init__(daemon=True)
        self.node, self.number, self.done, self.value, self.pause = node, number, done, value, pause
        self.turns = self.sum = 0
        self.last = None
        self.wrong = None

    def run(self):
        try:
            client = self.node.client(timeout=120)
            while not self.done.is_set():
                turn = self.turns + 1
                self.last = "%s of %s" % (self.value(turn), self.node.name)
                replies = client.pipeline([
                    ("INCR", "turns"), ("INCRBY", "sum", turn), ("HINCRBY", "sums", self.node.name, turn),
                    ("SADD", "members", "%d:%d" % (self.number, turn)), ("SET", "shared", self.last),
                    ("SET", "own:%d" % self.number, self.last)])
                wrong = [reply for reply in replies if isinstance(reply, ReplyError)]
                if wrong:
                    raise wrong[0]
                self.turns, self.sum = turn, self.sum + turn
                self.done.wait(self.pause)
            client.close()
        except Exception as error:  # told by the main thread
            self.wrong = "%s: %r" % (self.node.name, error)


class Load:
    """with Load(cluster) as load: trouble, and heal; then load.check(seconds)."""

    def __init__(self, cluster, **options):
        self.cluster, self.done = cluster, threading.Event()
        self.writers = [Writer(node, number, self.done, **options) for number, node in enumerate(cluster.nodes)]

    def __enter__(self):
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for writer in self.writers:
            writer.join(timeout=120)

    def check(self, seconds):
        """After the last write: everybody agrees within so many seconds, and exactly. The seconds that it took."""
        for writer in self.writers:
            assert not writer.is_alive(), "%s: its client still waits" % writer.node.name
            assert writer.wrong is None, writer.wrong
            assert writer.turns > 20, "%s has hardly written: this has tested nothing" % writer.node.name
        began = time.time()
        self.cluster.wait_agreement(seconds)
        took = time.time() - began
        turns, total = sum(w.turns for w in self.writers), sum(w.sum for w in self.writers)
        members = {"%d:%d" % (w.number, turn) for w in self.writers for turn in range(1, w.turns + 1)}
        wanted = {"turns": str(turns), "sum": str(total)}
        wanted.update(("own:%d" % w.number, w.last) for w in self.writers)
        shared = set()
        for node in self.cluster.nodes:
            client = node.client()
            for key, value in wanted.items():
                got = client.call("GET", key)
                assert got == value, "%s: %s is %.60r, wanted %.60r" % (node.name, key, got, value)
            got = row(client.call("HGETALL", "sums"))
            assert got == {w.node.name: str(w.sum) for w in self.writers}, (node.name, got)
            assert set(client.call("SMEMBERS", "members")) == members, "%s: members" % node.name
            shared.add(client.call("GET", "shared"))
            client.close()
        assert len(shared) == 1 and shared <= {w.last for w in self.writers}, shared
        for node in self.cluster.nodes:
            assert figures(node)["skerry_divergence_alarms_total"] == 0, node.name
        for verdict in map(row, self.cluster.nodes[0].call("CRDT.VERIFY")):
            assert verdict["verdict"] == "equal", verdict
        return took
