#!/usr/bin/env python3
"""Who may write in a cluster: two nodes of one name, an old copy put back in the same place, one directory used twice.

SKERRYD names the binary.
"""
import os
import re
import shutil
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


def check_old_copy():
    with Cluster(["eu", "us"], namespaces=False) as cluster:
        eu, us = cluster.start().nodes
        eu.call("SET", "kept", "1")
        cluster.wait_agreement()
        assert eu.stop() == 0
        copy = os.path.join(cluster.directory, "copy")
        shutil.copytree(eu.directory, copy)
        eu.start()
        eu.call("SET", "later", "2")
        eu.call("INCRBY", "count", "5")
        cluster.wait_connected()
        cluster.wait_agreement()
        assert eu.stop() == 0
        put_back(copy, eu.directory)
        before = len(eu.log())
        eu.start()
        assert "new_incarnation=no" in eu.log()[before:], "the copy does not pass for clean: this tests nothing"
        eventually(lambda: "writer_fenced" in eu.log()[before:], "not fenced:\n" + eu.log()[before:])
        eventually(lambda: "new_incarnation=yes" in eu.log()[before:], "no new id:\n" + eu.log()[before:])
        eu.wait_ready()
        cluster.wait_connected()
        cluster.wait_agreement()
        assert eu.call("GET", "later") == "2" and eu.call("GET", "kept") == "1"
        assert eu.call("INCR", "count") == 6
        cluster.wait_agreement()
        assert us.call("GET", "count") == "6"
        for node in (eu, us):
            assert "divergence" not in node.log(), node.log()
            assert "skerry_divergence_alarms_total:0" in node.call("INFO", "crdt")
        assert "skerry_fences_total:1" in eu.call("INFO", "crdt")
        assert eu.stop() == 0, "it ends cleanly under the new id"


def check_twins():
    """One identity, two live nodes: as when the image of a machine is cloned."""
    with Cluster(["eu", "us"], namespaces=False) as cluster:
        eu, us = cluster.nodes
        os.mkdir(us.directory)
        eu.start()
        assert eu.stop() == 0
        with open(os.path.join(eu.directory, "identity")) as file:
            identity = file.read()
        info = os.stat(us.directory)
        with open(os.path.join(us.directory, "identity"), "w") as file:
            file.write(re.sub(r"place \S+", "place %d:%d" % (info.st_dev, info.st_ino), identity))
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
