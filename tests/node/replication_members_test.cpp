// tests/node/replication_members_test.cpp — how nodes come into the table of members, stay there, and are taken out.
#include "node/replication.hpp"
#include "tests/catch.hpp"
#include "tests/support/wire.hpp"

namespace skerry {
namespace {

using Catch::Contains;

constexpr ReplicaId kA{0x100000001}, kB{0x200000001}, kC{0x300000001}, kD{0x400000001};

std::string states(const Station& station, MonoTime now) {
    std::string out;
    for (const MemberStatus& member : station.replication->members(now))
        out += member.row.name + " " + std::string(name_of(member.row.state)) + "; ";
    return out;
}

// What the stable cut makes of a peer.
std::string cut(const Station& station, std::string_view name, MonoTime now) {
    for (const PeerStatus& peer : station.replication->peers(now))
        if (peer.name == name) return peer.cut;
    return "unknown";
}

// Three nodes; each has been told of the one before it alone.
struct Three {
    Wire wire;
    Station& a = wire.station("a");
    Station& b = wire.station("b");
    Station& c = wire.station("c");
    Three() {
        a.start(kA, 11, "alpha", "", wire.now);
        wire.run(MonoTime(1000));
        b.start(kB, 22, "beta", "a", wire.now);
        wire.run(MonoTime(3000));
        c.start(kC, 33, "gamma", "b", wire.now);
        wire.run(MonoTime(5000));
    }
};

}  // namespace

TEST_CASE("replication members: each joins with one address, and all agree on the table",
          "[node][members]") {
    Three three;
    for (const Station* station : {&three.a, &three.b, &three.c}) {
        CHECK(states(*station, three.wire.now) == "alpha active; beta active; gamma active; ");
        CHECK(station->replication->joined());
        CHECK(station->replication->peers(three.wire.now).size() == 2);
    }
    const auto shown = three.a.replication->members(three.wire.now);
    CHECK(shown[0].is_self);
    CHECK(shown[0].writers.size() == 1);
    CHECK(shown[2].row.gossip_address == "c");
    CHECK(shown[2].heard_ms >= 0);
}

TEST_CASE("replication members: a node joins only once it has what its peers had",
          "[node][members]") {
    Wire wire;
    Station& a = wire.station("a");
    Station& b = wire.station("b");
    a.start(kA, 11, "alpha", "", wire.now);
    a.database->set(0, "key", "value");
    wire.run(MonoTime(1000));
    b.start(kB, 22, "beta", "a", wire.now);
    b.replication->pause(true, wire.now);  // its disk is full: nothing comes in
    wire.run(MonoTime(5000));
    CHECK(states(a, wire.now) == "alpha active; beta joining; ");
    CHECK(states(b, wire.now) == "alpha joining; beta joining; ");
    b.replication->pause(false, wire.now);
    wire.run(MonoTime(5000));
    CHECK(states(a, wire.now) == "alpha active; beta active; ");
    CHECK(b.database->get(0, "key") == "value");
}

TEST_CASE("replication members: a node without seeds finds the others from its own directory",
          "[node][members]") {
    Three three;
    three.c.stop();
    three.wire.run(MonoTime(1000));
    three.a.database->set(0, "key", "value");
    three.c.start(ReplicaId{kC.value + 1}, 44, "gamma", "", three.wire.now);
    const ShardClocks before = three.a.store->clocks();
    three.wire.run(MonoTime(8000));
    CHECK(three.c.database->get(0, "key") == "value");
    CHECK(states(three.c, three.wire.now) == "alpha active; beta active; gamma active; ");
    CHECK(three.c.replication->members(three.wire.now)[2].writers.size() == 1);  // none written yet
    const ShardId table = three.a.store->configuration_shard();
    const auto clock_of = [&](const ShardClocks& clocks) {
        return std::map<ShardId, VersionVector>(clocks.begin(), clocks.end())[table];
    };
    // What has not changed is not written again.
    CHECK(clock_of(three.a.store->clocks()) == clock_of(before));
}

TEST_CASE("replication members: who is silent too long is evicted, and returns by itself",
          "[node][members]") {
    Three three;
    three.a.stop();
    three.b.stop();
    three.a.member_silent_max = three.b.member_silent_max = MonoTime(20'000);
    three.a.start(ReplicaId{kA.value + 1}, 44, "alpha", "", three.wire.now);
    three.b.start(ReplicaId{kB.value + 1}, 55, "beta", "", three.wire.now);
    three.wire.run(MonoTime(6000));
    three.c.stop();
    three.wire.run(MonoTime(15'000));
    CHECK(states(three.a, three.wire.now) == "alpha active; beta active; gamma active; ");
    three.wire.run(MonoTime(12'000));
    CHECK(states(three.a, three.wire.now) == "alpha active; beta active; gamma evicted; ");
    CHECK(states(three.b, three.wire.now) == "alpha active; beta active; gamma evicted; ");
    CHECK(cut(three.a, "gamma", three.wire.now) == "out");
    CHECK_THAT(three.a.noted("member_evicted"), Contains("name=gamma"));
    CHECK(three.b.noted("member_evicted").empty());  // the first one's word has reached it
    three.c.start(ReplicaId{kC.value + 1}, 66, "gamma", "", three.wire.now);
    three.wire.run(MonoTime(6000));
    for (const Station* station : {&three.a, &three.b, &three.c})
        CHECK(states(*station, three.wire.now) == "alpha active; beta active; gamma active; ");
    CHECK(cut(three.a, "gamma", three.wire.now) == "level");
}

TEST_CASE("replication members: silence is counted on by those who are started anew meanwhile",
          "[node][members][purge]") {
    Three three;
    const auto start_again = [&](std::uint32_t boot) {
        for (Station* station : {&three.a, &three.b}) station->stop();
        three.a.member_silent_max = three.b.member_silent_max = MonoTime(40'000);
        three.a.start(ReplicaId{kA.value + boot}, 44 + boot, "alpha", "", three.wire.now);
        three.b.start(ReplicaId{kB.value + boot}, 55 + boot, "beta", "", three.wire.now);
    };
    start_again(1);
    three.wire.run(MonoTime(3000));
    three.c.stop();
    for (const std::uint32_t boot : {2, 3, 4}) {
        three.wire.run(MonoTime(12'000));
        CHECK(states(three.a, three.wire.now) == "alpha active; beta active; gamma active; ");
        start_again(boot);
    }
    three.wire.run(MonoTime(12'000));
    CHECK(states(three.a, three.wire.now) == "alpha active; beta active; gamma evicted; ");
    REQUIRE(three.a.store->stable_cut());
    CHECK_FALSE(three.a.store->stable_cut()->everybody);
    three.c.start(ReplicaId{kC.value + 1}, 66, "gamma", "", three.wire.now);
    three.wire.run(MonoTime(6000));
    for (const Station* station : {&three.a, &three.b, &three.c}) {
        CHECK(states(*station, three.wire.now) == "alpha active; beta active; gamma active; ");
        for (const MemberStatus& member : station->replication->members(three.wire.now))
            CHECK(member.row.silent_since == WallTime{});
    }
}

TEST_CASE("replication members: who is silent for a while and returns takes back that it was",
          "[node][members]") {
    Three three;
    three.a.stop();
    three.a.member_silent_max = MonoTime(40'000);
    three.a.start(ReplicaId{kA.value + 1}, 44, "alpha", "", three.wire.now);
    three.wire.run(MonoTime(3000));
    three.c.stop();
    three.wire.run(MonoTime(8000));
    const auto silent = [&](const Station& at) {
        return at.replication->members(three.wire.now)[2].row.silent_since;
    };
    CHECK(silent(three.a) != WallTime{});
    CHECK(silent(three.b) == silent(three.a));
    three.c.start(ReplicaId{kC.value + 1}, 66, "gamma", "", three.wire.now);
    three.wire.run(MonoTime(6000));
    CHECK(silent(three.a) == WallTime{});
    CHECK(three.c.noted("member_changed").empty());
    const ShardClocks before = three.a.store->clocks();
    three.wire.run(MonoTime(30'000));
    CHECK(three.a.store->clocks() == before);
}

TEST_CASE(
    "replication members: the stable cut waits for a member that this process has not met, until "
    "it is forgotten",
    "[node][members][purge]") {
    Three three;
    three.c.stop();
    three.a.stop();
    three.b.stop();
    three.a.start(ReplicaId{kA.value + 1}, 44, "alpha", "", three.wire.now);
    three.b.start(ReplicaId{kB.value + 1}, 55, "beta", "", three.wire.now);
    three.wire.run(MonoTime(10'000));
    CHECK(cut(three.a, "beta", three.wire.now) == "level");
    CHECK_FALSE(three.a.store->stable_cut());
    CHECK(three.a.replication->forget("gamma", three.wire.now));
    three.wire.run(MonoTime(3000));
    for (const Station* station : {&three.a, &three.b}) {
        REQUIRE(station->store->stable_cut());
        CHECK(station->store->stable_cut()->everybody);  // who is gone brings nothing
    }
}

TEST_CASE("replication members: a member that is silent too long leaves the cut, and is back in it",
          "[node][members][purge]") {
    Three three;
    three.c.stop();
    three.wire.run(MonoTime(6000));
    three.a.replication->set_member_silent_max(MonoTime(8000));
    three.wire.run(MonoTime(4000));
    REQUIRE(three.a.store->stable_cut());
    CHECK_FALSE(three.a.store->stable_cut()->everybody);
    CHECK(cut(three.a, "gamma", three.wire.now) == "out");
    three.c.start(ReplicaId{kC.value + 1}, 66, "gamma", "", three.wire.now);
    three.wire.run(MonoTime(6000));
    REQUIRE(three.a.store->stable_cut());
    CHECK(three.a.store->stable_cut()->everybody);
    CHECK(cut(three.a, "gamma", three.wire.now) == "level");
}

TEST_CASE(
    "replication members: a directory that was lost is not waited for once another has its name",
    "[node][members][purge]") {
    Three three;
    three.c.stop();
    three.c.log = MemoryLog{};
    three.c.kv = MemoryKv{};
    three.c.start(kD, 44, "gamma", "b", three.wire.now);
    three.wire.run(MonoTime(10'000));
    for (const Station* station : {&three.a, &three.b, &three.c}) {
        REQUIRE(station->store->stable_cut());
        CHECK(station->store->stable_cut()->everybody);
    }
}

TEST_CASE("replication members: only who is not connected can be forgotten", "[node][members]") {
    Three three;
    const auto why = [&](std::string_view name) {
        const auto done = three.a.replication->forget(name, three.wire.now);
        return done ? std::string() : done.error().where;
    };
    CHECK_THAT(why("gamma"), Contains("'gamma' is connected (heard "));
    CHECK_THAT(why("delta"), Contains("no member is named 'delta'"));
    CHECK_THAT(why("alpha"), Contains("is this node: CRDT.LEAVE"));
    three.c.stop();
    three.wire.run(MonoTime(6000));
    CHECK(why("gamma").empty());
    CHECK_THAT(why("gamma"), Contains("'gamma' is forgotten already"));
    three.wire.run(MonoTime(3000));
    for (const Station* station : {&three.a, &three.b}) {
        CHECK(states(*station, three.wire.now) == "alpha active; beta active; gamma forgotten; ");
        CHECK(station->replication->peers(three.wire.now).size() == 1);
    }

    // It comes back: it is told why it is not let in, and writes nothing any more.
    three.c.start(ReplicaId{kC.value + 1}, 44, "gamma", "b", three.wire.now);
    three.c.database->set(0, "lost", "x");
    three.wire.run(MonoTime(4000));
    REQUIRE(three.c.replication->gone());
    CHECK_THAT(*three.c.replication->gone(), Contains("has been forgotten by the cluster: wipe"));
    CHECK_THAT(three.c.noted("no_member"), Contains("writes=refused"));
    CHECK_THAT(three.b.noted("peer_refused"), Contains("(00000003) has been forgotten"));
    CHECK_FALSE(three.a.database->exists(0, "lost"));

    // Emptied, under the same name, it is a new member.
    three.c.stop();
    three.c.log = MemoryLog();
    three.c.kv = MemoryKv();
    three.c.start(kD, 55, "gamma", "b", three.wire.now);
    three.wire.run(MonoTime(6000));
    for (const Station* station : {&three.a, &three.b, &three.c})
        CHECK(states(*station, three.wire.now) ==
              "alpha active; beta active; gamma forgotten; gamma active; ");
    CHECK_THAT(why("gamma"), Contains("is connected"));
}

TEST_CASE("replication members: who calls from the address of one that is gone has time to answer",
          "[node][members]") {
    Three three;
    three.c.stop();
    three.wire.run(MonoTime(6000));
    REQUIRE(three.a.replication->forget("gamma", three.wire.now));
    three.wire.run(MonoTime(3000));
    REQUIRE(three.b.replication->peers(three.wire.now).size() == 1);
    Introduction who;
    who.cluster = "test";
    who.shard_count = three.b.store->slot_shard_count();
    who.hash_seed = three.b.store->options().hash_seed;
    who.name = "gamma";
    who.writer = kD;
    who.nonce = 55;
    who.gossip_address = who.publish_address = "c";
    three.b.replication->receive({IncomingKind::request, {}, {"c 1"}, encode(Hello{who})},
                                 three.wire.now);
    three.wire.run(MonoTime(4000));
    CHECK(three.b.replication->peers(three.wire.now).size() == 2);
    three.wire.run(MonoTime(4000));
    CHECK(three.b.replication->peers(three.wire.now).size() == 1);
}

TEST_CASE("replication members: who is forgotten by one while it talks to another stops, too",
          "[node][members]") {
    Three three;
    REQUIRE(three.a.replication->set_cut("gamma", true));
    REQUIRE(three.c.replication->set_cut("alpha", true));
    three.wire.run(MonoTime(6000));
    REQUIRE(three.a.replication->forget("gamma", three.wire.now));
    three.c.database->set(0, "written", "meanwhile");
    three.wire.run(MonoTime(10'000));
    CHECK(three.c.replication->gone());
    CHECK(three.a.database->get(0, "written") == "meanwhile");
    CHECK(three.a.store->clocks() == three.b.store->clocks());
}

TEST_CASE("replication members: an emptied node takes the place of what it was",
          "[node][members]") {
    Three three;
    three.c.stop();
    three.c.log = MemoryLog();
    three.c.kv = MemoryKv();
    three.wire.run(MonoTime(6000));
    three.c.start(kD, 44, "gamma", "b", three.wire.now);
    three.wire.run(MonoTime(6000));
    for (const Station* station : {&three.a, &three.b, &three.c})
        CHECK(states(*station, three.wire.now) ==
              "alpha active; beta active; gamma replaced; gamma active; ");
    CHECK_THAT(three.c.noted("member_replaced"), Contains("member=00000003 by=00000004"));
    // What it was can come back when the newcomer is gone.
    REQUIRE(three.a.replication->forget("00000003", three.wire.now));
}

TEST_CASE("replication members: who leaves is handed over, heard of, and gone", "[node][members]") {
    Three three;
    three.c.database->set(0, "last", "words");
    const ShardClocks clocks = three.c.store->clocks();
    CHECK(three.c.replication->hears_members(three.wire.now));
    CHECK(three.c.replication->lacking(clocks, three.wire.now).size() == 2);
    three.wire.run(MonoTime(2000));
    CHECK(three.c.replication->lacking(clocks, three.wire.now).empty());
    three.c.replication->leave();
    three.wire.run(MonoTime(3000));
    CHECK_THAT(*three.c.replication->gone(), Contains("has left the cluster"));
    CHECK(states(three.a, three.wire.now) == "alpha active; beta active; gamma left; ");
    CHECK(three.a.database->get(0, "last") == "words");
    CHECK(three.a.replication->peers(three.wire.now).size() == 1);
    three.c.stop();
    three.c.start(ReplicaId{kC.value + 1}, 44, "gamma", "", three.wire.now);
    three.wire.run(MonoTime(1000));
    CHECK_THAT(*three.c.replication->gone(),
               Contains("has left the cluster"));  // from its own disk
}

TEST_CASE("replication members: a peer that moves is found at its new address, the old one is left",
          "[node][members]") {
    Three three;
    Station& moved = three.wire.station("elsewhere");
    three.c.stop();
    moved.log = three.c.log;
    moved.kv = three.c.kv;
    moved.start(ReplicaId{kC.value + 1}, 44, "gamma", "", three.wire.now);
    three.wire.run(MonoTime(8000));
    const auto peers = three.a.replication->peers(three.wire.now);
    REQUIRE(peers.size() == 2);
    CHECK(std::ranges::find(peers, "elsewhere", &PeerStatus::address) != peers.end());
    CHECK(three.b.replication->members(three.wire.now)[2].row.gossip_address == "elsewhere");
}

}  // namespace skerry
