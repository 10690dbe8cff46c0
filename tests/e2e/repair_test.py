#!/usr/bin/env python3
"""Rows that a disk has lost come back from the other nodes: by an alarm, or by CRDT.VERIFY REPAIR.

SKERRYD names the binary, ROT_ROWS the one that takes rows out of a stopped node's state.mdb.
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import run_checks  # noqa: E402
from cluster import Cluster  # noqa: E402

ROT_ROWS = os.environ.get("ROT_ROWS", "build/release/tests/rot_rows")
KEYS, MEMBERS = 3000, 2000


def contents(node):
    keys = sorted(key for key in node.call("KEYS", "*") if key != "crowd")
    values = node.client().pipeline([("GET", key) for key in keys])
    return dict(zip(keys, values)), sorted(node.call("SMEMBERS", "crowd")), node.call("SCARD", "crowd"), node.call("DBSIZE")


def fill(node):
    node.client().pipeline([("SET", "key:%d" % i, "%d " % i + "v" * 2000) for i in range(KEYS)])
    node.client().pipeline([("SADD", "crowd", "member %d" % i) for i in range(MEMBERS)])


def rot(cluster, node):
    """Takes rows out of the checkpoint, which has most of them: one is written each 4 MiB of log."""
    node.stop()
    gone = int(subprocess.run([ROT_ROWS, node.directory, "50"], check=True, capture_output=True, text=True).stdout)
    assert gone > 20, "%d rows are gone: this would test little" % gone
    node.start()
    cluster.wait_connected()


def verdicts(node, *options):
    return [dict(zip(row[::2], row[1::2])) for row in node.call("CRDT.VERIFY", *options)]


def check_lost_rows_come_back():
    with Cluster(["a", "b", "c"], namespaces=False, extra=["--memory", "16mb"]) as cluster:
        a, b, _ = cluster.start().nodes
        fill(a)
        cluster.wait_agreement()
        before = contents(a)
        rot(cluster, b)
        assert contents(b) != before, "no rows are missing"
        # What is touched is alarmed, and repaired by itself; the rest when somebody asks.
        a.client().pipeline([("APPEND", "key:%d" % i, "!") for i in range(0, KEYS, 10)])
        for i in range(0, KEYS, 10):
            before[0]["key:%d" % i] += "!"
        verdicts(a, "REPAIR")
        end = time.time() + 30
        while time.time() < end and any(contents(node) != before for node in cluster.nodes):
            time.sleep(0.2)
        for node in cluster.nodes:
            assert contents(node) == before, "%s is not as it was" % node.name
        for verdict in verdicts(b):
            assert verdict["verdict"] == "equal", verdict
        assert "repaired" in b.log(), "the log says nothing of it"


if __name__ == "__main__":
    sys.exit(run_checks("repair_test", globals()))
