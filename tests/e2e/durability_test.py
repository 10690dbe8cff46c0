#!/usr/bin/env python3
"""What a node has acknowledged survives kill -9, and starting and stopping say what they do.

A killed process loses nothing acknowledged, with --durability interval neither: only a crash of the machine may then.
SKERRYD names the binary; SKERRY_KILLS the kills for each durability (default 10); SEED repeats the moments of the kills.
"""
import os
import random
import re
import resource
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import run_checks  # noqa: E402
from cluster import SKERRYD, Cluster, ReplyError  # noqa: E402

KILLS = int(os.environ.get("SKERRY_KILLS", "10"))
SEED = int(os.environ.get("SEED", int.from_bytes(os.urandom(4), "little")))
WRITERS = 4


def equal(got, wanted, what):
    assert got == wanted, "%s: got %.300r, wanted %.300r" % (what, got, wanted)


class Writer(threading.Thread):
    """Counts up until the node is gone. After every increment, a member of a set says which one it was."""

    def __init__(self, node, number, round_number):
        super().__init__(daemon=True)
        self.client = node.client(timeout=20)
        self.number, self.round_number = number, round_number
        self.issued = self.acknowledged = 0
        self.members = []
        self.wrong = None

    def run(self):
        try:
            while True:
                self.issued += 1
                reply = self.client.call("INCR", "count")
                self.acknowledged += 1
                member = "%d:%d:%d" % (self.round_number, self.number, reply)
                if self.acknowledged % 10 == 0:
                    self.client.call("SADD", "members", member)
                    self.members.append(member)
        except ReplyError as error:
            self.wrong = error
        except (OSError, ConnectionError):
            pass


