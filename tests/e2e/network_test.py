#!/usr/bin/env python3
"""The network as it is: each trouble on three real processes, with writes on all of them, and what an operator sees.

Each case runs by itself, several at a time: network_test.py [--long] [NAME ...]. Connections between nodes go over
tests/e2e/wire.py in network namespaces, which needs root. Where that is not allowed, cuts are made by CRDT.LINK, and cases
that it cannot express are skipped: the last line says which. SKERRYD names the binary.
"""
import os
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, free_port  # noqa: E402
from network_load import Load, figures, peer, row, until  # noqa: E402

LONG = 6 if os.environ.get("SKERRY_NETWORK_LONG") else 1  # times as long
JOBS = 4
DAY_MS = 86_400_000
SKIPPED = 77  # the exit code


class Skip(Exception):
    pass


def three(wire_needed=True, **options):
    cluster = Cluster(["eu", "us", "ap"], wire=True, **options)
    if wire_needed and not cluster.wire:
        cluster.close()
        raise Skip("needs network namespaces and packet sockets: run as root, where the kernel allows them")
    return cluster


def cut(cluster, a, b, is_cut):
    """Both directions, or all of them at `a` if b is *."""
    names = [node.name for node in cluster.nodes]
    if not cluster.wire:
        for other in [name for name in names if name != a] if b == "*" else [b]:
            cluster.link(a, other, up=not is_cut)
        return
    a, b = names.index(a), b if b == "*" else names.index(b)
    cluster.wire.set(a, b, cut=int(is_cut))
    cluster.wire.set(b, a, cut=int(is_cut))


def is_down(node, name):
    return peer(node, name)["link"] == "down"


def follows(node, name):
    seen = peer(node, name)
    return seen["link"] == "up" and seen["phase"] == "following" and int(seen["silent_ms"]) < 2500


def all_follow(cluster):
    return all(follows(node, other.name) for node in cluster.nodes for other in cluster.nodes if other is not node)


def logged(node, event):
    return [line for line in node.log().splitlines() if " %s " % event in line]


def metric(node, name, of_peer=None):
    """From /metrics: what a dashboard has."""
    text = urllib.request.urlopen("http://%s/metrics" % node.http, timeout=10).read().decode()
    labels = r"\{[^}]*peer=\"%s\"[^}]*\}" % of_peer if of_peer else ""
    found = re.search(r"^%s%s (\S+)$" % (name, labels), text, re.M)
    return float(found.group(1)) if found else -1.0  # in its first second a node has published none


def with_http(cluster):
    for node in cluster.nodes:
        node.http = "%s:%d" % (node.host, 9100 if node.namespace else free_port())
        node.extra = ["--http", node.http]
    return cluster


# ---- the cases. Each returns a sentence of figures.

def case_cut():
    """One node is cut off from both others, and nobody is told."""
    with with_http(three(wire_needed=False)) as cluster:
        eu, _, ap = cluster.start().nodes
        with Load(cluster) as load:
            cut(cluster, "ap", "*", True)
            seen = until(lambda: is_down(eu, "ap") and is_down(ap, "eu") and is_down(ap, "us"), 9, "the cut shows")
            until(lambda: metric(eu, "skerry_peers_up") == 1 and metric(ap, "skerry_peers_up") == 0, 3, "in /metrics")
            until(lambda: int(peer(eu, "ap")["lag_events"]) > 100, 5, "the lag grows")
            time.sleep(2 * LONG)
            cut(cluster, "ap", "*", False)
            healed = until(lambda: all_follow(cluster), 15, "all follow again")
        took = load.check(20)
        if cluster.wire:
            assert logged(eu, "peer_silent") and logged(eu, "peer_heard"), eu.log()
        return "seen after %.1f s, followed %.1f s after the heal, agreed in %.1f s" % (seen, healed, took)


