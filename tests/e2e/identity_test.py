#!/usr/bin/env python3
"""Who may write in a cluster: two nodes of one name, old copies put back, one directory used twice, pages lost, a disk wiped.

Each time nothing that was acknowledged and replicated is lost, nothing deleted returns, and the nodes say what they found.

SKERRYD names the binary.
"""
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import run_checks  # noqa: E402
from cluster import Cluster, ReplyError  # noqa: E402


def eventually(what, text, seconds=20):
    end = time.time() + seconds
    while not what():
        assert time.time() < end, text
        time.sleep(0.05)


def peers(node):
    return [dict(zip(peer[::2], peer[1::2])) for peer in node.call("CRDT.PEERS")]


def check_same_name():
    with Cluster(["eu", "us"], namespaces=False) as cluster:
        eu, us = cluster.nodes
        eu.start()
        us.name = "eu"
        us.start()
        for node in (eu, us):
            for event in ("peer_refused", "refused_by_peer"):
                eventually(lambda: re.search(event + ".*two nodes are named 'eu'", node.log()), "no %s:\n%s" % (event, node.log()))
            eventually(lambda: peers(node)[0]["phase"] == "refused" and "--name" in peers(node)[0]["trouble"], "CRDT.PEERS")
        eu.call("SET", "key", "value")
        time.sleep(1.5)
        assert us.call("GET", "key") is None, "a refused node got data"
        us.stop()
        us.name = "us"
        us.start()
        cluster.wait_connected()
        cluster.wait_agreement()
        assert us.call("GET", "key") == "value"
        assert peers(us)[0]["trouble"] == "" and peers(eu)[0]["trouble"] == ""


