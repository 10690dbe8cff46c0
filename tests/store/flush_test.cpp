// tests/store/flush_test.cpp — clears of whole databases: one small operation a shard, whatever the shard holds.
#include "crdt/types/clear.hpp"
#include "store/check.hpp"
#include "tests/support/store_place.hpp"

namespace skerry {
namespace {

using Place = StorePlace;

std::string name_of(std::size_t i, std::string name = "k") {
    return name.append(std::to_string(i));
}

// Texts, and a set among them.
void fill(Place& place, std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) {
        place.set(name_of(i), "text");
        place.add_member("set", name_of(i, "m"));
    }
    place.commit();
}

void flush(Place& place, DatabaseId database = 0) {
    const ShardRun run = run_of(database, place->slot_shard_count());
    for (std::uint16_t i = run.first.value; i < run.first.value + run.count; ++i)
        if (place->shard(ShardId{i}).key_counts[place_in_shard(database)] > 0)
            place->clear_database(ShardId{i}, database);
    place.commit();
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

void deliver(Place& from, Place& to) {
    for (const std::string& body : from.take_batches()) {
        const auto batch = decode_batch(body);
        REQUIRE(batch.has_value());
        to->apply_remote("test", body, *batch);
    }
    to.commit();
}

void must_check(Place& place) {
    place.checkpoint();
    const auto reader = place.kv().reader();
    REQUIRE(reader.has_value());
    std::string found;
    (void)check_state(
        **reader, std::nullopt,
        [&](const Finding& finding) { found += finding.where + ": " + finding.what + "\n"; },
        [](std::string_view, std::uint64_t, std::uint64_t) {});
    CHECK(found.empty());
}

void reclaim(Place& place, DatabaseId database = 0) {
    for (int i = 0; place->masked() > 0 && i < 2000; ++i) {
        place->reclaim_some(50);
        place.commit();
        place->set_now(place->now() + std::chrono::seconds(6));
        if (place->wants_checkpoint()) place.checkpoint();
        REQUIRE(place.walked() == place->key_count(database));
    }
    REQUIRE(place->masked() == 0);
}

TEST_CASE("flush: everything goes by a small operation a shard, and the rows behind it",
          "[store][flush]") {
    Place place(1);
    fill(place, 0, 3000);
    if (GENERATE(false, true)) {
        place.checkpoint();
        place.open();  // nothing is in memory
    }
    fill(place, 3000, 3100);
    (void)place.take_batches();
    flush(place);
    const auto batches = place.take_batches();
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].size() < 16 * 64);
    CHECK(place->stats().flushes == 16);
    CHECK(place->stats().flushes_measured == 0);
    CHECK(place->key_count(0) == 0);
    CHECK(std::ranges::count(place.digests(), 0U) ==
          static_cast<std::ptrdiff_t>(place.digests().size()));
    CHECK(place.get(name_of(7)) == "absent");
    CHECK(place.members("set") == 0);

    place.set(name_of(7), "again");
    place.add_member("set", name_of(8, "m"));
    CHECK(place.walked() == 2);
    must_check(place);
    place.open();
    CHECK(place.walked() == 2);
    CHECK(place->masked() == 16 + 1);  // shards, and the set that was touched
    CHECK(place.get(name_of(7)) == "again");
    CHECK(place.members("set") == 1);
    must_check(place);
    reclaim(place);
    must_check(place);
    CHECK(rows(place, Table::rows) == 3 + 16);  // two keys, a member, and those of the clears
    place.open();
    CHECK(place.walked() == 2);
    CHECK(place.members("set") == 1);
}

TEST_CASE("flush: what it had not seen survives, with the same digest everywhere",
          "[store][flush]") {
    Place a(1);
    Place b(2);
    fill(a, 0, 500);
    deliver(a, b);
    if (GENERATE(false, true)) {
        b.checkpoint();
        if (GENERATE(false, true)) b.open();
    }
    fill(b, 490, 510);  // some again
    flush(a);
    deliver(a, b);
    CHECK(b->stats().flushes_measured > 0);
    CHECK(b.members("set") == 20);
    CHECK(b.walked() == 21);
    deliver(b, a);
    CHECK(a->stats().flushes_measured == 0);
    CHECK(a.walked() == 21);
    CHECK(a.digests() == b.digests());
    for (Place* place : {&a, &b}) {
        must_check(*place);
        place->open();
        CHECK(place->members("set") == 20);
        reclaim(*place);
        must_check(*place);
        place->open();
        CHECK(place->walked() == 21);
        CHECK(place->members("set") == 20);
        CHECK(place->get(name_of(3)) == "absent");
        CHECK(place->get(name_of(495)) == "text");
    }
    CHECK(a.digests() == b.digests());
}