def case_one_way():
    """What eu sends to us vanishes; what us sends to eu would arrive."""
    with three() as cluster:
        eu, us, _ = cluster.start().nodes
        cluster.wire.set(0, 1, cut=1)
        with Load(cluster) as load:
            seen = until(lambda: is_down(us, "eu"), 9, "us sees that eu is silent")
            eu.call("SET", "through", "the third")
            relayed = until(lambda: us.call("GET", "through") == "the third", 20, "a write of eu comes to us through ap")
            assert logged(us, "pull_began"), us.log()
            time.sleep(3 * LONG)
            cluster.wire.set(0, 1)
            healed = until(lambda: all_follow(cluster), 20, "all follow again")
        took = load.check(20)
        return "seen after %.1f s, relayed in %.1f s, followed %.1f s after the heal, agreed in %.1f s" % (
            seen, relayed, healed, took)


def case_flapping():
    """A link that comes and goes several times a second."""
    with three(wire_needed=False) as cluster:
        cluster.start()
        with Load(cluster) as load:
            end = time.time() + 8 * LONG
            flaps = 0
            while time.time() < end:
                cut(cluster, "eu", "us", flaps % 2 == 0)
                flaps += 1
                time.sleep(0.1 + 0.07 * (flaps % 7))
            cut(cluster, "eu", "us", False)
            healed = until(lambda: all_follow(cluster), 20, "all follow again")
        took = load.check(20)
        return "%d times, followed %.1f s after the last, agreed in %.1f s" % (flaps, healed, took)


def trouble_in_transit(seconds, agreed_within, **values):
    """The links stay up all the while: it is slower, and nothing else."""
    with three() as cluster:
        eu, us, ap = cluster.start().nodes
        with Load(cluster) as load:
            cluster.wire.set(**values)
            end = time.time() + seconds * LONG
            while time.time() < end:
                time.sleep(0.5)
                down = [n.name for n in cluster.nodes for o in cluster.nodes if o is not n and is_down(n, o.name)]
                assert not down, "a link shows as down at %s" % down
        took = load.check(agreed_within)
        counts = cluster.wire.count()
        assert not logged(eu, "peer_silent") + logged(us, "peer_silent") + logged(ap, "peer_silent"), "a false alarm"
        return "%d packets, %d lost, %d late; agreed in %.1f s, with the trouble going on" % (
            counts["passed"], counts["lost"], counts["late"], took), counts


def case_loss():
    """5 % of all packets are lost, in both directions."""
    told, counts = trouble_in_transit(8, 20, loss=5)
    assert counts["lost"] > 20, counts
    return told


def case_delay():
    """300 ms each way."""
    return trouble_in_transit(8, 20, delay=300)[0]


def case_reordering():
    """30 % of all packets come 40 ms later than those sent after them."""
    told, counts = trouble_in_transit(8, 20, late=30, by=40, delay=5)
    assert counts["late"] > 100, counts
    return told


def case_half_open():
    """A firewall forgets its connections: both ends believe in them, and no packet passes. Then one end dies in a cut."""
    with with_http(three()) as cluster:
        eu, us, ap = cluster.start().nodes
        with Load(cluster) as load:
            time.sleep(1)
            cluster.wire.forget()
            # Both ends connect anew at once, so that CRDT.PEERS hardly ever says "down".
            noticed = until(lambda: logged(eu, "peer_silent") and logged(us, "peer_silent"), 9, "silence is told")
            noticed += until(lambda: all_follow(cluster), 15, "new connections")
            assert cluster.wire.count()["forgotten"] > 0
            assert figures(eu)["skerry_peer_reconnects_total"] >= 2, figures(eu)
        took = load.check(20)
        # ap is killed where nobody hears its connections end; what comes back knows nothing of them.
        cut(cluster, "ap", "*", True)
        ap.kill9()
        ap.start()
        cut(cluster, "ap", "*", False)
        back = until(lambda: all_follow(cluster), 20, "a killed node is followed again")
        eu.call("SET", "after", "all")
        cluster.wait_agreement(10)
        assert ap.call("GET", "after") == "all"
        return "new connections after %.1f s, agreed in %.1f s; a killed one followed after %.1f s" % (noticed, took, back)


