"""A disk that fills up: writes get an error, reads and deletes go on, and space that is freed makes writes work again."""
import errno
import os
import re
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


def free_bytes(directory):
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def fill(directory, left):
    """Leaves about as many bytes free; at one stroke, or the node finds room on the way."""
    with open(os.path.join(directory, "ballast"), "ab") as file:
        while True:
            size = max(0, os.fstat(file.fileno()).st_size + free_bytes(directory) - left)
            try:
                if size > 0:
                    os.posix_fallocate(file.fileno(), 0, size)
                return os.truncate(file.fileno(), size)
            except OSError as error:  # the node took some meanwhile
                assert error.errno == errno.ENOSPC, error


def empty(directory):
    os.unlink(os.path.join(directory, "ballast"))


def checkpoints(node):
    return int(re.search(r"^checkpoints:(\d+)", node.call("INFO"), re.M).group(1))


def check_nearly_full(directory):
    with Cluster(["eu"], directory=directory, namespaces=False) as cluster:
        node = cluster.start().nodes[0]
        node.call("SET", "kept", "before")
        node.call("SADD", "members", "a", "b")
        fill(directory, 100 << 20)
        eventually(lambda: refused(node))
        assert node.call("GET", "kept") == "before"
        assert node.call("SREM", "members", "a") == 1
        assert node.call("DEL", "members") == 1
        assert "disk_full" in node.log()
        node.kill9()
        node.start()
        assert node.call("GET", "kept") == "before" and node.call("EXISTS", "members") == 0
        empty(directory)
        eventually(lambda: not refused(node))
        assert node.call("GET", "probe") == "x"
        assert node.stop() == 0
    print("full_disk: writes refused, reads and deletes served, a kill survived, writes back when there is room")


def check_checkpoint_without_room(directory):
    value = "x" * 10000
    with Cluster(["eu"], directory=directory, namespaces=False, extra=["--memory", "96mb"]) as cluster:
        node = cluster.start().nodes[0]
        client = node.client()
        # All of this stays within the log's first segment, whose blocks are taken from the start; a checkpoint is due
        # after 24 MiB of it.
        client.pipeline([("SET", "k%d" % i, value) for i in range(2200)])
        assert checkpoints(node) == 0
        fill(directory, 2 << 20)
        replies = client.pipeline([("SET", "more%d" % i, value) for i in range(400)])
        kept = 2200 + replies.count("OK")  # the others came after the disk had been looked at
        eventually(lambda: "checkpoint_failed" in node.log())
        eventually(lambda: refused(node))
        assert node.call("GET", "k0") == value
        assert client.pipeline([("DEL", "k%d" % i) for i in range(100)]) == [1] * 100
        assert free_bytes(directory) > 1 << 20, "a checkpoint that failed keeps the last bytes of the disk"
        fill(directory, 90 << 20)  # enough for the checkpoint, too little for writes
        eventually(lambda: checkpoints(node) == 1)
        assert refused(node)
        empty(directory)
        eventually(lambda: not refused(node))

        # Removals on a full disk reach a checkpoint. First what is to be removed gets into one.
        names = ["%d" % i + "n" * 2000 for i in range(2500)]
        assert client.pipeline([("SET", name, "x") for name in names]) == ["OK"] * len(names)
        done = checkpoints(node)
        client.pipeline([("SET", "k%d" % i, value) for i in range(100, 2200)])
        eventually(lambda: checkpoints(node) > done)
        fill(directory, 1 << 20)
        eventually(lambda: refused(node))
        before = checkpoints(node)
        assert client.pipeline([("DEL", name) for name in names]) == [1] * len(names)
        eventually(lambda: checkpoints(node) > before, seconds=20)
        node.kill9()
        node.start()
        assert node.call("DBSIZE") == kept - 100 + 1  # and the probe
        assert node.call("GET", "k100") == value
        empty(directory)
        eventually(lambda: not refused(node))
        assert node.stop() == 0
    print("full_disk: a checkpoint without room refuses writes only; removals reach one, and room is enough to go on")


def top_up(directory):
    """Another program takes whatever the node gives back."""
    with open(os.path.join(directory, "ballast"), "ab", buffering=0) as file:
        try:
            while file.write(b"\0" * (1 << 20)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC, error


def check_last_byte(directory):
    with Cluster(["eu"], directory=directory, namespaces=False) as cluster:
        node = cluster.start().nodes[0]
        client = node.client()
        names = ["%d" % i + "n" * 60000 for i in range(4000)]
        for i in range(0, len(names), 100):
            assert client.pipeline([("SET", name, "x") for name in names[i:i + 100]]) == ["OK"] * 100
        time.sleep(1.5)  # the next segment's blocks are taken within a second
        top_up(directory)
        eventually(lambda: refused(node))
        removed = 0
        replies = []
        while all(reply == 1 for reply in replies) and removed < len(names):
            replies = client.pipeline([("DEL", name) for name in names[removed:removed + 20]])
            top_up(directory)
            removed += replies.count(1)
        assert all(reply == 1 or "nearly used up" in str(reply) for reply in replies), replies
        assert 1000 < removed < len(names), removed
        left = node.call("DBSIZE") - node.call("EXISTS", "probe")
        assert node.call("EXISTS", names[removed]) == 1 and left == len(names) - removed
        empty(directory)
        eventually(lambda: not refused(node))
        assert client.pipeline([("DEL", name) for name in names[removed:]]) == [1] * (len(names) - removed)
        assert node.stop() == 0
    print("full_disk: %d removals on a disk without a free byte, then reads only, then all of it again" % removed)


def on_small_disk(check, megabytes=400):
    directory = tempfile.mkdtemp(prefix="skerry-disk-")
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % megabytes, "tmpfs", directory]).returncode != 0:
            print("full_disk: a small disk could not be mounted; not tried")
            return
        check(directory)
    finally:
        subprocess.run(["umount", "-l", directory], stderr=subprocess.DEVNULL)
        os.rmdir(directory)


def main():
    if os.geteuid() != 0:
        print("full_disk: needs root to mount a small disk; not tried")
        return
    on_small_disk(check_nearly_full)
    on_small_disk(check_checkpoint_without_room)
    on_small_disk(check_last_byte, megabytes=1000)


main()
