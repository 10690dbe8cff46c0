#!/usr/bin/env python3
"""link_proxy.py does to a link what it says: the tests that cut links rest on it."""
import pathlib
import socket
import subprocess
import sys
import threading
import time
import unittest

PROXY = pathlib.Path(__file__).with_name("link_proxy.py")


def echo_server():
    server = socket.create_server(("127.0.0.1", 0))

    def answer(connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return server


class LinkProxy(unittest.TestCase):
    def setUp(self):
        self.server = echo_server()
        self.process = subprocess.Popen(
            [sys.executable, PROXY, "--control", "0", "--forward", f"0:127.0.0.1:{self.server.getsockname()[1]}"],
            stdout=subprocess.PIPE, text=True)
        control = int(self.process.stdout.readline().split()[1])
        self.port = int(self.process.stdout.readline().split()[1])
        self.assertEqual(self.process.stdout.readline(), "ready\n")
        self.control = socket.create_connection(("127.0.0.1", control), timeout=5)
        self.answers = self.control.makefile()

    def tearDown(self):
        self.say("quit")
        self.assertEqual(self.process.wait(timeout=5), 0)
        self.process.stdout.close()
        self.answers.close()
        self.control.close()
        self.server.close()

    def say(self, line):
        self.control.sendall(line.encode() + b"\n")
        return self.answers.readline().strip()

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        self.addCleanup(connection.close)
        return connection

    def silent(self, connection):
        connection.settimeout(0.3)
        try:
            with self.assertRaises(TimeoutError):
                connection.recv(100)
        finally:
            connection.settimeout(5)

    def echoed(self, connection, data):
        connection.sendall(data)
        back = b""
        while len(back) < len(data):
            back += connection.recv(65536)
        self.assertEqual(back, data)

    def test_bytes_pass(self):
        connection = self.connect()
        self.echoed(connection, b"x" * 3_000_000)
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(connection.recv(1), b"")
        self.assertIn("open", self.say("status"))

    def test_a_cut_is_silent_and_healing_delivers(self):
        old = self.connect()
        self.echoed(old, b"before")
        self.assertEqual(self.say(f"cut {self.port}"), f"ok {self.port} cut")
        old.sendall(b"during")
        new = self.connect()
        new.sendall(b"new")
        self.silent(old)
        self.silent(new)
        self.say(f"heal {self.port}")
        self.assertEqual(old.recv(100), b"during")
        self.assertEqual(new.recv(100), b"new")

    def test_a_reset_ends_connections(self):
        connection = self.connect()
        self.echoed(connection, b"before")
        self.say(f"cut {self.port} reset")
        with self.assertRaises(ConnectionResetError):
            connection.recv(100)
        self.say(f"heal {self.port}")
        self.echoed(self.connect(), b"after")

    def test_one_way(self):
        connection = self.connect()
        self.echoed(connection, b"before")
        for direction in ("up", "down"):
            self.assertEqual(self.say(f"one-way {self.port} {direction}"), f"ok {self.port} {direction}")
            connection.sendall(b"x")
            self.silent(connection)
            status = self.say("status")
            self.say(f"heal {self.port}")
            self.assertEqual(connection.recv(100), b"x")
            self.assertIn("up=7" if direction == "up" else "up=7,down=7", status)

    def test_delay_adds_latency_and_not_to_each_byte(self):
        connection = self.connect()
        self.echoed(connection, b"before")
        self.say(f"delay {self.port} 150")
        begin = time.monotonic()
        self.echoed(connection, b"x" * 1_000_000)
        self.assertGreaterEqual(time.monotonic() - begin, 0.3)
        self.assertLess(time.monotonic() - begin, 2.0)

    def test_wrong_commands_are_answered(self):
        for line in ("cut", "cut 1", "delay x y", f"cut {self.port} now", f"delay {self.port} -1", "nonsense"):
            self.assertTrue(self.say(line).startswith("error "), line)


if __name__ == "__main__":
    unittest.main()