def put_back(copy, directory):
    """As a backup is put back over a directory: the directory stays the same one, its files are old."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    shutil.copytree(copy, directory, dirs_exist_ok=True)


def forge(directory):
    """Makes the file `identity` that lies there pass for one that was written there: as when a whole volume is set back."""
    path = os.path.join(directory, "identity")
    born = subprocess.run(["stat", "-c", "%i %.9W", path], check=True, capture_output=True, text=True).stdout.split()
    info = os.stat(directory)
    with open(path, "r+") as file:  # the same file: it keeps its inode and its birth
        text = file.read()
        text = re.sub(r"place \S+", "place %d:%d" % (info.st_dev, info.st_ino), text)
        seconds, nanoseconds = born[1].split(".")
        text = re.sub(r"file \S+", "file %s:%s.%d" % (born[0], seconds, int(nanoseconds)), text)
        file.seek(0), file.truncate(), file.write(text)


def started(node, began):
    """The lines in which it says as whom it starts, from that point of its log on."""
    return [line for line in node.log()[began:].splitlines() if " store_opened " in line]


def figure(node, name):
    return re.search(name + ":(.*)\r", node.call("INFO", "crdt")).group(1)


def found(node, name):
    return next(peer["found"] for peer in peers(node) if peer["name"] == name)


def nothing_lost(cluster, wanted, gone):
    """Every node has these strings, and none of those keys; and no node has seen a divergence."""
    cluster.wait_connected()
    cluster.wait_agreement()
    for node in cluster.nodes:
        for key, value in wanted.items():
            assert node.call("GET", key) == value, "%s: %s is %r" % (node.name, key, node.call("GET", key))
        for key in gone:
            assert node.call("GET", key) is None, "%s: %s has returned" % (node.name, key)
        assert "divergence" not in node.log(), node.log()
        assert figure(node, "skerry_divergence_alarms_total") == "0"
    for verdict in cluster.nodes[0].call("CRDT.VERIFY"):
        assert dict(zip(verdict[::2], verdict[1::2]))["verdict"] == "equal", verdict


def copied_and_gone_on(cluster):
    """A cleanly ended node is copied; then it goes on, and ends cleanly again. The copy."""
    eu = cluster.nodes[0]
    eu.call("SET", "kept", "1"), eu.call("SET", "deleted", "x")
    cluster.wait_agreement()
    assert eu.stop() == 0
    copy = os.path.join(cluster.directory, "copy")
    shutil.copytree(eu.directory, copy)
    eu.start()
    eu.call("SET", "later", "2"), eu.call("INCRBY", "count", "5"), eu.call("DEL", "deleted")
    cluster.wait_connected()
    cluster.wait_agreement()
    assert eu.stop() == 0
    return copy


def check_old_copy():
    """Put back under a running cluster: its file `identity` is not the one that was written there."""
    with Cluster(["eu", "us"], namespaces=False) as cluster:
        eu, us = cluster.start().nodes
        put_back(copied_and_gone_on(cluster), eu.directory)
        before = len(eu.log())
        eu.start()
        assert "new_incarnation=yes" in started(eu, before)[0] and "put back" in started(eu, before)[0], started(eu, before)
        assert figure(eu, "new_incarnation") == "1" and "put back" in figure(eu, "identity_why")
        assert eu.call("INCR", "count") in (1, 6), "the copy has no count; a peer has"
        cluster.wait_connected()
        cluster.wait_agreement()
        nothing_lost(cluster, {"kept": "1", "later": "2", "count": "6"}, ["deleted"])
        assert figure(eu, "skerry_fences_total") == "0", "the id is new: nothing was written twice"
        assert "before as" in found(us, "eu") and "peer_renewed" in us.log(), found(us, "eu")
        assert eu.stop() == 0, "it ends cleanly under the new id"


def check_old_data():
    """Log and ordered store are put back, and the file `identity` stays: it says how much there was."""
    with Cluster(["eu", "us"], namespaces=False) as cluster:
        eu, us = cluster.start().nodes
        copy = copied_and_gone_on(cluster)
        for name in ("log", "state.mdb"):
            path = os.path.join(eu.directory, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            source = os.path.join(copy, name)
            shutil.copytree(source, path) if os.path.isdir(source) else shutil.copy(source, path)
        before = len(eu.log())
        eu.start()
        assert "new_incarnation=yes" in started(eu, before)[0] and "old copy" in started(eu, before)[0], started(eu, before)
        eu.call("INCR", "count")
        nothing_lost(cluster, {"kept": "1", "later": "2", "count": "6"}, ["deleted"])
        assert figure(eu, "skerry_fences_total") == "0"


def check_old_volume():
    """A volume is set back as a whole: every number is as it was. The first peer shows it."""
    with Cluster(["eu", "us"], namespaces=False) as cluster:
        eu, us = cluster.start().nodes
        put_back(copied_and_gone_on(cluster), eu.directory)
        forge(eu.directory)
        before = len(eu.log())
        eu.start()
        assert "new_incarnation=no" in started(eu, before)[0], "it does not pass for clean: this tests nothing"
        eventually(lambda: "writer_fenced" in eu.log()[before:], "not fenced:\n" + eu.log()[before:])
        eventually(lambda: len(started(eu, before)) == 2, "no new id:\n" + eu.log()[before:])
        eu.wait_ready()
        cluster.wait_connected()
        cluster.wait_agreement()
        assert eu.call("INCR", "count") == 6
        nothing_lost(cluster, {"kept": "1", "later": "2", "count": "6"}, ["deleted"])
        assert figure(eu, "skerry_fences_total") == "1" and "has not written" in figure(eu, "last_fence_why")
        assert "used elsewhere" in found(eu, "us"), found(eu, "us")
        assert "before as" in found(us, "eu"), found(us, "eu")
        assert eu.stop() == 0, "it ends cleanly under the new id"


def check_two_from_one():
    """Two nodes are started from one copied directory, both beside the one that it was copied from."""
    with Cluster(["eu", "us", "ap"], namespaces=False) as cluster:
        eu, us, ap = cluster.nodes
        eu.start()
        eu.call("SET", "kept", "1"), eu.call("SET", "deleted", "x"), eu.call("INCRBY", "count", "3")
        assert eu.stop() == 0
        for node in (us, ap):
            shutil.copytree(eu.directory, node.directory)
        eu.start()
        eu.call("DEL", "deleted")
        for node in (us, ap):
            node.start()
            assert "new_incarnation=yes" in started(node, 0)[0] and "is a copy" in started(node, 0)[0], started(node, 0)
            node.call("INCR", "count")
        nothing_lost(cluster, {"kept": "1", "count": "5"}, ["deleted"])
        writers = {peer["writer"] for node in cluster.nodes for peer in peers(node)}
        assert len(writers) == 3 and len({writer[:9] for writer in writers}) == 3, writers


def lose_pages(directory, bytes_lost):
    """What a power cut takes of a log that was not synced: its end, to the middle of a record."""
    segments = sorted(name for name in os.listdir(os.path.join(directory, "log")) if name.endswith(".log"))
    path = os.path.join(directory, "log", segments[-1])
    with open(path, "r+b") as log:
        content = log.read().rstrip(b"\0")
        cut = max(4096, len(content) - bytes_lost)
        assert cut < len(content) - 100, "the log is too short: this tests nothing"
        log.seek(cut)
        log.write(b"\0" * (os.path.getsize(path) - cut))


def check_lost_pages():
    """kill -9 under `interval`, and the last pages of the log never reached the disk: others have what they held."""
    with Cluster(["eu", "us"], namespaces=False, extra=["--durability", "interval"]) as cluster:
        eu, us = cluster.start().nodes
        eu.call("SET", "deleted", "x")
        time.sleep(1.5)  # synced
        client = eu.client()
        for i in range(300):
            client.call("SET", "key:%d" % i, "v" * 100), client.call("INCR", "count")
        client.call("DEL", "deleted")
        assert client.call("WAIT", 1, 10000) == 1
        client.close()
        eu.kill9()
        lose_pages(eu.directory, 20_000)
        before = len(eu.log())
        eu.start()
        assert "new_incarnation=yes" in started(eu, before)[0] and "not end cleanly" in started(eu, before)[0]
        eu.call("INCR", "count")
        wanted = {"key:%d" % i: "v" * 100 for i in range(0, 300, 7)}
        nothing_lost(cluster, {"count": "301", "key:299": "v" * 100, **wanted}, ["deleted"])
        assert "not clean" in found(us, "eu"), found(us, "eu")


def check_wiped():
    """The disk of a node is emptied, and it is started under its name again."""
    with Cluster(["eu", "us"], namespaces=False) as cluster:
        eu, us = cluster.start().nodes
        eu.call("SET", "kept", "1"), eu.call("SET", "deleted", "x"), eu.call("INCRBY", "count", "3")
        cluster.wait_agreement()
        us.call("DEL", "deleted")
        cluster.wait_agreement()
        eu.kill9()
        shutil.rmtree(eu.directory)
        before = len(eu.log())
        eu.start()
        assert "there was none" in started(eu, before)[0], started(eu, before)
        eu.call("INCR", "count")
        nothing_lost(cluster, {"kept": "1", "count": "4"}, ["deleted"])
        assert "another one" in found(us, "eu"), found(us, "eu")


def check_twins():
    """One identity, two live nodes: as when the image of a machine is cloned."""
    with Cluster(["eu", "us"], namespaces=False) as cluster:
        eu, us = cluster.nodes
        os.mkdir(us.directory)
        eu.start()
        assert eu.stop() == 0
        shutil.copy(os.path.join(eu.directory, "identity"), os.path.join(us.directory, "identity"))
        forge(us.directory)
        # Of the same age, too.
        for name in ("log", "state.mdb"):
            source = os.path.join(eu.directory, name)
            target = os.path.join(us.directory, name)
            shutil.copytree(source, target) if os.path.isdir(source) else shutil.copy(source, target)
        eu.start(wait=False)
        us.start()
        for node in (eu, us):
            eventually(lambda: re.search("new_incarnation=no.*new_incarnation=yes", node.log(), re.S),
                       "no new id:\n" + node.log())
        noted = [event in node.log() for node in (eu, us) for event in ("peer_refused", "refused_by_peer")]
        assert any(noted), "neither says why"
        for node in (eu, us):
            assert "two live nodes write as" in node.log(), node.log()
            node.wait_ready()
        cluster.wait_connected()
        for node in (eu, us):
            client = node.client()
            try:
                assert client.call("INCR", "count") > 0
            except ReplyError as error:
                raise AssertionError("%s still refuses writes: %s" % (node.name, error))
            finally:
                client.close()
        cluster.wait_agreement()
        assert eu.call("GET", "count") == us.call("GET", "count") == "2"


if __name__ == "__main__":
    sys.exit(run_checks("identity", globals()))
