// tests/store/purge_test.cpp — stable markers go, from memory and from the index, with the floor; others stay.
#include "store/check.hpp"
#include "tests/support/store_place.hpp"

namespace skerry {
namespace {

using Place = StorePlace;

StableCut everything(Place& place) {
    return {.clocks = place->durable_clocks(),
            .everybody = true,
            .lineages = {place->self().value >> 32}};
}

void purge(Place& place, const StableCut& cut) {
    place->set_stable_cut(cut);
    for (int i = 0; i < 1000 && place->step_purge(10); ++i) place->end_round();
}

// What skerry check says of the last checkpoint.
CheckedState checked(Place& place) {
    const auto stored = place.kv().reader();
    REQUIRE(stored.has_value());
    CheckedState state = check_state(
        **stored, place->self(),
        [](const Finding& finding) { FAIL(finding.where << ": " << finding.what); },
        [](auto, auto, auto) {});
    return state;
}

void some_removals(Place& place) {
    for (int i = 0; i < 50; ++i) place.set("k" + std::to_string(i), "v");
    for (int i = 0; i < 50; ++i) place.add_member("set", "m" + std::to_string(i));
    for (int i = 0; i < 40; ++i) place.remove("k" + std::to_string(i));
    KeyRecord& set = place->find_or_make(0, "set");
    for (int i = 0; i < 50; ++i)
        place->change(set, LeafKind::member, "m" + std::to_string(i), presence::remove);
    place->change(set, LeafKind::set_birth, {}, presence::remove);
    place.commit();
}

TEST_CASE("purge: stable markers go with their rows, the floor rises, and the rest stays",
          "[store][purge]") {
    Place place(1);
    some_removals(place);
    CHECK(place->tombstone_count() == 40 + 50 + 1);
    SECTION("before any checkpoint") { purge(place, everything(place)); }
    SECTION("found in the index, after a start") {
        place.checkpoint();
        CHECK(checked(place).tombstones == 91);
        place.open();
        CHECK(place->tombstone_count() == 91);
        purge(place, everything(place));
    }
    CHECK(place->tombstone_count() == 0);
    CHECK(place->stats().purged == 91);
    place.checkpoint();
    const CheckedState state = checked(place);
    CHECK(state.key_rows == 10);
    CHECK(state.elements == 0);
    for (const ShardId shard : place->held())
        CHECK((state.shards.contains(shard) ? state.shards.at(shard).purge_floor
                                            : VersionVector{}) == place->shard(shard).purge_floor);
    purge(place, everything(place));  // drops what the image has left out
    std::size_t records = 0;
    place->for_each_key(0, 0, [&](const KeyRecord&) { return ++records != 0; });
    CHECK(records == 10);
    const auto digests = place.digests();
    place.open();
    CHECK(place.digests() == digests);
    CHECK(place.walked() == 10);
    place.add_member("set", "again");
    CHECK(place.members("set") == 1);
}

TEST_CASE("purge: a crash before the checkpoint brings markers back, and no floor",
          "[store][purge]") {
    Place place(1);
    some_removals(place);
    place.checkpoint();
    purge(place, everything(place));
    place.set("after", "1");
    place.commit();
    place.open();
    CHECK(place->tombstone_count() == 91);
    for (const ShardId shard : place->held()) CHECK(place->shard(shard).purge_floor.empty());
    CHECK(place.walked() == 11);
}

TEST_CASE("purge: what is beyond the cut stays", "[store][purge]") {
    Place place(1);
    some_removals(place);
    const StableCut early = everything(place);
    place.set("late", "1");
    place.remove("late");
    place.commit();
    purge(place, early);
    CHECK(place->tombstone_count() == 1);
    purge(place, everything(place));
    CHECK(place->tombstone_count() == 0);
}

// b has removed a's value: its marker says what it had seen of it. While a is left out a may come back with more.
TEST_CASE("purge: a marker that cancels waits for the writer it cancels", "[store][purge]") {
    constexpr std::uint64_t kA = 1ULL << 32;
    constexpr std::uint64_t kB = 2ULL << 32;
    Place a(kA);
    Place b(kB);
    a.set("k", "v");
    a.commit();
    for (const Stage& chunk : a.chunks(7)) b->stage(chunk);
    b.flip(7, a->clocks());
    b.remove("k");
    b.commit();
    StableCut cut = everything(b);
    cut.everybody = false;
    purge(b, cut);
    CHECK(b->tombstone_count() == 1);
    b.checkpoint();
    purge(b, cut);
    CHECK(b->tombstone_count() == 1);
    SECTION("a counts") { cut.lineages = {kA >> 32, kB >> 32}; }
    SECTION("nobody is left out") { cut.everybody = true; }
    purge(b, cut);
    CHECK(b->tombstone_count() == 0);
}

// The union of both sides: what the server has buried dies, what it never knew stays.
TEST_CASE("purge: a flip after a full pull joins what the server lacks with nothing",
          "[store][purge]") {
    constexpr std::uint64_t kA = 1ULL << 32;
    constexpr std::uint64_t kB = 2ULL << 32;
    Place a(kA);
    Place b(kB);
    for (int i = 0; i < 30; ++i) a.set("k" + std::to_string(i), "v");
    a.add_member("set", "gone");
    a.add_member("set", "stays");
    a.commit();
    for (const Stage& chunk : a.chunks(7)) b->stage(chunk);
    b.flip(7, a->clocks());
    for (int i = 0; i < 20; ++i) a.remove("k" + std::to_string(i));
    a->change(a->find_or_make(0, "set"), LeafKind::member, "gone", presence::remove);
    a.commit();
    purge(a, everything(a));
    CHECK(a->tombstone_count() == 0);
    b.set("own", "1");
    b.set("k3", "mine");
    b.commit();
    SECTION("in memory") {}
    SECTION("in the ordered store, in part") { b.checkpoint(); }
    for (const Stage& chunk : a.chunks(9)) b->stage(chunk);
    RowAddress from;
    while (!b->stage_absent(9, a->clocks(), from, 3)) b.commit();
    ShardClocks floors;
    for (const ShardId shard : a->held()) floors.emplace_back(shard, a->shard(shard).purge_floor);
    REQUIRE(b->flip(9, a->clocks(), floors));
    CHECK(b.walked() == 10 + 1 + 1 + 1);
    CHECK(b.get("k3") == "mine");
    CHECK(b.get("own") == "1");
    CHECK(b.get("k4") == "absent");
    CHECK(b.members("set") == 1);
    for (const auto& [shard, floor] : floors) CHECK(b->shard(shard).purge_floor.covers(floor));
    b.commit();
    b.open();
    CHECK(b.walked() == 13);
}

}  // namespace
}  // namespace skerry
