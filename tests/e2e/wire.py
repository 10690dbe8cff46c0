#!/usr/bin/env python3
"""A wire between network namespaces that delays, loses, reorders and drops packets, and forgets connections.

In place of `tc netem` and a firewall, which many kernels come without: it needs packet sockets only, the same everywhere,
and its losses follow from a seed. Each namespace has one end of a veth pair; this process holds the other ends and carries
every IPv4 packet between them. Nobody but TCP can tell.

Run as a program with the names of interfaces: commands on stdin, one line each, answered by one line on stdout.
  set FROM TO KEY=VALUE...  the direction FROM -> TO (numbers from 0, or * for all): loss, late (percent), delay, by (ms), cut (0 or 1), rate (kB/s, 0: any)
                            `late` percent of the packets come `by` ms after the others; what is not given is as it should be
  forget                    as a firewall that was restarted: packets of connections that are there now vanish, new ones pass
  count                     packets passed, lost, late, cut off, forgotten
"""
import heapq
import os
import random
import select
import socket
import subprocess
import sys
import time

SOL_PACKET, PACKET_VNET_HDR = 263, 15
VNET_BYTES, ETHERNET_BYTES = 10, 14  # the first says what is left to do: checksums
FRAME_MAX = 70000
TCP, SYN, ACK = 6, 2, 16


def mac(index):
    return "02:00:00:00:00:%02x" % (index + 1)


class Direction:
    def __init__(self, loss=0.0, late=0.0, delay=0.0, by=0.0, cut=0.0, rate=0.0):
        self.loss, self.late, self.delay, self.by, self.cut = loss / 100, late / 100, delay / 1000, by / 1000, bool(cut)
        self.bytes_per_s, self.free_at = rate * 1000, 0.0

    def sent_at(self, count):
        """When a packet of so many bytes has left, behind those before it."""
        now = time.monotonic()
        if not self.bytes_per_s:
            return now
        self.free_at = max(self.free_at, now) + count / self.bytes_per_s
        return self.free_at


class Switch:
    def __init__(self, interfaces, seed):
        self.chance = random.Random(seed)
        self.ends = []
        for interface in interfaces:
            end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            end.bind((interface, 0x0003))
            self.ends.append(end)
        indexes = range(len(interfaces))
        self.directions = {(a, b): Direction() for a in indexes for b in indexes}
        self.flows, self.forgotten = set(), set()
        self.waiting, self.order = [], 0
        self.counts = dict.fromkeys(("passed", "lost", "late", "cut", "forgotten"), 0)

    def is_forgotten(self, frame):
        """Of a connection that was forgotten. What begins a new one is remembered."""
        at = VNET_BYTES + ETHERNET_BYTES
        tcp = at + (frame[at] & 15) * 4
        if frame[at + 9] != TCP or len(frame) < tcp + 14:
            return False
        source, target = frame[at + 12:at + 16] + frame[tcp:tcp + 2], frame[at + 16:at + 20] + frame[tcp + 2:tcp + 4]
        flow = (min(source, target), max(source, target))
        if frame[tcp + 13] & (SYN | ACK) == SYN:
            self.forgotten.discard(flow)
        self.flows.add(flow)
        return flow in self.forgotten

    def carry(self, source, frame):
        at = VNET_BYTES
        target = frame[at + 5] - 1
        if frame[at + 12:at + 14] != b"\x08\x00" or frame[at:at + 5] != b"\x02\0\0\0\0" or not 0 <= target < len(self.ends):
            return
        direction = self.directions[source, target]
        if direction.cut:
            self.counts["cut"] += 1
        elif self.is_forgotten(frame):
            self.counts["forgotten"] += 1
        elif self.chance.random() < direction.loss:
            self.counts["lost"] += 1
        else:
            due = direction.sent_at(len(frame) - VNET_BYTES) + direction.delay
            if self.chance.random() < direction.late:
                self.counts["late"] += 1
                due += direction.by
            self.order += 1
            heapq.heappush(self.waiting, (due, self.order, source, target, frame))

    def deliver(self):
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            _, _, source, target, frame = heapq.heappop(self.waiting)
            if self.directions[source, target].cut:
                self.counts["cut"] += 1
                continue
            try:
                self.ends[target].send(frame)
                self.counts["passed"] += 1
            except OSError:  # the other namespace is going
                self.counts["lost"] += 1

    def execute(self, line):
        words = line.split()
        if words[0] == "set":
            values = {key: float(value) for key, value in (word.split("=") for word in words[3:])}
            for source, target in self.directions:
                if words[1] in ("*", str(source)) and words[2] in ("*", str(target)):
                    self.directions[source, target] = Direction(**values)
        elif words[0] == "forget":
            self.forgotten |= self.flows
        return " ".join("%s=%d" % pair for pair in self.counts.items())

    def run(self):
        index_of = {end: index for index, end in enumerate(self.ends)}
        while True:
            patience = max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            ready, _, _ = select.select([sys.stdin.buffer] + self.ends, [], [], patience)
            for one in ready:
                if one is sys.stdin.buffer:
                    line = one.readline().decode()
                    if not line:
                        return
                    print(self.execute(line), flush=True)
                    continue
                for _ in range(64):
                    try:
                        frame, address = one.recvfrom(FRAME_MAX, socket.MSG_DONTWAIT)
                    except OSError:  # nothing more, or the interface is going
                        break
                    if address[2] != socket.PACKET_OUTGOING and len(frame) >= VNET_BYTES + ETHERNET_BYTES + 20:
                        self.carry(index_of[one], frame)
            self.deliver()


class Wire:
    """The other end of that: joins the namespaces by interfaces named eth1, address NET.(index + 1)."""

    def __init__(self, namespaces, prefix, net, seed):
        self.interfaces = ["%sw%d" % (prefix, index) for index in range(len(namespaces))]
        for index, (space, interface) in enumerate(zip(namespaces, self.interfaces)):
            run("ip", "link", "add", interface, "type", "veth", "peer", "name", "eth1", "netns", space)
            run("ip", "link", "set", interface, "up")
            inside = ["ip", "netns", "exec", space, "ip"]
            # One packet at a time, as on a real wire: a lost one is not sixty.
            run(*inside, "link", "set", "eth1", "address", mac(index), "gso_max_segs", "1")
            run(*inside, "addr", "add", "%s.%d/24" % (net, index + 1), "dev", "eth1")
            run(*inside, "link", "set", "eth1", "up")
            for other in range(len(namespaces)):
                if other != index:
                    run(*inside, "neigh", "add", "%s.%d" % (net, other + 1), "lladdr", mac(other), "dev", "eth1", "nud", "permanent")
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(seed)] + self.interfaces,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.count()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise OSError("the wire has ended: packet sockets are not allowed here")
        return {key: int(value) for key, value in (word.split("=") for word in answer.split())}

    def set(self, source="*", target="*", **values):
        return self.say("set %s %s %s" % (source, target, " ".join("%s=%g" % pair for pair in values.items())))

    def forget(self):
        return self.say("forget")

    def count(self):
        return self.say("count")

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        for interface in self.interfaces:
            subprocess.run(["ip", "link", "del", interface], check=False, stderr=subprocess.DEVNULL)


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    Switch(sys.argv[2:], int(sys.argv[1])).run()
