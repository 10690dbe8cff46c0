"""Free ports for a demo, near the usual one."""
import socket


def taken(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def pick_ports(count, first=6379):
    ports, port = [], first
    while len(ports) < count:
        # A node needs the port, and two more for its peers.
        if not any(taken(p) for p in (port, port + 1000, port + 1001)):
            ports.append(port)
        port += 2
    return ports
