// tests/store/clear_test.cpp — clears: gone at once and everywhere, by one small operation, and from the disk by and by.
#include "crdt/types/clear.hpp"

#include "store/check.hpp"
#include "tests/support/store_place.hpp"

namespace skerry {
namespace {

using Place = StorePlace;

std::string name_of(std::size_t i, std::string name = "m") {
    return name.append(std::to_string(i));
}

bool has(Place& place, const std::string& key, const std::string& member) {
    KeyRecord* record = place->find(0, key);
    return record != nullptr && place->element(*record, LeafKind::member, member).any_live();
}

std::size_t rows(const Place& place, Table table) {
    std::size_t count = 0;
    const auto reader = place.kv().reader();
    REQUIRE(reader.has_value());
    const auto scanned = (*reader)->scan(table, {}, {}, [&](std::string_view, std::string_view) {
        ++count;
        return true;
    });
    REQUIRE(scanned.has_value());
    return count;
}

// One part of another's log: everything of it.
void deliver(Place& from, Place& to) {
    for (const std::string& body : from.take_batches()) {
        const auto batch = decode_batch(body);
        REQUIRE(batch.has_value());
        to->apply_remote("test", body, *batch);
    }
    to.commit();
}

void reclaim(Place& place) {
    for (int i = 0; place->masked() > 0 && i < 1000; ++i) {
        place->reclaim_some(50);
        place.commit();
        place->set_now(place->now() + std::chrono::seconds(6));
        if (place->wants_checkpoint()) place.checkpoint();
    }
    REQUIRE(place->masked() == 0);
}

void must_check(const Place& place) {
    const auto reader = place.kv().reader();
    REQUIRE(reader.has_value());
    std::string found;
    (void)check_state(
        **reader, std::nullopt,
        [&](const Finding& finding) { found += finding.where + ": " + finding.what + "\n"; },
        [](std::string_view, std::uint64_t, std::uint64_t) {});
    INFO(found);
    CHECK(found.empty());
}

TEST_CASE("clear: one operation takes a set away, and its rows go behind it", "[store][clear]") {
    Place place(1);
    for (std::size_t i = 0; i < 2000; ++i) place.add_member("set", name_of(i));
    place.set("beside", "stays");
    place.checkpoint();
    const std::size_t before = rows(place, Table::rows);
    REQUIRE(before >= 2002);
    for (std::size_t i = 2000; i < 2100; ++i)
        place.add_member("set", name_of(i));  // in memory alone
    place.commit();

    (void)place.take_batches();
    place.clear("set");
    place.commit();
    const auto batches = place.take_batches();
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].size() < 200);
    CHECK(place.members("set") == 0);
    CHECK(!place->find(0, "set")->exists());
    CHECK(place->key_count(0) == 1);
    CHECK(!has(place, "set", name_of(7)));
    CHECK(place->stats().masks_measured == 0);
    CHECK(std::ranges::count(place.digests(), 0U) ==
          static_cast<std::ptrdiff_t>(place.digests().size()) -
              1);  // of 16 shards: one holds what stays

    place.add_member("set", name_of(7));  // after the clear: it is there again
    CHECK(place.members("set") == 1);
    CHECK(has(place, "set", name_of(7)));
    place.checkpoint();
    must_check(place);
    place.open();
    CHECK(place.members("set") == 1);
    CHECK(place->masked() == 1);
    reclaim(place);
    place.checkpoint();
    CHECK(rows(place, Table::rows) == 3);  // two keys, one member
    must_check(place);
    place.open();
    CHECK(place.members("set") == 1);
    CHECK(has(place, "set", name_of(7)));
    CHECK(!has(place, "set", name_of(8)));
}

TEST_CASE("clear: what it had not seen survives, with the same digest everywhere",
          "[store][clear]") {
    Place a(1);
    Place b(2);
    for (std::size_t i = 0; i < 500; ++i) a.add_member("set", name_of(i));
    a.commit();
    deliver(a, b);
    if (GENERATE(false, true)) b.checkpoint();
    for (std::size_t i = 490; i < 510; ++i) b.add_member("set", name_of(i));  // some again
    b.commit();
    a.clear("set");
    a.commit();
    deliver(a, b);
    CHECK(b.members("set") == 20);
    CHECK(b->stats().masks_measured == 1);
    deliver(b, a);
    CHECK(a.members("set") == 20);
    CHECK(a->stats().masks_measured == 0);
    CHECK(a.digests() == b.digests());
    for (Place* place : {&a, &b}) {
        CHECK(has(*place, "set", name_of(495)));
        CHECK(!has(*place, "set", name_of(3)));
        reclaim(*place);
        place->checkpoint();
        must_check(*place);
        place->open();
        CHECK(place->members("set") == 20);
    }
    CHECK(a.digests() == b.digests());
}

