#!/usr/bin/env python3
"""Clients that others wrote work against a real node, unchanged: npm redis, redis-cli, python3-redis, hiredis.

Also what no client should be able to do: disturb another one, guess a password, exceed a limit. SKERRYD names the
binary; npm's package goes to build/npm once. Usage: clients_test.py [NAME...] runs the checks whose names contain one.
"""
import importlib.util
import os
import random
import re
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import ROOT, Client, Cluster, ReplyError  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
NPM = os.path.join(ROOT, "build", "npm")
MIB = 1024 * 1024


def output(*command, env=None, text=None, cwd=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, cwd=cwd,
                          env={**os.environ, **(env or {})})
    if done.returncode != 0:
        raise AssertionError("%s ended with %d:\n%s%s" % (command[0], done.returncode, done.stdout, done.stderr))
    return done.stdout.strip()


def equal(got, wanted, what):
    assert got == wanted, "%s: got %.200r, wanted %.200r" % (what, got, wanted)


def refused(client, *command):
    try:
        reply = client.call(*command)
    except ReplyError as error:
        return str(error)
    raise AssertionError("%.60r was not refused: %.60r" % (command[:2], reply))


# ---- npm redis

def node_modules():
    major = int(re.match(r"v(\d+)", output("node", "--version")).group(1))
    wanted = "redis@6" if major >= 20 else "redis@5" if major >= 18 else "redis@4"
    stamp = os.path.join(NPM, wanted)
    if not os.path.exists(stamp):
        os.makedirs(NPM, exist_ok=True)
        output("npm", "install", "--prefix", NPM, "--no-fund", "--no-audit", "--silent", wanted, cwd=NPM)
        open(stamp, "w").close()
    return {"NODE_PATH": os.path.join(NPM, "node_modules")}


def check_npm_cluster(node):
    got = output("node", os.path.join(HERE, "clients", "cluster.js"), env={**node_modules(), "PORT": str(node.port)})
    equal(got, "value", "createCluster, set, get")


def check_npm_client(node):
    got = output("node", os.path.join(HERE, "clients", "client.js"), env={**node_modules(), "PORT": str(node.port)})
    equal(got, "ok", "client.js")


# ---- redis-cli

def check_redis_cli(node):
    for options in ([], ["-3"], ["-c"], ["-c", "-3"]):
        def cli(*words, text=None):
            return output("redis-cli", "-h", node.host, "-p", str(node.port), *options, *words, text=text)
        equal(cli("SET", "cli:text", "a b"), "OK", "SET %s" % options)
        equal(cli("GET", "cli:text"), "a b", "GET %s" % options)
        cli("DEL", "cli:set", "cli:hash")
        equal(cli("SADD", "cli:set", "x", "y"), "2", "SADD %s" % options)
        equal(cli("HSET", "cli:hash", "f", "v"), "1", "HSET %s" % options)
        equal(cli("HGETALL", "cli:hash").split(), ["f", "v"], "HGETALL %s" % options)
        equal(sorted(cli("--scan", "--pattern", "cli:*").split()), ["cli:hash", "cli:set", "cli:text"], "--scan %s" % options)
        equal(cli(text="SET cli:text x\nAPPEND cli:text y\nGET cli:text\n").split(), ["OK", "2", "xy"], "stdin %s" % options)
        assert "# Server" in cli("INFO"), "INFO %s" % options
        assert "redis_version:" in cli("INFO", "server"), "INFO server %s" % options
    many = "".join("SET cli:pipe:%d v\r\n" % i for i in range(2000))
    got = output("redis-cli", "-h", node.host, "-p", str(node.port), "--pipe", text=many)
    assert "errors: 0, replies: 2000" in got, got


def check_redis_cli_cluster(node):
    """The cluster manager of redis-cli, which is stricter about CLUSTER NODES than any client."""
    got = output("redis-cli", "--cluster", "check", "%s:%d" % (node.host, node.port))
    assert "All 16384 slots covered" in got, got


# ---- python3-redis

def check_python(node):
    import redis
    client = redis.Redis(node.host, node.port, decode_responses=True)
    client.delete("py:set", "py:hash", "py:count")
    assert client.ping() and client.set("py:text", "v", ex=100)
    equal(client.get("py:text"), "v", "get")
    assert 90 < client.ttl("py:text") <= 100
    equal(client.hset("py:hash", mapping={"a": 1, "b": 2}), 2, "hset")
    equal(client.hgetall("py:hash"), {"a": "1", "b": "2"}, "hgetall")
    equal(client.sadd("py:set", "x", "y"), 2, "sadd")
    equal(client.smembers("py:set"), {"x", "y"}, "smembers")
    equal(client.incrby("py:count", 42), 42, "incrby")
    pipeline = client.pipeline(transaction=False)
    for _ in range(1000):
        pipeline.incr("py:count")
    equal(pipeline.execute()[-1], 1042, "a pipeline of 1000")
    equal(set(client.scan_iter("py:*")), {"py:text", "py:hash", "py:set", "py:count"}, "scan_iter")
    assert client.info()["redis_mode"] == "cluster"
    assert client.config_get("databases")["databases"].isdigit()
    try:
        client.incr("py:text")
        raise AssertionError("INCR of a text was not refused")
    except redis.ResponseError:
        pass


