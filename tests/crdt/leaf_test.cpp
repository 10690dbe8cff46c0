#include "crdt/leaf.hpp"

#include <array>

#include "crdt/leaf_key.hpp"
#include "crdt/types/presence.hpp"
#include "tests/catch.hpp"

using namespace skerry;
namespace {
constexpr ReplicaId kA{1}, kB{2};
Entry entry(ReplicaId r, std::uint64_t seq) {
    return {.replica = r, .seq = Seq{seq}, .hlc = Hlc{seq}, .removed = false, .payload = {}};
}
}  // namespace

TEST_CASE("leaf: an entry in one only is kept iff the other's clock has not seen it",
          "[crdt][leaf]") {
    LeafAtClock a{{}, {{kA, Seq{1}}}}, b{{}, {{kA, Seq{1}}, {kB, Seq{1}}}};
    a.leaf.put(entry(kA, 1));
    b.leaf.put(entry(kB, 1));  // superseded a:1
    CHECK(a.join(b));
    CHECK(a == b);
}

TEST_CASE("leaf: of one writer in both the larger seq stays", "[crdt][leaf]") {
    LeafAtClock a{{}, {{kA, Seq{1}}}}, b{{}, {{kA, Seq{2}}}};
    a.leaf.put(entry(kA, 1));
    b.leaf.put(entry(kA, 2));
    LeafAtClock c = b;
    CHECK_FALSE(c.join(a));
    CHECK(a.join(b));
    CHECK(a == b);
}

TEST_CASE("leaf: an operation applied twice changes nothing the second time", "[crdt][leaf]") {
    Leaf leaf;
    const LeafDelta delta = presence::add(leaf, {kA, Seq{1}}, Hlc{1});
    CHECK(leaf.apply(delta));
    CHECK_FALSE(leaf.apply(delta));
    CHECK(leaf.any_live());
}

TEST_CASE("leaf_key: slots are those of Redis Cluster, hash tags included", "[crdt][leaf_key]") {
    CHECK(slot_of("123456789") == 12739);
    CHECK(slot_of("foo") == 12182);
    CHECK(slot_of("{user1000}.following") == slot_of("{user1000}.followers"));
    CHECK(slot_of("foo{}{bar}") == slot_of("foo{}{bar}"));
    CHECK(slot_of("foo{{bar}}zap") == slot_of("{bar"));
}

TEST_CASE("leaf_key: in every shard there is a key for the clears of its databases",
          "[crdt][leaf_key]") {
    for (const auto shards : std::to_array<std::uint16_t>({1, 3, 256, 16384})) {
        const auto keys = flush_keys(shards);
        REQUIRE(keys.size() == shards);
        for (std::uint16_t i = 0; i < shards; ++i)
            REQUIRE(shard_of_slot(slot_of(keys[i]), shards) == ShardId{i});
    }
    CHECK(shard_of_slot(16383, 256) == ShardId{255});
    CHECK(shard_of_slot(0, 256) == ShardId{0});
}