TEST_CASE("flush: a large flip brings it with what was written since, measured and drained",
          "[store][flush]") {
    StoreOptions small;
    small.flip_bytes_max = 1000;
    Place source(1);
    Place place(2, small);
    fill(source, 0, 1000);
    deliver(source, place);
    for (std::size_t i = 0; i < 20; ++i) place.set(name_of(i, "own"), "unseen");
    place.commit();
    flush(source);
    fill(source, 900, 1200);
    (void)source.take_batches();
    std::vector<Stage> chunks = source.chunks(7);
    for (std::uint16_t i = 0; i < 16; ++i) {
        const std::string& key = source->flush_key_of(ShardId{i});
        chunks.back().leaves.push_back(
            {{0, LeafKind::flush, key, {}}, source->find(0, key)->leaf(LeafKind::flush)});
    }
    for (const Stage& chunk : chunks) {
        place->stage(chunk);
        place.commit();
        place.checkpoint();
    }
    place.flip(7, source->clocks());
    REQUIRE(place->draining());
    CHECK(place->key_count(0) == 301 + 20);
    CHECK(place.walked() == 301 + 20);
    if (GENERATE(false, true)) place.open();
    if (GENERATE(false, true)) flush(place);
    const std::uint64_t left = place->key_count(0);
    CHECK(place.walked() == left);
    place.drain();
    CHECK(place.walked() == left);
    must_check(place);
    reclaim(place);
    must_check(place);
    place.open();
    CHECK(place.walked() == left);
}

TEST_CASE("flush: what counts is seen before it has joined", "[store][flush]") {
    StoreOptions small;
    small.flip_bytes_max = 1000;
    Place source(1);
    Place place(2, small);
    fill(source, 0, 500);
    KeyRecord& record = source->find_or_make(0, "hash");
    source->change(record, LeafKind::field, "field", [](const Leaf& seen, const Dot& dot, Hlc now) {
        return value::add(seen, dot, now, value::amount_of(7));
    });
    source.commit();
    std::vector<Stage> chunks = source.chunks(7);
    chunks.back().leaves.push_back(
        {{0, LeafKind::field, "hash", "field"}, source->element(record, LeafKind::field, "field")});
    for (const Stage& chunk : chunks) place->stage(chunk);
    place.checkpoint();
    place.flip(7, source->clocks());
    REQUIRE(place->draining());
    const ShardId shard = place->address_of(0, "hash").shard;
    const auto counting = [&] {
        std::uint64_t count = 0;
        place->for_each_key_of(shard, 0, 0, [&](const KeyRecord& seen) {
            count += seen.extra ? seen.extra->sums.counting : 0;
            return true;
        });
        place->end_round();
        return count;
    };
    CHECK(place->may_count(shard, 0));
    CHECK(counting() == 1);
    place.drain();
    CHECK(place->may_count(shard, 0));
    CHECK(counting() == 1);
    CHECK(place.digests() == source.digests());
}

TEST_CASE("flush: a mask is kept through crashes until its rows are gone", "[store][flush]") {
    Place place(1);
    fill(place, 0, 1000);
    place.checkpoint();
    flush(place);
    std::uint64_t there = 0;
    for (std::size_t i = 0; place->masked() > 0; ++i) {
        REQUIRE(i < 1000);
        place->reclaim_some(37);
        place.commit();
        if (i % 5 == 0) must_check(place);
        if (i % 7 == 0) place.open();
        if (i % 11 == 0 && i < 100) {
            flush(place);
            place.set(name_of(i), "again");
            place.commit();
            there = 1;
        }
        REQUIRE(place.walked() == there);
        REQUIRE(place->key_count(0) == there);
        place->set_now(place->now() + std::chrono::seconds(6));
        if (i > 200 && place->wants_checkpoint()) place.checkpoint();
        if (i > 200) reclaim(place);
    }
    must_check(place);
}