def kills(durability):
    chance = random.Random(SEED)
    issued = acknowledged = 0
    members = set()
    with Cluster(["one"], namespaces=False, extra=["--durability", durability]) as cluster:
        node = cluster.start().nodes[0]
        base = 0  # what was there when this round began
        for i in range(KILLS):
            writers = [Writer(node, n, i) for n in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(chance.uniform(0.02, 0.8))
            node.kill9()
            for writer in writers:
                writer.join(timeout=30)
                assert not writer.is_alive(), "a writer did not notice that the node is gone"
                assert writer.wrong is None, "kill %d of seed %d: %s" % (i, SEED, writer.wrong)
            issued, acknowledged = sum(w.issued for w in writers), sum(w.acknowledged for w in writers)
            members.update(member for writer in writers for member in writer.members)
            node.start()
            value = int(node.call("GET", "count") or 0)
            place = "kill %d of seed %d, --durability %s" % (i, SEED, durability)
            assert base + acknowledged <= value <= base + issued, \
                "%s: %d is not within %d acknowledged and %d issued" % (place, value, base + acknowledged, base + issued)
            lost = members - set(node.call("SMEMBERS", "members"))
            assert not lost, "%s: lost %s" % (place, sorted(lost)[:5])
            base = value
        assert base > KILLS, "hardly anything was written: this has tested nothing"
        text = node.log()
        equal(text.count("store_opened"), KILLS + 1, "starts in the log")
        equal(text.count("new_incarnation=yes"), KILLS + 1, "a kill is noticed at each start")
        print("%d increments, %d kills " % (base, KILLS), end="")


def check_kills_always():
    kills("always")


def check_kills_interval():
    kills("interval")


def check_checkpoint_kills():
    """Values large enough that checkpoints run; the kill falls into them as it may."""
    chance = random.Random(SEED + 1)
    checkpoints = 0
    with Cluster(["one"], namespaces=False, extra=["--memory", "64mb"]) as cluster:
        node = cluster.start().nodes[0]
        wanted = {}
        for i in range(3):
            client = node.client()
            begun = time.time()
            until = begun + chance.uniform(1.5, 3.0)
            pending = {}
            while time.time() < until:
                pending = {"k%d" % chance.randrange(3000): "%d-%d" % (i, chance.randrange(10**9)) for _ in range(40)}
                replies = client.pipeline([("SET", key, value + "x" * 20000) for key, value in pending.items()])
                if any(isinstance(reply, ReplyError) for reply in replies):
                    time.sleep(0.1)  # memory is full: the checkpoint must come first
                for (key, value), reply in zip(pending.items(), replies):
                    if reply == "OK":
                        wanted[key] = value
            checkpoints += int(re.search(r"^checkpoints:(\d+)", client.call("INFO"), re.M).group(1))
            node.kill9()
            client.close()
            node.start()
            client = node.client()
            keys = sorted(wanted)
            for at in range(0, len(keys), 100):
                part = keys[at:at + 100]
                for key, got in zip(part, client.pipeline([("GET", key) for key in part])):
                    assert got == wanted[key] + "x" * 20000, "seed %d, round %d: %s is %.40r, wanted %s" % (
                        SEED, i, key, got, wanted[key])
            client.close()
        assert checkpoints > 0, "no checkpoint has run: this has tested nothing"
        print("%d keys, %d checkpoints " % (len(wanted), checkpoints), end="")


class Versions(threading.Thread):
    """Writes rising numbers to keys until the node is gone; knows which were issued, and which acknowledged."""
    KEYS, BATCH, FILL = 2000, 20, "x" * 2000

    def __init__(self, node, first, issued, acknowledged, chance):
        super().__init__(daemon=True)
        self.client = node.client(timeout=20)
        self.next, self.issued, self.acknowledged, self.chance = first, issued, acknowledged, chance
        self.wrong = None

    def run(self):
        try:
            while True:
                numbers = {}
                for key in self.chance.sample(range(self.KEYS), self.BATCH):
                    numbers[key] = self.issued[key] = self.next
                    self.next += 1
                replies = self.client.pipeline(
                    [("SET", "k%d" % key, "%d %s" % (number, self.FILL)) for key, number in numbers.items()])
                if replies != ["OK"] * self.BATCH:
                    raise ValueError("replies: %.200r" % replies)
                self.acknowledged.update(numbers)
        except ValueError as error:
            self.wrong = error
        except (OSError, ConnectionError):
            pass


def check_kills_in_checkpoints():
    """So little memory that a checkpoint follows the other, and each kill falls into one that has begun to write."""
    chance = random.Random(SEED + 2)
    issued, acknowledged, checkpoints = {}, {}, 0
    with Cluster(["one"], namespaces=False, extra=["--memory", "4mb"]) as cluster:
        node = cluster.start().nodes[0]
        state = os.path.join(node.directory, "state.mdb")
        for i in range(KILLS):
            writer = Versions(node, 1 + max(issued.values(), default=0), issued, acknowledged, chance)
            writer.start()
            client = node.client()
            time.sleep(chance.uniform(0.2, 1.0))
            checkpoints += int(re.search(r"^checkpoints:(\d+)", client.call("INFO"), re.M).group(1))
            before, until = os.stat(state).st_mtime_ns, time.time() + 10
            while os.stat(state).st_mtime_ns == before:
                assert time.time() < until, "no checkpoint in 10 s"
            time.sleep(chance.uniform(0, 0.004))
            node.kill9()
            client.close()
            writer.join(timeout=30)
            place = "kill %d of seed %d" % (i, SEED)
            assert not writer.is_alive() and writer.wrong is None, "%s: %s" % (place, writer.wrong)
            node.start()
            keys = sorted(issued)
            client = node.client()
            for key, got in zip(keys, client.pipeline([("GET", "k%d" % key) for key in keys])):
                number, fill = got.split(" ") if got else (0, writer.FILL)
                assert acknowledged.get(key, 0) <= int(number) <= issued[key] and fill == writer.FILL, \
                    "%s: k%d is %s, %d was acknowledged" % (place, key, number, acknowledged.get(key, 0))
            client.close()
        assert checkpoints > KILLS, "hardly a checkpoint has run: this has tested nothing"
        print("%d writes, %d checkpoints, %d kills " % (max(issued.values()), checkpoints, KILLS), end="")


def check_large_removal():
    """The removal of a large collection is one long record: it is read back after a kill."""
    count, step = 500000, 20000
    with Cluster(["one"], namespaces=False) as cluster:
        node = cluster.start().nodes[0]
        client = node.client(timeout=60)
        for at in range(0, count, step):
            client.call("SADD", "members", *("m%d" % i for i in range(at, at + step)))
        equal(client.call("COPY", "members", "copy"), 1, "COPY of %d members" % count)
        equal(client.call("DEL", "members"), 1, "DEL of %d members" % count)
        node.kill9()
        node.start()
        equal(node.call("EXISTS", "members"), 0, "after DEL and a kill")
        equal(node.call("SCARD", "copy"), count, "after COPY and a kill")


def check_clean_end():
    with Cluster(["one"], namespaces=False) as cluster:
        node = cluster.start().nodes[0]
        node.call("SET", "key", "value")
        equal(node.stop(), 0, "the exit code after SIGTERM")
        before = len(node.log())
        node.start()
        assert "new_incarnation=no" in node.log()[before:], node.log()[before:]
        equal(node.call("GET", "key"), "value", "after a clean end")
        equal(node.stop(), 0, "the second time")


class LoadedWriter(Writer):
    """Counts up, too, but with so much beside it that a commit takes its time. Its last pipeline ends where the node does."""

    def run(self):
        value = "x" * 200000
        try:
            while True:
                commands = [("SET", "value%d" % self.number, value), ("INCR", "count")]
                self.client.socket.sendall(b"".join(self.client.encode(command) for command in commands))
                self.issued += 1
                for _ in commands:
                    reply = self.client.read()
                    if isinstance(reply, ReplyError):
                        raise reply
                    self.acknowledged += isinstance(reply, int)
        except ReplyError as error:
            self.wrong = error
        except (OSError, ConnectionError):
            pass


def check_replies_at_end():
    """Every write that a SIGTERM finds executed is answered: what is there afterwards is what was acknowledged."""
    with Cluster(["one"], namespaces=False) as cluster:
        node = cluster.start().nodes[0]
        base = 0
        for i in range(6):
            writers = [LoadedWriter(node, n, i) for n in range(8)]
            for writer in writers:
                writer.start()
            time.sleep(0.3)
            equal(node.stop(), 0, "the exit code after SIGTERM")
            for writer in writers:
                writer.join(timeout=30)
                assert not writer.is_alive() and writer.wrong is None, writer.wrong
            node.start()
            base += sum(writer.acknowledged for writer in writers)
            equal(int(node.call("GET", "count")), base, "what was counted, and what was acknowledged")
        assert base > 100, "hardly anything was written: this has tested nothing"


def check_same_directory():
    with Cluster(["one"], namespaces=False) as cluster:
        node = cluster.start().nodes[0]
        node.call("SET", "key", "value")
        second = subprocess.run([SKERRYD, "--dir", node.directory, "--listen", "127.0.0.1:0"],
                                capture_output=True, text=True, timeout=30)
        equal(second.returncode, 1, "the exit code of a second start")
        assert node.directory in second.stderr and "in use" in second.stderr, second.stderr
        equal(node.call("GET", "key"), "value", "the first goes on")
        equal(node.stop(), 0, "its exit code")


def check_little_address_space():
    """ulimit -v, as some hosts set it: far less than the ordered store would map."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with Cluster(["one"], namespaces=False) as cluster:
        resource.setrlimit(resource.RLIMIT_AS, (64 << 30, hard))  # what is started takes it over
        try:
            node = cluster.start().nodes[0]
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        node.call("SET", "key", "value")
        equal(node.stop(), 0, "its exit code")
        node.start()
        equal(node.call("GET", "key"), "value", "with all the address space there is")


def check_used_port():
    with Cluster(["one"], namespaces=False) as cluster:
        node = cluster.start().nodes[0]
        other = os.path.join(cluster.directory, "other")
        second = subprocess.run([SKERRYD, "--dir", other, "--listen", "127.0.0.1:%d" % node.port],
                                capture_output=True, text=True, timeout=30)
        equal(second.returncode, 1, "the exit code when the port is taken")
        assert str(node.port) in second.stderr, second.stderr


def check_bad_flags():
    for flags in (["--bad-flag"], ["--durability", "perhaps"], ["--listen", "nowhere"], ["--config", "/nonexistent/skerry.toml"]):
        done = subprocess.run([SKERRYD] + flags, capture_output=True, text=True, timeout=30)
        equal(done.returncode, 2, "the exit code with %s" % flags)
        assert done.stderr.strip(), "%s: refused without a word" % flags
    helped = subprocess.run([SKERRYD, "--help"], capture_output=True, text=True, timeout=30)
    equal(helped.returncode, 0, "--help")
    assert "--durability" in helped.stdout, helped.stdout


if __name__ == "__main__":
    sys.exit(run_checks("durability", globals(), SEED))