TEST_CASE("clear: a mask is kept through crashes until its rows are gone", "[store][clear]") {
    Place place(1);
    for (std::size_t i = 0; i < 1000; ++i) place.add_member("set", name_of(i));
    place.checkpoint();
    place.clear("set");
    place.commit();
    for (int i = 0; place->masked() > 0; ++i) {
        REQUIRE(i < 1000);
        place->reclaim_some(37);
        place.commit();
        if (i % 5 == 0) place.checkpoint();
        if (i % 7 == 0) place.open();
        REQUIRE(place.members("set") == 0);
        REQUIRE(!has(place, "set", name_of(static_cast<std::size_t>(i))));
        if (i % 5 == 0) must_check(place);
        if (i % 11 == 0) {
            place.add_member("set", "again");
            place.commit();
            place.clear("set");
            place.commit();
        }
        place->set_now(place->now() + std::chrono::seconds(6));
        if (i > 200 && place->wants_checkpoint()) place.checkpoint();
        if (i > 200) reclaim(place);
    }
    place.checkpoint();
    CHECK(rows(place, Table::rows) <= 2);
    must_check(place);
}

TEST_CASE("clear: its leaf may be purged before what it masks is reclaimed, and behind it",
          "[store][clear][purge]") {
    Place place(1);
    for (std::size_t i = 0; i < 200; ++i) place.add_member("set", name_of(i));
    KeyRecord& set = place->find_or_make(0, "set");
    for (std::size_t i = 0; i < 20; ++i)
        place->change(set, LeafKind::member, name_of(i), presence::remove);
    place.checkpoint();
    CHECK(place->tombstone_count() == 20);
    place.clear("set");
    place.commit();
    CHECK(place->tombstone_count() == 22);  // masked ones count while their rows are there
    const ShardId shard = place->find_or_make(0, "set").address.shard;
    const VersionVector cleared = place->shard(shard).clock;
    const auto purge = [&] {
        place->set_stable_cut(StableCut{.clocks = place->durable_clocks(), .lineages = {0}});
        for (int i = 0; i < 1000 && place->step_purge(10); ++i) place->end_round();
        CHECK(place->tombstone_count() == 0);
        CHECK(place->shard(shard).purge_floor == cleared);
        place.checkpoint();
        must_check(place);
    };
    SECTION("before") {
        purge();
        CHECK(place->masked() == 1);
        place.open();
        CHECK(place->masked() == 1);
        CHECK(place.members("set") == 0);
        reclaim(place);
    }
    SECTION("behind") {
        reclaim(place);
        CHECK(place->tombstone_count() == 2);
        purge();
    }
    place.checkpoint();
    must_check(place);
    CHECK(rows(place, Table::rows) == 0);
    (void)place->step_purge(1000);
    std::size_t records = 0;
    place->for_each_key(0, 0, [&](const KeyRecord&) { return ++records != 0; });
    CHECK(records == 0);
}

// Seeds 13 and 1093 of the worlds that rot while clients go on had found it.
TEST_CASE("clear: elements that come back with their key are under what clears of it cover",
          "[store][clear]") {
    Place place(1);
    for (std::size_t i = 0; i < 100; ++i) place.add_member("set", name_of(i));
    place.lose_key_row("set");
    place.clear("set");  // which finds nothing to mask
    reclaim(place);
    const ShardId shard = place->address_of(0, "set").shard;
    place->repair({.shard = shard, .masks = {}, .leaves = {}, .recounts = true});
    place.commit();
    CHECK(place.members("set") == 0);
    CHECK(!has(place, "set", name_of(7)));
    place->set_stable_cut(StableCut{.clocks = place->durable_clocks(), .lineages = {0}});
    for (int i = 0; i < 1000 && place->step_purge(10); ++i) place->end_round();
    place.open();
    CHECK(place.members("set") == 0);
    CHECK(!has(place, "set", name_of(7)));
    reclaim(place);
    place.checkpoint();
    CHECK(rows(place, Table::rows) <= 1);
}

}  // namespace
}  // namespace skerry