TEST_CASE("flush: a clear and what was written since join at once, whichever is staged first",
          "[store][flush]") {
    Place source(1);
    Place place(2);
    fill(source, 0, 20);
    deliver(source, place);
    place.set("own", "unseen");
    place.commit();
    flush(source);
    fill(source, 15, 25);
    (void)source.take_batches();
    Stage all{7, source->clocks(), {}, {}};
    for (Stage& chunk : source.chunks(7))
        std::ranges::move(chunk.leaves, std::back_inserter(all.leaves));
    for (std::uint16_t i = 0; i < 16; ++i) {
        const std::string& key = source->flush_key_of(ShardId{i});
        if (const KeyRecord* record = source->find(0, key))
            all.leaves.push_back({{0, LeafKind::flush, key, {}}, record->leaf(LeafKind::flush)});
    }
    place->stage(all);
    CHECK(place->flip(7, source->clocks(), {}));
    place.commit();
    CHECK(place->key_count(0) == 10 + 1 + 1);
    CHECK(place.walked() == 10 + 1 + 1);
    CHECK(place.members("set") == 10);
    deliver(place, source);
    CHECK(place.digests() == source.digests());
    must_check(place);
    place.open();
    CHECK(place.walked() == 10 + 1 + 1);
    CHECK(place.digests() == source.digests());
}

TEST_CASE("flush: a key of the name under which clears lie is a key like others",
          "[store][flush]") {
    Place a(1);
    Place b(2);
    const auto names = [&] {
        std::vector<std::string> all;
        for (std::uint16_t i = 0; i < 16; ++i) all.push_back(a->flush_key_of(ShardId{i}));
        return all;
    }();
    fill(a, 0, 100);
    for (const std::string& name : names) a.set(name, "text");
    a.commit();
    deliver(a, b);
    for (const std::string& name : names) b.set(name, "unseen");
    b.commit();
    flush(a);
    CHECK(a.walked() == 0);
    a.set(names[3], "again");
    a.commit();
    deliver(a, b);
    deliver(b, a);
    for (Place* place : {&a, &b}) {
        CHECK((*place)->key_count(0) == 16);
        CHECK(place->walked() == 16);
        reclaim(*place);
        must_check(*place);
        place->open();
        CHECK(place->get(names[0]) == "unseen");
        CHECK(place->walked() == 16);
    }
    CHECK(a.digests() == b.digests());
}

TEST_CASE("flush: what may count is known as long as it may, and no longer", "[store][flush]") {
    Place place(1);
    const ShardId shard = place->address_of(0, "number").shard;
    place.set("number", "text");
    CHECK(!place->may_count(shard, 0));
    place.set("number", "7");
    CHECK(place->may_count(shard, 0));
    CHECK(!place->may_count(shard, 1));
    place.set("number", "text");
    CHECK(place->may_count(shard, 0));  // nobody has looked
    place.checkpoint();
    place.open();
    CHECK(place->may_count(shard, 0));
    flush(place);
    CHECK(!place->may_count(shard, 0));
    place.checkpoint();
    place.open();
    CHECK(!place->may_count(shard, 0));
}

TEST_CASE("flush: of a domain, in its shards alone, and a clear elsewhere is refused",
          "[store][flush]") {
    constexpr DomainNumber kSite = 300;
    const DatabaseId site = database_of_domain(kSite);
    Place all(1);
    all.hold({.main = true, .domains = {kSite}});
    fill(all, 0, 200);
    all.use(site);
    fill(all, 0, 200);
    const std::uint64_t in_main = all->key_count(0);
    (void)all.take_batches();
    flush(all, site);
    CHECK(all->key_count(site) == 0);
    CHECK(all->key_count(0) == in_main);
    for (const std::string& body : all.take_batches()) {
        const auto batch = decode_batch(body);
        REQUIRE(batch.has_value());
        for (const ShardRange& range : batch->ranges)
            CHECK(domain_of(range.shard, all->slot_shard_count()) == kSite);
    }
    all.set("again", "text");
    CHECK(all.walked() == 1);
    must_check(all);
    reclaim(all, site);
    must_check(all);

    const ShardRun run = run_of(site, all->slot_shard_count());
    const std::string& key = all->flush_key_of(run.first);
    CHECK(all->is_placed({site, LeafKind::flush, key, {}}));
    CHECK(!all->is_placed({site, LeafKind::flush, key, "sub"}));
    CHECK(!all->is_placed({site, LeafKind::flush, "elsewhere", {}}));
    CHECK(!all->is_placed({kConfigurationDatabase, LeafKind::flush, key, {}}));
    CHECK(all->is_placed({site, LeafKind::clear, "elsewhere", {}}));
    const StagedLeaf staged{{site, LeafKind::flush, "elsewhere", {}},
                            all->find(site, key)->leaf(LeafKind::flush)};
    const ShardId shard = all->address_of(site, "elsewhere").shard;
    CHECK(!all->sound({{shard, all->shard(run.first).clock}}, {}, {staged}));
}

}  // namespace
}  // namespace skerry