def check_python_cluster(node):
    import redis
    from redis.cluster import RedisCluster
    client = RedisCluster(node.host, node.port, decode_responses=True)
    for i in range(50):
        assert client.set("pyc:%d" % i, i)
    equal([client.get("pyc:%d" % i) for i in range(50)], [str(i) for i in range(50)], "50 keys in many slots")
    equal(client.mget_nonatomic("pyc:1", "pyc:2", "pyc:none"), ["1", "2", None], "mget_nonatomic")
    equal(client.delete(*("pyc:%d" % i for i in range(50))), 50, "delete over slots")
    assert isinstance(client.get_primaries()[0], redis.cluster.ClusterNode)


# ---- hiredis

def check_hiredis(node):
    binary = os.path.join(node.cluster.directory, "hiredis_client")
    output("cc", "-Wall", "-Wextra", "-Werror", "-O1", "-o", binary, os.path.join(HERE, "hiredis_client.c"), "-lhiredis")
    equal(output(binary, node.host, str(node.port)), "ok", "hiredis_client")


# ---- what clients must not be able to do

HOSTILE = [b"*-1\r\n", b"*1000000000\r\n", b"*1\r\n$-5\r\n", b"*1\r\n$99999999999999999999\r\n", b"*2\r\n$3\r\nGET\r\n:1\r\n",
           b"$5\r\nhello\r\n", b"*1\r\n$4\r\nPINGxx", b"\x00" * 5000, b"\xff" * 70000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
           b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nshort", b"'\"\r\n", b"\r\n" * 1000]


def check_hostile_bytes(node):
    """Another client's answers are right all the while, and the node is the same process afterwards."""
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    witness = node.client()
    before = witness.call("INCR", "hostile:witness")
    for i in range(400):
        piece = HOSTILE[i] if i < len(HOSTILE) else chance.randbytes(chance.randrange(1, 4000))
        if i >= len(HOSTILE) and i % 2:
            piece = b"*%d\r\n$%d\r\n" % (chance.randrange(-3, 9), chance.randrange(-3, 99)) + piece
        with socket.create_connection((node.host, node.port), timeout=10) as hostile:
            try:
                hostile.sendall(piece)
                if i % 3:
                    hostile.shutdown(socket.SHUT_WR)
                    while hostile.recv(65536):
                        pass
            except OSError:
                pass  # it may hang up first
        equal(witness.call("INCR", "hostile:witness"), before + i + 1, "INCR beside piece %d of seed %d" % (i, seed))
    assert node.process.poll() is None
    witness.close()


def check_limits(node):
    client = node.client(timeout=120)
    error = refused(client, "SET", b"k" * (64 * 1024 + 1), "v")
    assert "65536" in error, error
    equal(client.call("SET", b"k" * (64 * 1024), "v"), "OK", "a key of 64 KiB")
    value = b"v" * (64 * MIB)
    equal(client.call("SET", "limit:value", value), "OK", "a value of 64 MiB")
    equal(client.call("STRLEN", "limit:value"), 64 * MIB, "its length")
    assert client.call("GET", "limit:value") == value.decode(), "the 64 MiB came back otherwise"
    error = refused(client, "SET", "limit:value", value + b"v")
    assert "maximum" in error or "exceeds" in error, error
    refused(client, "APPEND", "limit:value", "v")
    equal(client.call("STRLEN", "limit:value"), 64 * MIB, "the length after what was refused")
    equal(client.call("DEL", "limit:value"), 1, "DEL")
    client.close()


def check_password(_):
    with Cluster(["locked"], namespaces=False, extra=["--password", "open sesame"]) as cluster:
        node = cluster.nodes[0]
        node.start(wait=False)
        while True:
            try:
                client = node.client()
                break
            except OSError:
                assert node.process.poll() is None, node.log()
        assert refused(client, "GET", "key").startswith("NOAUTH")
        assert refused(client, "AUTH", "open").startswith("WRONGPASS")
        assert refused(client, "AUTH", "").startswith("WRONGPASS")
        assert refused(client, "AUTH", "open sesame!").startswith("WRONGPASS")
        assert refused(client, "HELLO", "3", "AUTH", "default", "wrong").startswith("WRONGPASS")
        assert refused(client, "GET", "key").startswith("NOAUTH")
        equal(client.call("AUTH", "open sesame"), "OK", "the right password")
        equal(client.call("SET", "key", "value"), "OK", "SET after it")
        other = Client(node.host, node.port)
        assert refused(other, "GET", "key").startswith("NOAUTH"), "one client's AUTH opened another's connection"
        assert "open sesame" not in node.log(), "the password is in the log"
        equal(output("redis-cli", "-h", node.host, "-p", str(node.port), "--no-auth-warning", "-a", "open sesame", "GET", "key"),
              "value", "redis-cli -a")


def main():
    system = "/usr/bin/python3"  # which python3-redis belongs to, whatever python3 is first in PATH
    if importlib.util.find_spec("redis") is None and os.path.exists(system) and not os.path.samefile(sys.executable, system):
        os.execv(system, [system] + sys.argv)
    checks = [(name[len("check_"):], check) for name, check in sorted(globals().items()) if name.startswith("check_")]
    chosen = [entry for entry in checks if not sys.argv[1:] or any(part in entry[0] for part in sys.argv[1:])]
    failed = 0 if chosen else 1
    with Cluster(["one"], namespaces=False) as cluster:
        node = cluster.start().nodes[0]
        for name, check in chosen:
            print("%-20s" % name, end=" ", flush=True)
            try:
                check(node)
                print("ok", flush=True)
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                print("FAILED: %s: %s" % (type(error).__name__, error), flush=True)
                if node.process.poll() is not None:
                    print("the node ended with %s:\n%s" % (node.process.returncode, node.log()[-3000:]))
                    break
    print("clients: %d of %d checks failed" % (failed, len(chosen)) if failed else "clients: all %d checks passed" % len(chosen))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
