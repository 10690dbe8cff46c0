// tests/node/replication_full_test.cpp — a member that was away for too long reconciles in full, and is interrupted.
#include "node/replication.hpp"
#include "tests/catch.hpp"
#include "tests/support/wire.hpp"

namespace skerry {
namespace {

constexpr ReplicaId kA{0x100000001}, kB{0x200000001}, kC{0x300000001};
constexpr int kKeys = 6000;

std::string key_of(int i) { return "key" + std::to_string(i); }

void purge(Station& station, MonoTime now) {
    while (station.store->step_purge(1000)) {
    }
    station.store->freeze();
    ASSERT(station.store->save_some(~std::size_t{0} / 2));
    ASSERT(station.store->image()->write(station.kv, KvRoom::ordinary).has_value());
    station.store->checkpointed();
    station.commit(now);
}

// b is away, and a counts it out; a third of the keys is removed meanwhile and purged, a third changes.
struct Away {
    Wire wire;
    Station& a = wire.station("a");
    Station& b = wire.station("b");
    std::uint64_t boots = 100;

    Away() {
        a.member_silent_max = MonoTime(10'000);
        a.start(kA, 11, "alpha", "b", wire.now);
        b.start(kB, 22, "beta", "a", wire.now);
        for (int i = 0; i < kKeys; ++i) a.database->set(0, key_of(i), std::string(100, 'v'));
        wire.run(MonoTime(10'000));
        REQUIRE(b.store->clocks() == a.store->clocks());
        b.stop();
        for (int i = 0; i < kKeys; i += 3) a.database->remove(0, key_of(i));
        for (int i = 1; i < kKeys; i += 3) a.database->set(0, key_of(i), std::string(900, 'w'));
        a.commit(wire.now);
        wire.run(MonoTime(12'000));
        purge(a, wire.now);
        REQUIRE(a.store->tombstone_count() == 0);
    }
    void start(Station& station) {
        ++boots;
        station.start(ReplicaId{(&station == &a ? kA : kB).value + boots}, boots,
                      &station == &a ? "alpha" : "beta", &station == &a ? "b" : "a", wire.now);
    }
    // Steps until b is in that pass, and as many leaves have come.
    void until(Full pass, std::uint64_t leaves = 0) {
        for (int i = 0; i < 100'000; ++i) {
            if (b.replication->full_pass() == pass && pulled() >= leaves) return;
            wire.step();
        }
        FAIL("b does not come to that pass");
    }
    [[nodiscard]] std::uint64_t pulled() const { return b.replication->counters().pulled_leaves; }
    void check_end() {
        for (int i = 0; i < 100 && b.store->clocks() != a.store->clocks(); ++i)
            wire.run(MonoTime(1000));
        CHECK(b.store->clocks() == a.store->clocks());
        CHECK(b.store->key_count(0) == a.store->key_count(0));
        CHECK_FALSE(b.database->exists(0, key_of(0)));
        CHECK(b.database->get(0, key_of(1)) == std::string(900, 'w'));
        for (const ShardId shard : a.store->held())
            CHECK(b.store->shard(shard).digest == a.store->shard(shard).digest);
        CHECK(b.replication->syncs(wire.now).empty());
    }
};

}  // namespace

TEST_CASE("replication full: a cut in each pass costs no pass", "[node]") {
    Away away;
    away.start(away.b);
    const std::pair<Full, std::uint64_t> cuts[] = {
        {Full::pulling, 300}, {Full::pulling, 700}, {Full::comparing, 0}, {Full::closing, 0}};
    for (const auto& [pass, leaves] : cuts) {
        away.until(pass, leaves);
        CHECK(away.b.replication->set_cut("alpha", true));
        away.wire.run(MonoTime(1000));
        CHECK(away.b.replication->full_pass() == Full::none);
        CHECK(away.b.replication->set_cut("alpha", false));
    }
    away.check_end();
    const ReplicationCounters& counters = away.b.replication->counters();
    CHECK(counters.pulls_full == 1);
    CHECK(counters.fulls_resumed == 4);
    CHECK(counters.compares_resumed == 1);
    CHECK(counters.pulls_moved == 0);
    CHECK(counters.pulled_leaves < kKeys / 3 + 100);
}

TEST_CASE("replication full: whoever is killed goes on where it was", "[node]") {
    const bool server = GENERATE(false, true);
    Away away;
    Station& killed = server ? away.a : away.b;
    away.start(away.b);
    std::uint64_t pulled = 0, resumed = 0, begun = 0;
    for (const auto& [pass, leaves] : {std::pair<Full, std::uint64_t>{Full::pulling, 300},
                                       {Full::comparing, 0},
                                       {Full::closing, 0}}) {
        away.until(pass, leaves);
        if (!server) {
            pulled += away.pulled();
            resumed += away.b.replication->counters().fulls_resumed;
            begun += away.b.replication->counters().pulls_full;
        } else if (away.b.replication->full_pass() == Full::comparing) {
            CHECK(away.b.replication->set_cut("alpha", true));
            CHECK(away.b.replication->set_cut("alpha", false));
        }
        killed.stop();
        away.start(killed);
    }
    away.check_end();
    const ReplicationCounters& counters = away.b.replication->counters();
    CHECK(pulled + counters.pulled_leaves < kKeys / 3 + 200);
    CHECK(begun + counters.pulls_full == 1);
    CHECK(resumed + counters.fulls_resumed >= (server ? 1 : 3));
    CHECK((counters.compared_by_key > 0) == server);
}

// alpha has got what gamma wrote, removed it, and purged the removal; gamma, which hears nothing of alpha, still has it.
TEST_CASE("replication full: nothing foreign comes while an interrupted one waits", "[node]") {
    Wire wire;
    Station &a = wire.station("a"), &b = wire.station("b"), &c = wire.station("c");
    const auto cut = [](Station& station, const char* name, bool on) {
        REQUIRE(station.replication->set_cut(name, on));
    };
    a.member_silent_max = MonoTime(10'000);
    a.start(kA, 11, "alpha", "", wire.now);
    b.start(kB, 22, "beta", "a", wire.now);
    c.start(kC, 33, "gamma", "a", wire.now);
    for (int i = 0; i < 300; ++i) a.database->set(0, key_of(i), "value");
    c.database->set(0, "first", "of gamma");
    wire.run(MonoTime(20'000));
    REQUIRE(b.store->clocks() == c.store->clocks());
    cut(b, "alpha", true), cut(b, "gamma", true), cut(a, "beta", true), cut(c, "beta", true);
    cut(c, "alpha", true);
    // A string's removal says how much of gamma's it takes away, and would stay while gamma is out.
    c.database->set_add(0, "ghost", {"of gamma"});
    wire.run(MonoTime(2000));
    REQUIRE(a.database->exists(0, "ghost"));
    cut(a, "gamma", true);
    a.database->remove(0, "ghost");
    for (int i = 0; i < 300; i += 3) a.database->remove(0, key_of(i));
    wire.run(MonoTime(15'000));
    purge(a, wire.now);
    wire.run(MonoTime(1000));
    purge(a, wire.now);
    REQUIRE(a.store->tombstone_count() == 0);

    cut(a, "beta", false), cut(b, "alpha", false);
    for (int i = 0; i < 20'000 && b.replication->full_pass() != Full::closing; ++i) wire.step();
    REQUIRE(b.replication->full_pass() == Full::closing);
    cut(b, "alpha", true);
    cut(b, "gamma", false), cut(c, "beta", false);
    wire.run(MonoTime(4000));
    CHECK_FALSE(b.database->exists(0, "ghost"));
    cut(b, "alpha", false);
    wire.run(MonoTime(5000));
    CHECK(b.replication->counters().fulls_resumed == 1);
    CHECK(b.store->clocks() == a.store->clocks());
    CHECK_FALSE(b.database->exists(0, "ghost"));
    cut(a, "gamma", false), cut(c, "alpha", false);
    wire.run(MonoTime(60'000));
    for (Station* station : {&a, &b, &c}) {
        CHECK_FALSE(station->database->exists(0, "ghost"));
        CHECK(station->store->clocks() == a.store->clocks());
        CHECK(station->replication->counters().divergence_alarms == 0);
    }
}

TEST_CASE("replication full: one with which nobody goes on is given up, and foreign writes come",
          "[node]") {
    Away away;
    away.start(away.b);
    away.until(Full::pulling, 300);
    CHECK(away.b.replication->set_cut("alpha", true));
    away.wire.run(MonoTime(3000));
    const auto rows = away.b.replication->syncs(away.wire.now);
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].phase == "interrupted");
    away.wire.run(MonoTime(10'000));
    CHECK(away.b.replication->syncs(away.wire.now).empty());
    CHECK_FALSE(away.b.noted("pull_given_up").empty());
    CHECK_FALSE(away.b.store->open_session());
    CHECK(away.b.replication->set_cut("alpha", false));
    away.check_end();
    CHECK(away.b.replication->counters().pulls_full == 2);
}

// While it reconciles its clients remove keys, and what they remove is purged: that it was gone is known here.
TEST_CASE("replication full: own removals that are purged meanwhile do not begin it anew",
          "[node]") {
    Away away;
    away.start(away.b);
    away.until(Full::pulling, 300);
    for (int i = 2; i < 90; i += 3) away.b.database->remove(0, key_of(i));
    away.wire.run(MonoTime(50));
    away.until(Full::closing);
    CHECK(away.b.replication->set_cut("alpha", true));
    away.wire.run(MonoTime(2000));
    purge(away.a, away.wire.now);
    CHECK(away.b.replication->set_cut("alpha", false));
    away.check_end();
    CHECK_FALSE(away.b.database->exists(0, key_of(2)));
    CHECK(away.b.replication->counters().pulls_full == 1);
}

}  // namespace skerry
