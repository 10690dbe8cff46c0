// tests/node/replication_test.cpp — who is let in, and what happens when a writer id turns out to be used twice.
//
// What replication does with data is the simulator's (tests/sim).
#include "node/replication.hpp"

#include "tests/catch.hpp"
#include "tests/support/wire.hpp"

namespace skerry {
namespace {

using Catch::Contains;

constexpr ReplicaId kA{0x100000001}, kB{0x200000001}, kC{0x300000001};

PeerStatus only_peer(const Station& station, MonoTime now) {
    const auto rows = station.replication->peers(now);
    REQUIRE(rows.size() == 1);
    return rows.front();
}

// Two nodes that hold the same three writes of the first.
struct Pair {
    Wire wire;
    Station& a = wire.station("a");
    Station& b = wire.station("b");
    Pair() {
        a.start(kA, 11, "alpha", "b", wire.now);
        b.start(kB, 22, "beta", "a", wire.now);
        wire.run(MonoTime(2000));
        write(a, "one", "1");
        write(a, "two", "2");
        write(a, "three", "3");
        wire.run(MonoTime(2000));
        REQUIRE(b.database->get(0, "three") == "3");
    }
    static void write(Station& station, const std::string& key, const std::string& value) {
        station.database->set(0, key, value);
    }
};

}  // namespace

TEST_CASE("replication: an old copy under its old id is fenced by what a peer has", "[node]") {
    Pair pair;
    MemoryLog old_log = pair.a.log;
    MemoryKv old_kv = pair.a.kv;
    Pair::write(pair.a, "four", "4");
    pair.wire.run(MonoTime(2000));
    pair.a.stop();
    pair.a.log = std::move(old_log);
    pair.a.kv = std::move(old_kv);
    pair.a.start(kA, 33, "alpha", "b", pair.wire.now);
    CHECK_FALSE(pair.a.replication->fenced());
    pair.wire.run(MonoTime(2000));

    REQUIRE(pair.a.replication->fenced());
    CHECK_THAT(*pair.a.replication->fenced(), Contains("has not written"));
    CHECK_THAT(pair.a.noted("writer_fenced"), Contains("writer=" + kA.text()));
    CHECK(pair.a.replication->counters().fences == 1);
    CHECK_FALSE(pair.b.replication->fenced());

    // The next incarnation gets what the copy lacked.
    pair.a.stop();
    pair.a.start(ReplicaId{kA.value + 1}, 44, "alpha", "b", pair.wire.now);
    pair.wire.run(MonoTime(5000));
    CHECK_FALSE(pair.a.replication->fenced());
    CHECK(pair.a.database->get(0, "four") == "4");
    Pair::write(pair.a, "five", "5");
    pair.wire.run(MonoTime(2000));
    CHECK(pair.b.database->get(0, "five") == "5");
    CHECK(pair.a.store->clocks() == pair.b.store->clocks());
    CHECK(pair.b.replication->counters().divergence_alarms == 0);
}

TEST_CASE("replication: a fenced node gives nothing away that was under way to its disk",
          "[node]") {
    Pair pair;
    MemoryLog old_log = pair.a.log;
    Pair::write(pair.a, "four", "4");
    pair.wire.run(MonoTime(2000));
    pair.a.stop();
    pair.a.log = std::move(old_log);
    pair.a.start(kA, 33, "alpha", "b", pair.wire.now);
    pair.wire.run(MonoTime(2000));
    REQUIRE(pair.a.replication->fenced());
    const std::uint64_t published = pair.a.replication->counters().published;
    Pair::write(pair.a, "wrong", "x");
    pair.a.commit(pair.wire.now);
    pair.wire.run(MonoTime(5000));
    CHECK(pair.a.replication->counters().published == published);
    CHECK_FALSE(pair.b.database->exists(0, "wrong"));
}

TEST_CASE("replication: who has not said Hello is told to, and gets nothing else", "[node]") {
    Pair pair;
    const std::uint64_t before = pair.a.replication->counters().strangers;
    Station& stranger = pair.wire.station("stranger");
    stranger.connect(LinkId{1}, "a");
    for (const Message& message : {Message(PullRequest{}), Message(FetchRequest{}), Message(Ping{}),
                                   Message(DigestRequest{})})
        stranger.send(LinkId{1}, encode(message));
    pair.wire.run(MonoTime(200));
    REQUIRE(stranger.replies.size() == 4);
    for (const std::string& reply : stranger.replies) {
        const auto message = decode(reply);
        REQUIRE(message);
        CHECK(std::get<Refuse>(*message).code == RefuseCode::not_introduced);
    }
    CHECK(pair.a.replication->counters().strangers == before + 4);
    const std::string noted = pair.a.noted("not_introduced");
    CHECK(std::count(noted.begin(), noted.end(), '\n') == 1);
}

TEST_CASE("replication: a body larger than any commit is refused, and its leaves are pulled",
          "[node]") {
    Pair pair;
    REQUIRE(pair.b.replication->set_cut("alpha", true));
    Pair::write(pair.a, "four", "4");
    pair.wire.run(MonoTime(1000));
    const std::uint64_t pulls = pair.b.replication->counters().pulls;
    REQUIRE(pair.b.replication->set_cut("alpha", false));
    const StreamPosition last{pair.a.store->last_published().value};
    pair.a.publish(encode(Announce{.writer = kA,
                                   .nonce = 11,
                                   .position = {last.value + 1},
                                   .previous = last,
                                   .foreign = {},
                                   .ranges = {},
                                   .body_bytes = Replication::kBodyBytesMax + 1}));
    pair.wire.run(MonoTime(5000));
    CHECK_THAT(pair.b.noted("body_refused"), Contains("peer=alpha"));
    CHECK(pair.b.replication->counters().pulls == pulls + 1);
    CHECK(pair.b.database->get(0, "four") == "4");
    CHECK(only_peer(pair.b, pair.wire.now).phase == "following");
}

TEST_CASE("replication: a pull goes on when its server has been killed and is back", "[node]") {
    Wire wire;
    Station& a = wire.station("a");
    Station& b = wire.station("b");
    a.start(kA, 11, "alpha", "b", wire.now);
    constexpr int kKeys = 5000;
    for (int i = 0; i < kKeys; ++i)
        a.database->set(0, "key" + std::to_string(i), std::string(1000, 'v'));
    wire.run(MonoTime(1000));
    b.start(kB, 22, "beta", "a", wire.now);
    const auto staged = [&] { return b.replication->counters().pulled_leaves; };
    while (staged() < 1000) wire.step();
    a.stop();
    a.start(ReplicaId{kA.value + 1}, 33, "alpha", "b", wire.now);
    wire.run(MonoTime(20'000));
    CHECK(b.database->get(0, "key4999") == std::string(1000, 'v'));
    CHECK(b.replication->counters().pulls_moved >= 1);
    CHECK(staged() < kKeys + 100);
    CHECK(only_peer(b, wire.now).phase == "following");
    CHECK(b.replication->syncs(wire.now).empty());
}

TEST_CASE("replication: a pull goes on at another node that has all it was shown", "[node]") {
    Wire wire;
    Station& a = wire.station("a");
    Station& b = wire.station("b");
    Station& c = wire.station("c");
    a.start(kA, 11, "alpha", "c", wire.now);
    c.start(kC, 33, "gamma", "a", wire.now);
    constexpr int kKeys = 5000;
    for (int i = 0; i < kKeys; ++i)
        a.database->set(0, "key" + std::to_string(i), std::string(1000, 'v'));
    wire.run(MonoTime(10'000));
    REQUIRE(c.database->get(0, "key4999") == std::string(1000, 'v'));
    b.start(kB, 22, "beta", "a", wire.now);
    const auto staged = [&] { return b.replication->counters().pulled_leaves; };
    while (staged() < 1000) wire.step();
    const auto rows = b.replication->syncs(wire.now);
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].direction == "in");
    CHECK(rows[0].leaves == staged());
    (rows[0].peer == "alpha" ? a : c).stop();
    wire.run(MonoTime(60'000));
    CHECK(b.database->get(0, "key4999") == std::string(1000, 'v'));
    CHECK(staged() < kKeys + 100);
}

TEST_CASE("replication: two live nodes with one writer id are both fenced", "[node]") {
    Wire wire;
    Station& a = wire.station("a");
    Station& b = wire.station("b");
    a.start(kA, 11, "alpha", "b", wire.now);
    b.start(kA, 22, "beta", "a", wire.now);
    wire.run(MonoTime(2000));
    for (Station* station : {&a, &b}) {
        CHECK(station->replication->fenced());
        CHECK_THAT(station->noted("peer_refused"), Contains("two live nodes write as"));
        CHECK_THAT(station->noted("refused_by_peer"), Contains("two live nodes write as"));
        const PeerStatus row = only_peer(*station, wire.now);
        CHECK(row.phase == "refused");
        CHECK_THAT(row.trouble, Contains("two live nodes write as"));
    }
}

TEST_CASE("replication: two nodes of one name refuse each other, and say so", "[node]") {
    Wire wire;
    Station& a = wire.station("a");
    Station& b = wire.station("b");
    a.start(kA, 11, "alpha", "b", wire.now);
    b.start(kB, 22, "alpha", "a", wire.now);
    wire.run(MonoTime(30'000));
    for (Station* station : {&a, &b}) {
        const std::string refused = station->noted("peer_refused");
        CHECK_THAT(refused, Contains("two nodes are named 'alpha'"));
        CHECK(std::count(refused.begin(), refused.end(), '\n') ==
              1);  // though it asks every second
        CHECK_THAT(station->noted("refused_by_peer"), Contains("give each its own --name"));
        CHECK_FALSE(station->replication->fenced());
        CHECK(only_peer(*station, wire.now).phase == "refused");
    }
    a.database->set(0, "key", "value");
    wire.run(MonoTime(5000));
    CHECK_FALSE(b.database->exists(0, "key"));

    // With another name it is let in.
    b.stop();
    b.start(kB, 33, "beta", "a", wire.now);
    wire.run(MonoTime(5000));
    CHECK(b.database->get(0, "key") == "value");
    CHECK(only_peer(a, wire.now).trouble.empty());
    CHECK(only_peer(b, wire.now).trouble.empty());
}

TEST_CASE(
    "replication: a third node refuses the name of a live peer, not that of a peer that came back",
    "[node]") {
    Wire wire;
    Station& a = wire.station("a");
    Station& b = wire.station("b");
    Station& hub = wire.station("hub");
    hub.start(kC, 33, "hub", "a", wire.now);
    a.start(kA, 11, "alpha", "hub", wire.now);
    wire.run(MonoTime(2000));
    b.start(kB, 22, "alpha", "hub", wire.now);
    wire.run(MonoTime(2000));
    CHECK_THAT(hub.noted("peer_refused"), Contains("name=alpha peer=b"));
    const auto rows = hub.replication->peers(wire.now);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].trouble.empty());
    CHECK_THAT(rows[1].trouble, Contains("two nodes are named 'alpha', at a and b"));
    b.stop();
    a.stop();
    a.start(ReplicaId{kA.value + 1}, 44, "alpha", "hub", wire.now);  // after a kill
    wire.run(MonoTime(2000));
    CHECK(hub.replication->peers(wire.now)[0].phase == "following");
    a.stop();
    a.log = MemoryLog();
    a.start(ReplicaId{0x900000001}, 55, "alpha", "hub", wire.now);  // emptied
    wire.run(MonoTime(4000));
    CHECK(hub.replication->peers(wire.now)[0].phase == "following");
}

TEST_CASE("replication: a peer that hears nothing lags in events, bytes and time", "[node]") {
    Pair pair;
    CHECK(only_peer(pair.a, pair.wire.now).lag_events == 0);
    CHECK(only_peer(pair.a, pair.wire.now).lag.ms == 0);
    REQUIRE(pair.b.replication->set_cut("alpha", true));
    REQUIRE(pair.a.replication->set_cut("beta", true));
    Pair::write(pair.a, "four", std::string(1000, 'x'));
    pair.wire.run(MonoTime(3000));
    const PeerStatus row = only_peer(pair.a, pair.wire.now);
    CHECK(row.lag_events == 1);
    CHECK(row.lag.bytes > 1000);
    CHECK(row.lag.bytes < 1200);
    CHECK(row.lag.ms == 3000);
    REQUIRE(pair.b.replication->set_cut("alpha", false));
    REQUIRE(pair.a.replication->set_cut("beta", false));
    pair.wire.run(MonoTime(5000));
    CHECK(only_peer(pair.a, pair.wire.now).lag_events == 0);
    CHECK(only_peer(pair.a, pair.wire.now).lag.bytes == 0);
}

}  // namespace skerry
