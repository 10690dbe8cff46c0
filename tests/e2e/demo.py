"""./run --demo: what a partition does, in a minute."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster  # noqa: E402
from serve_ports import pick_ports  # noqa: E402

PAUSE = float(os.environ.get("SKERRY_DEMO_PAUSE", "3"))
BOLD, DIM, OFF = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def say(text):
    print("\n%s%s%s" % (BOLD, text, OFF), flush=True)
    time.sleep(PAUSE)


def run(node, *command):
    reply = node.call(*command)
    print("  %s%s>%s %-42s %s" % (DIM, node.name, OFF, " ".join(str(part) for part in command), reply), flush=True)
    time.sleep(PAUSE / 6)
    return reply


def show(cluster):
    print("  %-4s %-12s %-40s %s" % ("", "visits", "cart", "greeting"))
    for node in cluster.nodes:
        print("  %-4s %-12s %-40s %s" % (node.name, node.call("GET", "visits"), ", ".join(sorted(node.call("SMEMBERS", "cart"))),
                                         node.call("GET", "greeting")), flush=True)
    time.sleep(PAUSE)


def main():
    with Cluster(["eu", "us", "ap"], ports=pick_ports(3, 16379), namespaces=False) as cluster:
        cluster.start()
        eu, us, ap = cluster.nodes
        say("Three regions. A write to any of them is local, and reaches the others a moment later.")
        run(eu, "SET", "greeting", "hello")
        run(us, "INCRBY", "visits", 10)
        run(ap, "SADD", "cart", "figs", "tea")
        cluster.wait_agreement()
        show(cluster)
        say("The link of eu to both others is cut. All three go on taking writes.")
        cluster.cut("eu", "us")
        cluster.cut("eu", "ap")
        run(eu, "INCRBY", "visits", 5)
        run(us, "INCRBY", "visits", 7)
        run(eu, "SREM", "cart", "tea")
        run(us, "SADD", "cart", "tea")
        run(ap, "SADD", "cart", "salt")
        run(eu, "SET", "greeting", "bonjour")
        run(us, "SET", "greeting", "howdy")
        say("Now they differ:")
        show(cluster)
        say("The node us is killed with -9, and comes back from its own disk.")
        us.kill9()
        us.start()
        show(cluster)
        say("The link heals. Nobody asks anybody for permission; what was missed is found and fetched.")
        cluster.heal("eu", "us")
        cluster.heal("eu", "ap")
        cluster.wait_agreement()
        show(cluster)
        say("All three agree. Every increment counts (10 + 5 + 7 = 22); the add of tea that eu's removal had not seen wins;\n"
            "of the two greetings the later stands, and the other is still there to look at:")
        run(ap, "CRDT.CONFLICTS", "greeting")
        answers = [(n.call("GET", "visits"), sorted(n.call("SMEMBERS", "cart")), n.call("GET", "greeting")) for n in cluster.nodes]
        if answers[0] != answers[1] or answers[1] != answers[2] or answers[0][0] != "22":
            print("demo: the nodes do not agree: %s" % answers, file=sys.stderr)
            return 1
    return 0


sys.exit(main())
