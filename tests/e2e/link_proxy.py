#!/usr/bin/env python3
"""A TCP proxy that cuts, heals and slows links between processes under test.

Usage: link_proxy.py --control PORT --forward LISTEN:HOST:PORT [--forward ...]

Everything listens on 127.0.0.1; port 0 takes a free one. Prints one line a port, "control PORT" and
"forward PORT HOST:PORT", then "ready". HOST may be an IPv6 address in brackets.

Control: text lines over TCP, each answered with one line, "ok ..." or "error ...":
  cut PORT              no byte passes any more and no new connection gets through; nobody is told (a cable pulled)
  cut PORT reset        the same, and open connections are reset (a process killed)
  one-way PORT up|down  only that direction passes: up = towards HOST, down = back
  heal PORT             everything passes again, held bytes first; connections made during the cut begin now
  delay PORT MS         every byte arrives MS milliseconds later, in each direction
  status                one line: PORT=open|cut|up|down,delay=MS,connections=N,up=BYTES,down=BYTES ...
  quit                  ends the proxy
Bytes in a cut direction are held back, not lost, as TCP would retransmit them once the link is back.
"""
import argparse
import asyncio
import socket
import sys

CHUNK_BYTES = 64 * 1024
HELD_CHUNKS_MAX = 256  # of one direction of one connection; then its sender waits, as for a full window


class Forward:
    """One listening port and where it leads."""

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.listen_port = 0
        self.delay_s = 0.0
        self.open = {"up": asyncio.Event(), "down": asyncio.Event()}
        self.bytes = {"up": 0, "down": 0}
        self.writers = set()
        self.tasks = set()
        self.server = None
        self.heal()

    def heal(self):
        for gate in self.open.values():
            gate.set()

    def cut(self, directions=("up", "down")):
        for direction in directions:
            self.open[direction].clear()

    def reset(self):
        for writer in list(self.writers):
            abort(writer)
        for task in list(self.tasks):
            task.cancel()

    def state(self):
        passing = [name for name, gate in self.open.items() if gate.is_set()]
        return "open" if len(passing) == 2 else passing[0] if passing else "cut"

    async def listen(self, port):
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", port)
        self.listen_port = self.server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        self.writers.add(writer)
        try:
            # The way in needs both directions: a connection is a handshake.
            for gate in self.open.values():
                await gate.wait()
            there_reader, there_writer = await asyncio.open_connection(self.host, self.port)
            self.writers.add(there_writer)
            try:
                await self.relay(reader, writer, there_reader, there_writer)
            finally:
                self.drop(there_writer)
        except (OSError, asyncio.CancelledError):
            abort(writer)
        finally:
            self.drop(writer)
            self.tasks.discard(task)

    async def relay(self, reader, writer, there_reader, there_writer):
        ways = [
            asyncio.create_task(self.pump("up", reader, there_writer)),
            asyncio.create_task(self.pump("down", there_reader, writer)),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()

    def drop(self, writer):
        self.writers.discard(writer)
        try:
            writer.close()
        except OSError:
            pass

    async def pump(self, direction, reader, writer):
        """Reads and writes are two tasks, so that a delay adds to latency and not to throughput."""
        held = asyncio.Queue(HELD_CHUNKS_MAX)
        feeding = asyncio.create_task(self.feed(reader, held))
        loop = asyncio.get_running_loop()
        try:
            while True:
                arrived, chunk = await held.get()
                await asyncio.sleep(max(0.0, arrived + self.delay_s - loop.time()))
                await self.open[direction].wait()
                if not chunk:  # the end of the stream is held back by a cut like any byte
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                writer.write(chunk)
                await writer.drain()
                self.bytes[direction] += len(chunk)
        finally:
            feeding.cancel()

    @staticmethod
    async def feed(reader, held):
        loop = asyncio.get_running_loop()
        while True:
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except OSError:
                chunk = b""
            await held.put((loop.time(), chunk))
            if not chunk:
                return


def abort(writer):
    """Ends a connection with a reset, as a killed process does."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        except OSError:
            pass
    writer.transport.abort()


def execute(line, forwards):
    """One control line; returns the answer."""
    words = line.split()
    if words == ["status"]:
        return "ok " + " ".join(
            f"{f.listen_port}={f.state()},delay={f.delay_s * 1000:g},connections={len(f.tasks)},"
            f"up={f.bytes['up']},down={f.bytes['down']}"
            for f in forwards.values()
        )
    if len(words) < 2 or not words[1].isdigit() or int(words[1]) not in forwards:
        return "error expected a command and a forwarded port; commands: cut heal delay one-way status quit"
    forward = forwards[int(words[1])]
    command = [words[0], *words[2:]]
    if command == ["cut"]:
        forward.cut()
    elif command == ["cut", "reset"]:
        forward.cut()
        forward.reset()
    elif command == ["heal"]:
        forward.heal()
    elif command in (["one-way", "up"], ["one-way", "down"]):
        forward.heal()
        forward.cut(("down",) if command[1] == "up" else ("up",))
    elif len(command) == 2 and command[0] == "delay" and command[1].isdigit():
        forward.delay_s = int(command[1]) / 1000
    else:
        return "error unknown command or arguments: " + line
    return f"ok {forward.listen_port} {forward.state()}"


async def control(reader, writer, forwards, quitting):
    try:
        while line := (await reader.readline()).decode("ascii", "replace").strip():
            answer = "ok" if line == "quit" else execute(line, forwards)
            writer.write(answer.encode() + b"\n")
            await writer.drain()
            if line == "quit":
                quitting.set()
                return
    except (OSError, ValueError):
        pass
    finally:
        writer.close()


def parse_forward(text):
    listen, _, target = text.partition(":")
    host, _, port = target.rpartition(":")
    if not (listen.isdigit() and host and port.isdigit()):
        raise argparse.ArgumentTypeError("expected LISTEN:HOST:PORT")
    return int(listen), host.strip("[]"), int(port)


async def serve(arguments):
    forwards = {}
    for listen, host, port in arguments.forward:
        forward = Forward(host, port)
        await forward.listen(listen)
        forwards[forward.listen_port] = forward
    quitting = asyncio.Event()
    server = await asyncio.start_server(
        lambda reader, writer: control(reader, writer, forwards, quitting), "127.0.0.1", arguments.control
    )
    print("control", server.sockets[0].getsockname()[1])
    for forward in forwards.values():
        print("forward", forward.listen_port, f"{forward.host}:{forward.port}")
    print("ready", flush=True)
    await quitting.wait()
    for forward in forwards.values():
        forward.server.close()
        forward.reset()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--control", type=int, required=True, metavar="PORT")
    parser.add_argument("--forward", type=parse_forward, action="append", required=True, metavar="LISTEN:HOST:PORT")
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"link_proxy: {error}")


if __name__ == "__main__":
    main()
