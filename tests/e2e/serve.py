"""./run: three regions on loopback until Ctrl-C."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import ROOT, Cluster  # noqa: E402
from serve_ports import pick_ports  # noqa: E402


DOWN_SECONDS = 5


def restart(node):
    """Whoever was killed comes back, as a service manager would have it. One that cannot start ends the demo with its log."""
    print("%s ended with %s" % (node.name, node.process.returncode), flush=True)
    time.sleep(DOWN_SECONDS)
    node.start()
    print("%s is back, process %d" % (node.name, node.process.pid), flush=True)


def main():
    ports = pick_ports(3)
    if ports[0] != 6379:
        print("port 6379 is taken: the first node is on %d" % ports[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Cluster(["eu", "us", "ap"], ports=ports, directory=os.path.join(ROOT, "build", "demo"), namespaces=False) as cluster:
        os.makedirs(cluster.directory, exist_ok=True)
        cluster.start()
        print("three regions are up; write to any, read from any:")
        for node in cluster.nodes:
            print("  %-3s redis-cli -p %d    log: %s" % (node.name, node.port, os.path.relpath(node.log_path)))
        print("cut a link:   redis-cli -p %d CRDT.LINK us cut; redis-cli -p %d CRDT.LINK eu cut    (heal it with: heal)"
              % (ports[0], ports[1]))
        print("kill a node:  kill -9 %d    (this is %s; what has ended is started again after %d s)"
              % (cluster.nodes[1].process.pid, cluster.nodes[1].name, DOWN_SECONDS))
        print("Ctrl-C ends all three; their data stays in build/demo", flush=True)
        try:
            while True:
                time.sleep(0.5)
                for node in cluster.nodes:
                    if node.process.poll() is not None:
                        restart(node)
        except KeyboardInterrupt:
            print("\nstopping")
            return 0


sys.exit(main())
