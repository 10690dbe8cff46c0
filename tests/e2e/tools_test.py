#!/usr/bin/env python3
"""skerry check, backup and restore: against running nodes, against damage, and against what a restored node could do wrong.

SKERRYD names the node's binary and SKERRY the tool's; SEED repeats the bytes that are flipped, SKERRY_FLIPS says how many.
"""
import glob
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import run_checks  # noqa: E402
from cluster import ROOT, SKERRYD, Cluster, Node, ReplyError, free_port, gossip_of  # noqa: E402

SKERRY = os.environ.get("SKERRY", os.path.join(os.path.dirname(SKERRYD), "skerry"))
SEED = int(os.environ.get("SEED", int.from_bytes(os.urandom(4), "little")))
FLIPS = int(os.environ.get("SKERRY_FLIPS", "60"))
SMALL = ["--memory", "16mb"]  # a checkpoint each 4 MiB of log


def run(*arguments):
    done = subprocess.run([SKERRY, *arguments], capture_output=True, text=True, timeout=120)
    done.text = done.stdout + done.stderr
    return done


def wants(code, *arguments, says=""):
    done = run(*arguments)
    assert done.returncode == code, "%s: exit code %d, wanted %d:\n%s" % (arguments, done.returncode, code, done.text)
    assert re.search(says, done.text), "%s says nothing like %r:\n%s" % (arguments, says, done.text)
    return done.text


