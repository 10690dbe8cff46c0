"""Real skerryd processes for tests and for the demo: start, kill -9, cut and heal links, and a small Redis client.

Links are cut in network namespaces that this file makes (as root; nobody notices but TCP), otherwise by CRDT.LINK at both
ends on loopback. With wire=True nodes talk to each other over tests/e2e/wire.py, clients as ever. Everything lives in one directory and ends with the process.
"""
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from wire import Wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKERRYD = os.environ.get("SKERRYD", os.path.join(ROOT, "build", "release", "skerryd"))


class ReplyError(Exception):
    pass


class Client:
    """One connection: call() one command, pipeline() many."""

    def __init__(self, host, port, timeout=30):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    @staticmethod
    def encode(arguments):
        parts = [b"*%d\r\n" % len(arguments)]
        for argument in arguments:
            if not isinstance(argument, bytes):
                argument = str(argument).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
        return b"".join(parts)

    def read(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("the node closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == b"-1":
                return None
            data = self.file.read(int(rest) + 2)
            if len(data) != int(rest) + 2:
                raise ConnectionError("the node closed the connection")
            return data[:-2].decode("utf-8", "surrogateescape")
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ValueError("unexpected reply %r" % line)

    def pipeline(self, commands):
        self.socket.sendall(b"".join(self.encode(command) for command in commands))
        return [self.read() for _ in commands]

    def call(self, *arguments):
        reply = self.pipeline([arguments])[0]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def close(self):
        self.file.close()
        self.socket.close()


chance, given_ports = random.SystemRandom(), set()


def gossip_of(port):
    return port + 1000 if port < 60000 else port - 1000  # and one more to publish


def free_port():
    """One whose gossip and publish ports are free, too: below those that outgoing connections get, and never one twice."""
    while True:
        port = 20000 + 2000 * chance.randrange(6) + 2 * chance.randrange(500)
        try:
            with socket.socket() as probe, socket.socket() as gossip, socket.socket() as publish:
                probe.bind(("127.0.0.1", port))
                gossip.bind(("127.0.0.1", gossip_of(port)))
                publish.bind(("127.0.0.1", gossip_of(port) + 1))
        except OSError:
            continue
        if port not in given_ports:
            given_ports.add(port)
            return port


def sh(*command, check=True):
    return subprocess.run(command, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


class Node:
    def __init__(self, cluster, name, host, port, gossip, namespace=None, gossip_host=None):
        self.cluster, self.name, self.host, self.port, self.gossip = cluster, name, host, port, gossip
        self.namespace, self.gossip_host = namespace, gossip_host or host
        self.environment = {}
        self.role, self.peers = "core", None
        self.extra = []
        self.directory = os.path.join(cluster.directory, name)
        self.log_path = os.path.join(cluster.directory, name + ".log")
        self.process = None

    def start(self, *extra, wait=True):
        command = [SKERRYD, "--name", self.name, "--region", self.name, "--cluster", self.cluster.name, "--dir", self.directory,
                   "--listen", "%s:%d" % (self.host, self.port), "--role", self.role]
        if self.role != "edge":
            command += ["--gossip", "%s:%d" % (self.gossip_host, self.gossip)]
        for other in self.peers if self.peers is not None else self.cluster.nodes:
            if other is not self:
                command += ["--peer", "%s:%d" % (other.gossip_host, other.gossip)]
        command += list(self.cluster.extra) + self.extra + list(extra)
        if self.namespace:
            command = ["ip", "netns", "exec", self.namespace] + command
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **self.environment})
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=60):
        end = time.time() + seconds
        while True:
            if self.process.poll() is not None:
                raise RuntimeError("%s ended with %s:\n%s" % (self.name, self.process.returncode, self.log()[-3000:]))
            try:
                client = self.client(timeout=5)
                client.call("PING")
                client.close()
                return
            except (OSError, ConnectionError):
                if time.time() > end:
                    raise RuntimeError("%s does not answer:\n%s" % (self.name, self.log()[-3000:]))
                time.sleep(0.05)

    def client(self, timeout=60):
        return Client(self.host, self.port, timeout)

    def call(self, *arguments):
        client = self.client()
        try:
            return client.call(*arguments)
        finally:
            client.close()

    def refusal(self, *arguments):
        """The error that the command is answered with; there must be one."""
        try:
            self.call(*arguments)
        except ReplyError as error:
            return str(error)
        raise AssertionError("%s was not refused" % (arguments,))

    def kill9(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()


class Cluster:
    """with Cluster(["eu", "us", "ap"]) as cluster: ..."""

    def __init__(self, names, ports=None, directory=None, namespaces=None, extra=(), name="demo", wire=False):
        self.name, self.extra = name, extra
        self.own_directory = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="skerry-")
        if namespaces is None:
            namespaces = os.geteuid() == 0 and ports is None and shutil.which("ip") is not None
        self.bridge = self.wire = None
        if namespaces:
            try:
                namespaces = self.make_namespaces(names)
                if namespaces and wire:
                    spaces = ["%s-%s" % (self.bridge, node) for node in names]
                    self.wire = Wire(spaces, self.bridge, self.wire_net, int.from_bytes(os.urandom(4), "little"))
            except (subprocess.CalledProcessError, OSError):
                # Root, but not allowed to: a container, as a rule.
                self.remove_namespaces(names)
                namespaces = False
        self.nodes = []
        for i, node in enumerate(names):
            if namespaces:
                self.nodes.append(Node(self, node, "%s.%d" % (self.net, i + 1), 6379, 7379, "%s-%s" % (self.bridge, node),
                                       "%s.%d" % (self.wire_net, i + 1) if self.wire else None))
            else:
                port = ports[i] if ports else free_port()
                self.nodes.append(Node(self, node, "127.0.0.1", port, gossip_of(port)))
        self.by_name = {node.name: node for node in self.nodes}

    def make_namespaces(self, names):
        self.net = "10.%d.%d" % (64 + os.getpid() // 250 % 60, os.getpid() % 250)
        self.wire_net = "10.%d.%d" % (128 + os.getpid() // 250 % 60, os.getpid() % 250)
        self.bridge = "sk%d" % (os.getpid() % 100000)
        if not sh("ip", "link", "add", self.bridge, "type", "bridge", check=False):
            self.bridge = None
            return False
        sh("ip", "addr", "add", self.net + ".254/24", "dev", self.bridge)
        sh("ip", "link", "set", self.bridge, "up")
        for i, name in enumerate(names):
            space, out = "%s-%s" % (self.bridge, name), "%s%d" % (self.bridge, i)
            sh("ip", "netns", "add", space)
            sh("ip", "link", "add", out, "type", "veth", "peer", "name", "eth0", "netns", space)
            sh("ip", "link", "set", out, "master", self.bridge, "up")
            for command in (["addr", "add", "%s.%d/24" % (self.net, i + 1), "dev", "eth0"],
                            ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
                sh("ip", "netns", "exec", space, "ip", *command)
        return True

    def remove_namespaces(self, names):
        if self.wire:
            self.wire.close()
            self.wire = None
        for name in names:
            sh("ip", "netns", "del", "%s-%s" % (self.bridge, name), check=False)
        sh("ip", "link", "del", self.bridge, check=False)
        self.bridge = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()
        self.wait_connected()
        return self

    def wait_connected(self, seconds=30):
        """Until every node follows every other one's stream."""
        end = time.time() + seconds
        while True:
            phases = [dict(zip(peer[::2], peer[1::2]))["phase"] for node in self.nodes for peer in node.call("CRDT.PEERS")]
            if phases.count("following") == len(self.nodes) * (len(self.nodes) - 1):
                return
            if time.time() > end:
                raise RuntimeError("the nodes do not meet: %s" % phases)
            time.sleep(0.05)

    def link(self, a, b, up):
        a, b = self.by_name[a], self.by_name[b]
        for here, there in ((a, b), (b, a)):
            if here.namespace:
                sh("ip", "netns", "exec", here.namespace, "ip", "route", "del" if up else "add", "blackhole", there.host + "/32")
            elif here.process and here.process.poll() is None:
                try:
                    here.call("CRDT.LINK", there.name, "heal" if up else "cut")
                except (ReplyError, OSError):
                    pass  # a node that has just begun has not met the other: no link to cut or heal yet

    def cut(self, a, b):
        self.link(a, b, up=False)

    def heal(self, a, b):
        self.link(a, b, up=True)

    def wait_agreement(self, seconds=60):
        """Until every node covers every other one's clock."""
        end = time.time() + seconds
        tokens = [node.call("CRDT.CLOCK") for node in self.nodes]
        for node in self.nodes:
            client = node.client(timeout=seconds + 10)
            for token in tokens:
                client.call("CRDT.BARRIER", token, max(1, int((end - time.time()) * 1000)))
            client.close()

    def close(self):
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.process.send_signal(signal.SIGTERM)
                node.process.send_signal(signal.SIGCONT)  # one that a test has stopped
        for node in self.nodes:
            if node.process:
                try:
                    node.process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    node.process.kill()
        if self.bridge:
            self.remove_namespaces([node.name for node in self.nodes])
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)