def case_stops_reading():
    """us is stopped in the middle of it (SIGSTOP): its kernel takes what fits, and then nothing."""
    with with_http(three(wire_needed=False)) as cluster:
        eu, us, ap = cluster.start().nodes
        big = os.urandom(100_000).hex().encode()  # so that zstd makes half of it
        with Load(cluster) as load:
            time.sleep(1)
            us.process.send_signal(signal.SIGSTOP)  # `ip netns exec` has become the node
            client = eu.client()
            highest = 0
            for i in range(400 * LONG):
                client.call("SET", "big%d" % (i % 50), big)
                highest = max(highest, figures(eu)["skerry_publish_queued_bytes"])
            client.close()
            until(lambda: is_down(eu, "us"), 9, "eu sees that us is silent")
            assert highest < 48 << 20, "eu holds %d bytes for a peer that does not read" % highest
            assert figures(eu)["skerry_batches_announced_total"] > 0 and logged(eu, "publish_backlog"), figures(eu)
            # The others do not notice.
            token = eu.call("CRDT.CLOCK")
            assert ap.call("CRDT.BARRIER", token, 10000) == "OK"
            drained = until(lambda: metric(eu, "skerry_publish_queued_bytes") < 1 << 20, 40, "what waits for us is given up")
            us.process.send_signal(signal.SIGCONT)
            healed = until(lambda: all_follow(cluster), 20, "all follow again")
        took = load.check(60)
        assert us.call("GET", "big7") == big.decode()
        return "at most %.0f MiB held, given up after %.1f s, followed %.1f s after it goes on, agreed in %.1f s" % (
            highest / 2**20, drained, healed, took)


def zmtp(socket_type):
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(socket_type)) + socket_type
    return b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".ljust(64, b"\0") + b"\x04" + bytes([len(ready)]) + ready


def garbage(chance):
    """What a stranger may say, before and after the other's READY: nothing of ZMTP, pieces of it, messages none of ours."""
    junk = chance.randbytes(chance.randrange(1, 3000))
    frame = (b"SKR\x02" + bytes([chance.randrange(0, 40), chance.randrange(0, 3)]) + junk)[:200]
    small = [b"\x00" + bytes([len(m)]) + m for m in (junk[:200], frame, b"")]
    huge = [b"\x02" + struct.pack(">Q", size) + frame for size in (len(frame), 2**40, 2**63)]
    return chance.choice([
        (junk, b""), (b"GET / HTTP/1.1\r\n\r\n", junk), (b"*1\r\n$4\r\nPING\r\n", b""),
        (zmtp(b"DEALER")[:chance.randrange(1, 90)], b""), (zmtp(b"DEALER") + junk, b""), (zmtp(b"REQ"), junk),
        (zmtp(b"DEALER"), chance.choice(small)), (zmtp(b"DEALER"), chance.choice(huge)),
        (zmtp(b"DEALER"), b"\x01\x01a" * 50 + b"\x00\x01b"),
        (zmtp(b"SUB"), b"\x00\x01\x01" + junk), (zmtp(b"SUB"), chance.choice(small + huge))])


def case_garbage():
    """Strangers at the gossip and publish ports, who say anything at all."""
    import random
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    with three(wire_needed=False) as cluster:
        eu = cluster.start().nodes[0]
        # In a namespace the stranger is there, too: the wire has no way in for this process.
        with Load(cluster) as load:
            said = 0
            end = time.time() + 8 * LONG
            while time.time() < end:
                for port in (eu.gossip, eu.gossip + 1):
                    said += stranger(eu, port, [garbage(chance) for _ in range(20)])
            assert eu.process.poll() is None, "seed %d: eu has ended\n%s" % (seed, eu.log()[-3000:])
            assert all_follow(cluster), "seed %d" % seed
        took = load.check(20)
        assert figures(eu)["skerry_malformed_total"] > 0 and logged(eu, "frame_refused"), figures(eu)
        assert figures(cluster.nodes[1])["skerry_malformed_total"] == 0
        return "%d pieces (seed %d), %d frames refused, agreed in %.1f s" % (
            said, seed, figures(eu)["skerry_malformed_total"], took)


