"""A disk that fills up: writes get an error, reads and deletes go on, and space that is freed makes writes work again."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, ReplyError  # noqa: E402


def eventually(what, seconds=10):
    end = time.time() + seconds
    while not what():
        assert time.time() < end, "it does not come about"
        time.sleep(0.05)


def refused(node):
    try:
        node.call("SET", "probe", "x")
        return False
    except ReplyError as error:
        assert str(error).startswith("MISCONF"), error
        return True


def main():
    directory = tempfile.mkdtemp(prefix="skerry-disk-")
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", directory]).returncode != 0:
        print("full_disk: needs root to mount a small disk; not tried")
        return
    try:
        with Cluster(["eu"], directory=directory, namespaces=False) as cluster:
            cluster.start()
            node = cluster.nodes[0]
            node.call("SET", "kept", "before")
            node.call("SADD", "members", "a", "b")
            ballast = os.path.join(directory, "ballast")
            with open(ballast, "wb") as file:
                free = os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize
                file.write(b"\0" * (free - (100 << 20)))
            eventually(lambda: refused(node))
            assert node.call("GET", "kept") == "before"
            assert node.call("SREM", "members", "a") == 1
            assert node.call("DEL", "members") == 1
            assert "disk_full" in node.log()
            node.kill9()
            node.start()
            assert node.call("GET", "kept") == "before" and node.call("EXISTS", "members") == 0
            os.unlink(ballast)
            eventually(lambda: not refused(node))
            assert node.call("GET", "probe") == "x"
            assert node.stop() == 0
        print("full_disk: writes refused, reads and deletes served, a kill survived, writes back when there is room")
    finally:
        subprocess.run(["umount", "-l", directory])
        os.rmdir(directory)


main()