def files_of(directory):
    """Everything about every file that a program could change, but for the time of reading."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in [""] + names:
            path = os.path.join(folder, name)
            status = os.stat(path)
            content = hashlib.sha256(open(path, "rb").read()).hexdigest() if name else ""
            found[os.path.relpath(path, directory)] = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_mode, content)
    return found


def fill(node, rounds=300):
    client = node.client()
    for i in range(rounds):
        replies = client.pipeline(
            [("SET", "key:%d" % (i * 40 + j), "value-%d-" % j + "x" * 300) for j in range(40)] +
            [("SADD", "set", "member-%d" % (i * 10 + j)) for j in range(10)] +
            [("HSET", "hash:%d" % i, "field-%d" % j, j) for j in range(5)] +
            [("INCR", "count:%d" % (i % 7)), ("SET", "short:%d" % i, "x", "EX", 5000 + i), ("DEL", "key:%d" % (i * 11))])
        wrong = [reply for reply in replies if isinstance(reply, ReplyError)]
        assert not wrong, wrong[0]
    client.call("SET", "long", "y" * 300000)
    client.close()


def wait_checkpoint(node, seconds=20):
    end = time.time() + seconds
    while int(re.search(r"^checkpoints:(\d+)", node.call("INFO"), re.M).group(1)) == 0:
        assert time.time() < end, "no checkpoint has run: this would test nothing"
        time.sleep(0.05)


def dump(node):
    """Every key with its value, as clients see it."""
    client, keys, cursor = node.client(), set(), "0"
    while True:
        cursor, some = client.call("SCAN", cursor, "COUNT", "1000")
        keys.update(some)
        if cursor == "0":
            break
    keys = sorted(keys)
    reading = {"string": "GET", "set": "SMEMBERS", "hash": "HGETALL"}
    kinds = client.pipeline([("TYPE", key) for key in keys])
    values = client.pipeline([(reading[kind], key) for key, kind in zip(keys, kinds)])
    client.close()
    return {key: sorted(value) if isinstance(value, list) else value for key, value in zip(keys, values)}


def check_changes_nothing():
    with Cluster(["one"], namespaces=False, extra=SMALL) as cluster:
        node = cluster.start().nodes[0]
        fill(node)
        wait_checkpoint(node)
        time.sleep(0.5)
        before = files_of(node.directory)
        wants(0, "check", node.directory, says=r"beside the running node(.|\n)*\nsound\n")
        wants(0, "backup", node.directory, os.path.join(cluster.directory, "beside"))
        after = files_of(node.directory)
        # LMDB's table of readers is the one thing that a reader beside a node writes to.
        assert {k: v for k, v in before.items() if k != "state.mdb-lock"} == {k: v for k, v in after.items() if k != "state.mdb-lock"}
        node.kill9()
        before = files_of(node.directory)
        text = wants(0, "check", node.directory, says=r"\nsound\n")
        assert "beside" not in text, text
        wants(0, "backup", node.directory, os.path.join(cluster.directory, "after"))
        assert before == files_of(node.directory), "the directory of a node that does not run"
        backup = os.path.join(cluster.directory, "after")
        before = files_of(backup)
        wants(0, "check", backup, says=r"\nsound\n")
        wants(0, "restore", backup, os.path.join(cluster.directory, "restored"), says="takes a new writer id")
        assert before == files_of(backup), "a backup that is restored"
        assert sorted(os.listdir(backup)) == ["backup", "log", "state.mdb"]
        assert sorted(os.listdir(os.path.join(cluster.directory, "restored"))) == ["log", "state.mdb"]
        assert not glob.glob(os.path.join(cluster.directory, "*.unfinished"))


def check_backup_under_load():
    """What was acknowledged before the backup began is in it, while checkpoints run and segments go."""
    with Cluster(["one"], namespaces=False, extra=SMALL + ["--log-keep", "1mb"]) as cluster:
        node = cluster.start().nodes[0]
        acknowledged, stop = [], threading.Event()

        def write():
            client, i = node.client(), 0
            while not stop.is_set():
                batch = range(i, i + 20)
                replies = client.pipeline([("SET", "k%d" % n, "%d" % n + "z" * 4000) for n in batch])
                if all(reply == "OK" for reply in replies):
                    acknowledged.append(i + 20)
                    i += 20
            client.close()

        writer = threading.Thread(target=write)
        writer.start()
        wait_checkpoint(node)
        restored = []
        for i in range(3):
            time.sleep(0.7)
            before = acknowledged[-1]
            backup = os.path.join(cluster.directory, "backup%d" % i)
            wants(0, "backup", node.directory, backup)
            wants(0, "restore", backup, os.path.join(cluster.directory, "back%d" % i))
            restored.append((os.path.join(cluster.directory, "back%d" % i), before))
        stop.set()
        writer.join(timeout=30)
        node.stop()
        for directory, before in restored:
            node.directory = directory
            node.start()
            client = node.client()
            lost = [n for n, value in enumerate(client.pipeline([("GET", "k%d" % n) for n in range(before)]))
                    if value is None or value[:-4000] != "%d" % n]
            client.close()
            assert not lost, "%d of %d acknowledged writes are not in the backup: %s" % (len(lost), before, lost[:5])
            node.stop()
            wants(0, "check", directory, says="\nsound\n")
        print("%d writes " % acknowledged[-1], end="")


def writer_of(node):
    return re.findall(r"store_opened .*writer=(\S+)", node.log())[-1]


def check_restored_into_cluster():
    """An old backup in the place of its node, and beside it: nothing deleted returns, nothing replicated is lost."""
    with Cluster(["eu", "us", "ap"], namespaces=False, extra=SMALL) as cluster:
        eu, us, ap = cluster.start().nodes
        fill(eu)
        fill(us, 50)
        eu.call("SADD", "members", *["m%d" % i for i in range(100)])
        eu.call("SET", "overwritten", "old")
        cluster.wait_agreement()
        wait_checkpoint(eu)
        old = [eu.call("SET", "before", "1"), writer_of(eu)][1]
        backup = os.path.join(cluster.directory, "backup")
        wants(0, "backup", eu.directory, backup)
        # What the backup does not know: own writes under the id that is in it, deletes, others' writes.
        for node, name in ((eu, "eu"), (us, "us")):
            client = node.client()
            client.pipeline([("SET", "later:%s:%d" % (name, i), i) for i in range(300)])
            client.pipeline([("INCR", "count:%d" % (i % 7)) for i in range(100)])
            client.close()
        us.call("DEL", *["key:%d" % i for i in range(1, 200)])
        eu.call("SREM", "members", *["m%d" % i for i in range(50)])
        ap.call("SET", "overwritten", "new")
        eu.call("DEL", "before")
        cluster.wait_agreement()
        wanted = dump(us)
        assert wanted == dump(eu) == dump(ap)

        port = free_port()
        beside = Node(cluster, "beside", "127.0.0.1", port, gossip_of(port))
        wants(0, "restore", backup, beside.directory)
        cluster.nodes.append(beside)
        cluster.by_name["beside"] = beside
        beside.start()
        cluster.wait_connected()
        cluster.wait_agreement()
        for node in cluster.nodes:
            assert dump(node) == wanted, "with the copy beside the original, %s holds something else" % node.name
        assert writer_of(beside) != old and writer_of(beside)[:9] != old[:9], "%s and %s" % (writer_of(beside), old)

        eu.kill9()
        shutil.rmtree(eu.directory)
        wants(0, "restore", backup, eu.directory)
        eu.start()
        assert writer_of(eu) not in (old, writer_of(beside)) and "new_incarnation=yes" in eu.log()
        cluster.wait_connected()
        for node in cluster.nodes:  # and go on writing
            client = node.client()
            client.pipeline([("SADD", "members", "after-" + node.name), ("INCR", "count:0")])
            client.close()
        cluster.wait_agreement()
        after = dump(us)
        for node in cluster.nodes:
            assert dump(node) == after, "%s does not agree" % node.name
        assert set(wanted) == set(after), "keys that came or went: %s" % sorted(set(wanted) ^ set(after))[:5]
        assert after["overwritten"] == "new" and int(after["count:0"]) == int(wanted["count:0"]) + 4
        assert after["members"] == sorted(wanted["members"] + ["after-" + node.name for node in cluster.nodes])
        alarms = [node.name for node in cluster.nodes if "divergence" in node.log()]
        assert not alarms, "divergence alarms at %s" % alarms
        for node in cluster.nodes:
            assert node.stop() == 0
            wants(0, "check", node.directory, says="\nsound\n")


class Damaged:
    """A copy to do harm to."""

    def __init__(self, directory):
        self.directory, self.path = directory, directory + ".damaged"

    def __enter__(self):
        shutil.copytree(self.directory, self.path)
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x20]))


def check_damage_is_named():
    chance = random.Random(SEED)
    with Cluster(["one"], namespaces=False, extra=SMALL) as cluster:
        node = cluster.start().nodes[0]
        client = node.client()
        for i in range(150):  # three segments
            client.call("SET", "filler", b"%d" % i + b"f" * 1000000)
        client.close()
        fill(node, 100)
        node.call("SET", "needle", "the value that is looked for")
        fill(node, 300)
        assert node.stop() == 0
        directory = node.directory
        wants(0, "check", directory, says="\nsound\n")
        segments = sorted(name for name in os.listdir(os.path.join(directory, "log")) if name.endswith(".log"))
        assert len(segments) >= 3, segments
        state = open(os.path.join(directory, "state.mdb"), "rb").read()
        offsets = [match.start() for match in re.finditer(rb"the value that is looked for", state)]
        assert offsets, "the checkpoint does not hold the value"

        with Damaged(directory) as path:
            for offset in offsets:
                flip(os.path.join(path, "state.mdb"), offset)
            before = files_of(path)
            wants(1, "check", path, says="state.mdb, shard \\d+: its digest is not that of its rows")
            assert before == files_of(path), "a check of a damaged directory"
            wants(1, "backup", path, path + ".backup", says="not backed up")
            assert not glob.glob(path + ".backup*"), "what is left of a backup that failed"
        with Damaged(directory) as path:
            segment = os.path.join(path, "log", segments[0])
            flip(segment, os.path.getsize(segment) // 2)
            wants(1, "check", path, says=segments[0] + ": offset \\d+: record \\d+ had been durable and is damaged")
        with Damaged(directory) as path:
            segment = os.path.join(path, "log", segments[1])
            os.truncate(segment, os.path.getsize(segment) - 1000)
            wants(1, "check", path, says=segments[1] + ": offset \\d+: record \\d+ had been durable and is damaged")
            wants(1, "backup", path, path + ".backup", says="not backed up: .*" + segments[1])
        with Damaged(directory) as path:
            os.remove(os.path.join(path, "log", segments[1]))
            wants(1, "check", path, says="records \\d+ to \\d+ are missing before " + segments[2])
        with Damaged(directory) as path:
            for segment in segments[1:]:
                os.remove(os.path.join(path, "log", segment))
            wants(1, "check", path, says="log: ends at record \\d+, before the checkpoint at \\d+")
        with Damaged(directory) as path:
            os.truncate(os.path.join(path, "state.mdb"), len(state) // 2)
            before = files_of(path)
            wants(1, "check", path, says="state.mdb ends after \\d+ bytes of \\d+: it was cut")
            assert before == files_of(path), "a check of a state file that was cut"
        with Damaged(directory) as path:
            os.remove(os.path.join(path, "state.mdb"))
            shutil.rmtree(os.path.join(path, "log"))
            wants(1, "check", path, says="is no data directory")
        with Damaged(directory) as path:
            with open(os.path.join(path, "identity"), "a+") as identity:
                identity.truncate(30)
            wants(1, "check", path, says="identity: damaged; remove it")

        # A torn tail is no damage.
        with Damaged(directory) as path:
            os.truncate(os.path.join(path, "log", segments[-1]), os.path.getsize(os.path.join(directory, "log", segments[-1])))
            with open(os.path.join(path, "log", segments[-1]), "r+b") as last:
                content = last.read().rstrip(b"\0")
                last.seek(len(content))
                last.write(b"\x40\x00\x00\x00half a frame")
            wants(0, "check", path, says="\nsound\n")

        backup = os.path.join(cluster.directory, "backup")
        wants(0, "backup", directory, backup)
        for name in ("state.mdb", "log/" + segments[-1], "backup"):
            with Damaged(backup) as path:
                flip(os.path.join(path, name), chance.randrange(os.path.getsize(os.path.join(path, name))))
                wants(1, "check", path)
                wants(1, "restore", path, path + ".restored")
                assert not glob.glob(path + ".restored*"), "what is left of a restore that failed"


def check_any_byte():
    """Whatever byte of the state is damaged: the check ends, and says so or says why not."""
    chance = random.Random(SEED)
    with Cluster(["one"], namespaces=False, extra=SMALL) as cluster:
        node = cluster.start().nodes[0]
        fill(node)
        wait_checkpoint(node)
        assert node.stop() == 0
        path = os.path.join(node.directory, "state.mdb")
        found = 0
        for i in range(FLIPS):
            offset = chance.randrange(os.path.getsize(path))
            flip(path, offset)
            done = run("check", node.directory)
            place = "byte %d of state.mdb, flip %d of seed %d" % (offset, i, SEED)
            assert done.returncode in (0, 1), "%s: exit code %d\n%s" % (place, done.returncode, done.text)
            assert done.returncode == 0 or "found: " in done.stdout, "%s: %s" % (place, done.text)
            found += done.returncode
            flip(path, offset)
        wants(0, "check", node.directory, says="\nsound\n")
        assert found > FLIPS // 5, "only %d of %d flips were found: this has tested nothing" % (found, FLIPS)
        print("%d of %d flips found " % (found, FLIPS), end="")


def check_killed_reader():
    """A check that is killed beside a node keeps no pages from being used again."""
    with Cluster(["one"], namespaces=False, extra=SMALL) as cluster:
        node = cluster.start().nodes[0]
        fill(node)
        wait_checkpoint(node)
        for _ in range(5):
            process = subprocess.Popen([SKERRY, "check", node.directory], stdout=subprocess.DEVNULL)
            time.sleep(0.05)
            process.kill()
            process.wait()
        path = os.path.join(node.directory, "state.mdb")
        for _ in range(3):
            fill(node)
        before = os.path.getsize(path)
        for _ in range(6):
            fill(node)
        grown = os.path.getsize(path)
        assert grown < 1.4 * before, "state.mdb has grown from %d to %d while the same keys were written" % (before, grown)


def check_recorded_directory():
    """What an earlier version has left is sound, and can be backed up."""
    with Cluster([], namespaces=False) as cluster:
        copy = os.path.join(cluster.directory, "copy")
        shutil.copytree(os.path.join(ROOT, "tests", "golden", "directory"), copy)
        before = files_of(copy)
        wants(0, "check", copy, says="\nsound\n")
        wants(0, "backup", copy, os.path.join(cluster.directory, "backup"))
        assert before == files_of(copy), "a directory that is only read"
        wants(0, "restore", os.path.join(cluster.directory, "backup"), os.path.join(cluster.directory, "again"))


def check_refusals():
    with Cluster(["one"], namespaces=False) as cluster:
        node = cluster.start().nodes[0]
        node.call("SET", "key", "value")
        home = cluster.directory
        wants(0, "--help", says="check(.|\n)*backup(.|\n)*restore")
        wants(0, "--version", says=r"skerry \d")
        wants(0, "backup", "--help", says="DEST")
        for usage in ([], ["chekc"], ["check"], ["check", home, "more"], ["backup", home], ["check", home, "--fast"]):
            wants(2, *usage, says="see --help")
        wants(1, "check", os.path.join(home, "nowhere"), says="is no data directory")
        os.mkdir(os.path.join(home, "empty"))
        wants(0, "backup", node.directory, os.path.join(home, "empty"))
        wants(1, "backup", node.directory, os.path.join(home, "empty"), says="is not empty")
        wants(1, "restore", node.directory, os.path.join(home, "new"), says="is no backup")
        wants(1, "restore", os.path.join(home, "empty"), node.directory, says="is not empty")
        os.mkdir(os.path.join(home, "next.unfinished"))
        wants(1, "backup", node.directory, os.path.join(home, "next"), says="remove it")
        wants(1, "check", os.path.join(home, "empty", "log"), says="is no data directory")
        assert node.call("GET", "key") == "value"


if __name__ == "__main__":
    sys.exit(run_checks("tools", globals(), SEED))