STRANGER = """
import socket, sys
host, port, pieces = sys.argv[1], int(sys.argv[2]), sys.stdin.buffer.read()
while pieces:
    first, second, pieces = int(pieces[:8]), int(pieces[8:16]), pieces[16:]
    with socket.create_connection((host, port), timeout=5) as s:
        try:
            s.sendall(pieces[:first])
            s.settimeout(0.05)
            answer = b""
            while b"READY" not in answer:
                part = s.recv(1000)
                if not part:
                    break
                answer += part
        except OSError:  # it waits for more, or has hung up
            pass
        try:
            s.sendall(pieces[first:first + second])
            s.recv(1000)
        except OSError:
            pass
    pieces = pieces[first + second:]
"""


def stranger(node, port, pieces):
    command = [sys.executable, "-c", STRANGER, node.gossip_host, str(port)]
    if node.namespace:
        command = ["ip", "netns", "exec", node.namespace] + command
    said = b"".join(b"%08d%08d" % (len(first), len(second)) + first + second for first, second in pieces)
    subprocess.run(command, input=said, check=True, timeout=60)
    return len(pieces)


def faketime():
    """The library that lies about the time of day, and only about that."""
    found = [os.path.join(folder, "libfaketime.so.1") for folder in
             ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime", "/usr/lib64/faketime")]
    found = [path for path in found if os.path.exists(path)]
    if not found:
        raise Skip("needs libfaketime (Debian: faketime)")
    return found[0]


def lie(cluster, node, offset_seconds):
    """From now on, also while it runs, the node's clock is so far off."""
    path = os.path.join(cluster.directory, node.name + ".clock")
    with open(path + ".new", "w") as out:
        out.write("%+d\n" % offset_seconds)
    os.rename(path + ".new", path)
    # It asks for memory to tell the time, jemalloc for the time to begin: the C library's memory instead, before jemalloc's.
    node.environment = {"LD_PRELOAD": faketime() + ":libc.so.6:libstdc++.so.6", "FAKETIME_TIMESTAMP_FILE": path, "FAKETIME_NO_CACHE": "1",
                        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
                        "ASAN_OPTIONS": "verify_asan_link_order=0"}


def wall_of(node, key):
    """The hybrid clock of the newest entry of a string, in ms."""
    leaves = [row(leaf) for leaf in row(node.call("CRDT.INFO", key))["leaves"]]
    return max(int(row(entry)["wall_ms"]) for leaf in leaves if leaf["kind"] == "string" for entry in leaf["entries"])


def case_clock_ahead():
    """The clock of ap is a day ahead of the others'."""
    with with_http(three(wire_needed=False)) as cluster:
        eu, us, ap = cluster.nodes
        lie(cluster, ap, 86400)
        cluster.start()
        with Load(cluster) as load:
            until(lambda: abs(int(peer(eu, "ap")["clock_ms"]) - DAY_MS) < 5000, 5, "eu sees the clock of ap")
            until(lambda: abs(metric(eu, "skerry_peer_clock_seconds", "ap") - DAY_MS / 1000) < 5, 5, "/metrics shows it")
            assert abs(int(peer(eu, "us")["clock_ms"])) < 5000, peer(eu, "us")
            assert logged(eu, "clock_apart") and logged(ap, "clock_apart"), eu.log()
            # Causality beats clocks: who has seen a write of tomorrow overwrites it, and does not take up its clock.
            for turn in range(5):
                ap.call("SET", "causal", "tomorrow %d" % turn)
                assert wall_of(ap, "causal") > time.time() * 1000 + DAY_MS - 60_000
                until(lambda: eu.call("GET", "causal") == "tomorrow %d" % turn, 10, "eu has it")
                eu.call("SET", "causal", "today %d" % turn)
                assert abs(wall_of(eu, "causal") - time.time() * 1000) < 60_000, "the clock of eu has been dragged along"
                until(lambda: ap.call("GET", "causal") == "today %d" % turn, 10, "ap takes what has seen its own")
            time.sleep(3 * LONG)
            assert figures(eu)["skerry_clocks_ahead_total"] > 0 and figures(ap)["skerry_clocks_ahead_total"] == 0
        took = load.check(20)
        assert abs(wall_of(eu, "own:0") - time.time() * 1000) < 60_000
        return "%d readings not absorbed, agreed in %.1f s" % (figures(eu)["skerry_clocks_ahead_total"], took)


def case_clock_leaps_back():
    """The clock of ap leaps: an hour back, a day back, and forth again, while it runs."""
    with with_http(three(wire_needed=False)) as cluster:
        eu, us, ap = cluster.nodes
        lie(cluster, ap, 0)
        cluster.start()
        with Load(cluster) as load:
            before = 0
            for offset in (0, -3600, -86400, -3600, 0):
                lie(cluster, ap, offset)
                until(lambda: abs(int(peer(eu, "ap")["clock_ms"]) - offset * 1000) < 5000, 10, "eu sees it")
                until(lambda: abs(metric(eu, "skerry_peer_clock_seconds", "ap") - offset) < 5, 5, "/metrics shows it")
                for turn in range(20):
                    ap.call("SET", "turn", "%d %d" % (offset, turn))
                now = wall_of(ap, "turn")
                assert now >= before, "the hybrid clock of ap fell by %d ms" % (before - now)
                assert now < time.time() * 1000 + 60_000, "the hybrid clock of ap runs away"
                before = now
                until(lambda: eu.call("GET", "turn") == "%d 19" % offset, 10, "the last write is the last")
                until(lambda: all_follow(cluster), 10, "timers do not look at the time of day")
                time.sleep(LONG)
            assert logged(eu, "clock_apart"), eu.log()
        took = load.check(20)
        return "five leaps, agreed in %.1f s" % took


# ---- running them

CASES = {name[len("case_"):]: case for name, case in list(globals().items()) if name.startswith("case_")}


def run_case(name):
    try:
        print(CASES[name](), end="")
        return 0
    except Skip as why:
        print(why, end="")
        return SKIPPED


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--case"]:
        return run_case(arguments[1])
    environment = dict(os.environ)
    if "--long" in arguments:
        environment["SKERRY_NETWORK_LONG"] = "1"
        arguments.remove("--long")
    waiting = [name for name in CASES if not arguments or any(part in name for part in arguments)]
    if not waiting:
        print("network: no case of that name; there are %s" % " ".join(CASES), file=sys.stderr)
        return 2
    with Cluster(["probe"], wire=True) as probe:
        jobs = JOBS if probe.wire else 1  # else they would take each other's ports
    count, began, running, failed, skipped = len(waiting), time.time(), {}, [], []
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            running[name] = time.time(), subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), "--case", name], env=environment,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name, (since, process) in list(running.items()):
            try:
                output, _ = process.communicate(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            del running[name]
            outcome = {0: "ok", SKIPPED: "SKIPPED"}.get(process.returncode, "FAILED")
            print("%-18s %s (%.0f s): %s" % (name, outcome, time.time() - since, output.strip()), flush=True)
            if outcome != "ok":
                (skipped if outcome == "SKIPPED" else failed).append(name)
    print("network: %d of %d cases passed in %.0f s%s%s" % (
        count - len(failed) - len(skipped), count, time.time() - began,
        "; FAILED: " + " ".join(failed) if failed else "", "; SKIPPED: " + " ".join(skipped) if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
