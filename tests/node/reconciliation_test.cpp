#include "node/reconciliation.hpp"

#include "tests/support/reconcile_wire.hpp"
#include "tests/support/store_place.hpp"

namespace skerry {
namespace {

std::string name_of(std::size_t i) { return "key" + std::to_string(i); }

// Two of one writer that do the same have one clock; where they do not, they differ at it.
void fill(StorePlace& place) {
    for (std::size_t i = 0; i < 3000; ++i) place.set(name_of(i), "value");
    for (std::size_t i = 0; i < 2500; ++i) place.add_member("set", name_of(i));
    place.commit();
}

Reconciliation::Outcome repair(StorePlace& here, StorePlace& there, auto between) {
    Reconciliation::Outcome last;
    for (const ShardId shard : here->held()) {
        if (here->shard(shard).digest == there->shard(shard).digest) continue;
        Reconciliation asker(*here);
        WireBytes bytes;
        asker.begin_repair(subject_of(*there), shard, false, MonoTime(1000));
        last = play(asker, *there, bytes, between, [&] {
            here.commit();
            there.commit();
        });
        CHECK(last.failure.empty());
        here.commit();
    }
    return last;
}

void nothing() {}

// Of every shard, one without an event too.
ShardClocks bases_of(const Store& store, const ShardClocks& clocks) {
    ShardClocks bases;
    for (const ShardId shard : store.held()) bases.emplace_back(shard, VersionVector{});
    for (const auto& [shard, clock] : clocks) bases[shard.value].second = clock;
    return bases;
}

Reconciliation::FullStage stage_of(std::uint64_t session, const ShardClocks& bases) {
    return {.session = session,
            .bases = bases,
            .runs = {{.first = 0, .end = bases.size(), .from = {}}}};
}

TEST_CASE("reconciliation: an answer to what was not asked ends it", "[node][reconciliation]") {
    StorePlace here(1);
    fill(here);
    const auto ends = [&](auto reply) {
        Reconciliation asker(*here);
        asker.begin_repair(subject_of(*here), ShardId{0}, false, MonoTime(1000));
        reply.request = std::get<SliceRequest>(asker.take_requests().front().second).request;
        reply.nonce = here->options().nonce;
        asker.on_reply(kWireLink, reply, MonoTime(1001));
        const auto outcome = asker.take_outcome();
        REQUIRE(outcome);
        CHECK(outcome->failure == "an answer to another question");
    };
    ends(SymbolReply{.request = 0, .nonce = 0, .clock = {}, .symbols = {{1, 2}}});
    ends(LeafReply{});
}

TEST_CASE("stretch: the slices of a shard add up to the same, whatever their length",
          "[node][stretch]") {
    StorePlace place(1);
    fill(place);
    for (const ShardId shard : place->held()) {
        std::uint64_t whole = 0, items = 0;
        Stretch stretch{
            .shard = shard, .base = place->shard(shard).clock, .from = {}, .to = {}, .key = {1, 2}};
        std::size_t all = ~std::size_t{0};
        const auto sum = [&](std::uint64_t& to) {
            return [&](std::uint64_t item, const WalkedLeaf&) {
                to += item;
                ++items;
            };
        };
        REQUIRE(!*visit_items(*place, Whose::server, stretch, all, sum(whole)));
        const std::uint64_t count = std::exchange(items, 0);
        CHECK((count > 100) == (shard != place->configuration_shard()));
        for (const std::size_t rows : {1, 7, 1000}) {
            std::uint64_t parts = 0;
            items = 0;
            stretch.from.clear();
            for (bool more = true; more;) {
                std::size_t left = rows;
                const auto stopped = *visit_items(*place, Whose::server, stretch, left, sum(parts));
                // The same stretch, read up to its end.
                more = stopped.has_value();
                if (more) stretch.from = *stopped;
            }
            CHECK(parts == whole);
            CHECK(items == count);
        }
    }
}

TEST_CASE("stretch: leaves with an entry outside the asker's base are no items",
          "[node][stretch]") {
    StorePlace place(1);
    fill(place);
    Stretch stretch{.shard = ShardId{0}, .base = {}, .from = {}, .to = {}, .key = {1, 2}};
    std::size_t rows = 1'000'000, count = 0;
    const auto visit = [&](std::uint64_t, const WalkedLeaf&) { ++count; };
    CHECK(!*visit_items(*place, Whose::server, stretch, rows, visit));
    CHECK(count == 0);
    CHECK(!*visit_items(*place, Whose::asker, stretch, rows, visit));
    CHECK(count > 0);
}

TEST_CASE("stretch: what cannot be asked for is refused", "[node][stretch]") {
    StorePlace place(1);
    fill(place);
    Store& store = *place;
    const Stretch nowhere{.shard = ShardId{99}, .base = {}, .from = {}, .to = {}, .key = {}};
    const Stretch misplaced{.shard = ShardId{1}, .base = {}, .from = "?", .to = {}, .key = {}};
    CHECK(!serve_slices(store, {.request = 1,
                                .bases = {{ShardId{99}, {}}},
                                .key = {},
                                .shard = ShardId{0},
                                .from = {},
                                .back = false}));
    CHECK(!serve_symbols(store, {.request = 1, .stretch = nowhere, .first = 0, .count = 4}));
    CHECK(!serve_symbols(store, {.request = 1, .stretch = misplaced, .first = 0, .count = 4}));
    CHECK(!serve_symbols(
        store, {.request = 1,
                .stretch = {.shard = ShardId{1}, .base = {}, .from = {}, .to = {}, .key = {}},
                .first = 0,
                .count = kSymbolsMax + 1}));
    CHECK(!serve_leaves(
        store, {.request = 1, .stretch = misplaced, .items = {1}, .keys = {}, .offset = 0}));
}

TEST_CASE("reconciliation: a repair loses nothing that either side has, and both end equal",
          "[node][reconciliation]") {
    StorePlace here(7), there(7);
    fill(here);
    fill(there);
    for (int i = 0; i < 40; ++i) {
        here.set(i % 2 == 0 ? name_of(i) : "here" + std::to_string(i), "of here");
        there.set(i % 3 == 0 ? name_of(i) : "there" + std::to_string(i), "of there");
    }
    here.add_member("set", "a");
    there.add_member("set", "b");
    for (StorePlace* place : {&here, &there}) place->commit();
    // Where a dot is of another shard, the clocks differ: those shards are not repaired, here or ever.
    std::size_t differing = 0;
    for (const ShardId shard : here->held()) {
        while (here->shard(shard).clock != there->shard(shard).clock) {
            StorePlace& behind =
                here->shard(shard).clock.event_count() < there->shard(shard).clock.event_count()
                    ? here
                    : there;
            for (int k = 0;; ++k) {
                const std::string key = "filler" + std::to_string(k);
                if (behind->address_of(0, key).shard != shard) continue;
                behind.set(key, "filler");
                behind.commit();
                break;
            }
        }
        differing += here->shard(shard).digest != there->shard(shard).digest ? 1 : 0;
    }
    REQUIRE(differing > 5);
    (void)repair(here, there, nothing);
    (void)repair(there, here, nothing);
    CHECK(here.digests() == there.digests());
    CHECK(here->key_count(0) == there->key_count(0));
    CHECK(here.walked() == here->key_count(0));
    CHECK(here.members("set") == 2502);
    CHECK(there.members("set") == 2502);
    for (int i = 1; i < 40; i += 2) CHECK(here.get("here" + std::to_string(i)) == "of here");
    for (int i = 1; i < 40; i += 2) CHECK(there.get("here" + std::to_string(i)) == "of here");
    // Nobody waits for a record that does not come.
    for (StorePlace* place : {&here, &there})
        (*place)->for_each_key(0, 0, [&](const KeyRecord& record) {
            CHECK(record.changed <= (*place)->durable());
            return true;
        });
    // And after a crash: what was repaired is in the log.
    const auto digests = here.digests();
    here.open();
    CHECK(here.digests() == digests);
    CHECK(here.walked() == there->key_count(0));
    CHECK(here.members("set") == 2502);
}

TEST_CASE("reconciliation: nothing is united while the clocks are not equal",
          "[node][reconciliation]") {
    StorePlace here(7), there(7);
    here.set("key", "a");
    there.set("key", "b");
    for (StorePlace* place : {&here, &there}) place->commit();
    const ShardId shard = here->address_of(0, "key").shard;
    Reconciliation asker(*here);
    WireBytes bytes;
    asker.begin_repair(subject_of(*there), shard, false, MonoTime(1000));
    int asked = 0;
    const auto outcome = play(
        asker, *there, bytes,
        [&] {
            // Just before the leaves come, and from then on: a write here that the peer does not have.
            if (++asked < 3) return;
            here.set("key", "later");
            here.commit();
        },
        nothing);
    CHECK(!outcome.failure.empty());
    CHECK(outcome.changed == 0);
    CHECK(here.get("key") == "later");
}

TEST_CASE("reconciliation: what a peer has purged goes, what it has not seen stays",
          "[node][reconciliation]") {
    StorePlace writer(1);
    fill(writer);
    StorePlace away(2);
    for (const Stage& chunk : writer.chunks(5)) away->stage(chunk);
    away.flip(5, writer->clocks());
    away.drain();
    away.commit();
    const ShardClocks base = away->clocks();
    for (std::size_t i = 0; i < 3000; i += 10) writer.remove(name_of(i));
    for (std::size_t i = 1; i < 3000; i += 100) writer.set(name_of(i), "changed");
    writer.commit();
    // As the writer is once it has purged: markers are gone, the clock is the same.
    StorePlace purged(3);
    for (Stage chunk : writer.chunks(6)) {
        std::erase_if(chunk.leaves, [](const StagedLeaf& leaf) { return !leaf.leaf.any_live(); });
        purged->stage(chunk);
    }
    purged.flip(6, writer->clocks());
    purged.drain();
    purged.checkpoint();
    away.set("own", "unsent");
    away.set(name_of(20), "unsent");  // removed there meanwhile
    away.commit();

    WireBytes bytes;
    const ShardClocks bases = bases_of(*away, base);
    const ShardClocks clocks = pull_all(purged.kv(), bases, 9, &*away, bytes);
    away.commit();
    Reconciliation asker(*away);
    asker.begin_full(subject_of(*purged), stage_of(9, bases), MonoTime(1000));
    const auto outcome = play(asker, *purged, bytes, nothing, [&] { away.commit(); });
    CHECK(outcome.failure.empty());
    CHECK(outcome.items == 301);  // what was removed, and the own write beside
    CHECK(outcome.leaves == 0);
    away.flip(9, clocks);
    away.drain();

    CHECK(away.get(name_of(10)) == "absent");
    CHECK(away.get(name_of(101)) == "changed");
    CHECK(away.get("own") == "unsent");
    CHECK(away.get(name_of(20)) == "unsent");
    CHECK(away.members("set") == 2500);
    // But for its own two writes it is what the peer is.
    away.remove("own");
    away.remove(name_of(20));
    CHECK(away.digests() == purged.digests());
}

TEST_CASE("reconciliation: a marker that the peer has, too, outlives that nothing else is there",
          "[node][reconciliation]") {
    StorePlace writer(1), away(2), peer(3);
    writer.add_member("set", "member");
    away.add_member("set", "member");  // concurrent: the removal has not seen it
    writer->change(writer->find_or_make(0, "set"), LeafKind::member, "member", presence::remove);
    writer->end_command();
    writer.commit();
    for (auto [place, session] : {std::pair(&away, 5), std::pair(&peer, 6)}) {
        for (Stage& chunk : writer.chunks(session)) (*place)->stage(chunk);
        place->flip(session, writer->clocks());
        place->drain();
        place->checkpoint();
    }
    const auto marker = [](StorePlace& place) {
        KeyRecord* record = place->find(0, "set");
        const Entry* entry = place->element(*record, LeafKind::member, "member").of(ReplicaId{1});
        return entry != nullptr && entry->removed;
    };
    REQUIRE(marker(away));
    REQUIRE(marker(peer));

    WireBytes bytes;
    const ShardClocks bases = bases_of(*away, away->clocks());
    const ShardClocks clocks = pull_all(peer.kv(), bases, 9, &*away, bytes);
    away.commit();
    Reconciliation asker(*away);
    asker.begin_full(subject_of(*peer), stage_of(9, bases), MonoTime(1000));
    CHECK(play(asker, *peer, bytes, nothing, [&] { away.commit(); }).failure.empty());
    away.flip(9, clocks);
    away.drain();
    CHECK(away.members("set") == 1);
    CHECK(marker(away));  // nobody has purged it: who pulls from here must hear of it
}

// What of `from` is staged under a session of its own, and joined.
void take_over(StorePlace& to, StorePlace& from, std::uint64_t session) {
    for (Stage& chunk : from.chunks(session)) to->stage(chunk);
    to.flip(session, from->clocks());
    to.drain();
    to.checkpoint();
}

TEST_CASE("reconciliation: one that was interrupted goes on with what was left",
          "[node][reconciliation]") {
    StorePlace writer(1), peer(3);
    StorePlace whole(2), parts(4);
    fill(writer);
    take_over(whole, writer, 5);
    take_over(parts, writer, 5);
    const ShardClocks base = whole->clocks();
    for (std::size_t i = 0; i < 3000; i += 3) writer.remove(name_of(i));
    writer.commit();
    for (Stage chunk : writer.chunks(6)) {
        std::erase_if(chunk.leaves, [](const StagedLeaf& leaf) { return !leaf.leaf.any_live(); });
        peer->stage(chunk);
    }
    peer.flip(6, writer->clocks());
    peer.drain();
    peer.checkpoint();
    WireBytes pulled, at_once, in_parts;
    const ShardClocks bases = bases_of(*whole, base);
    const ShardClocks clocks = pull_all(peer.kv(), bases, 9, &*whole, pulled);
    (void)pull_all(peer.kv(), bases, 9, &*parts, pulled);
    Reconciliation asker(*whole);
    asker.begin_full(subject_of(*peer), stage_of(9, bases), MonoTime(1000));
    REQUIRE(play(asker, *peer, at_once, nothing, [&] { whole.commit(); }).failure.empty());

    // Cut after each twentieth answer; each time by another asker, from what its log has.
    std::vector<CompareRun> left = stage_of(9, bases).runs;
    int cuts = 0;
    for (bool done = false; !done && cuts < 100; ++cuts) {
        Reconciliation again(*parts);
        auto stage = stage_of(9, bases);
        stage.runs = left;
        again.begin_full(subject_of(*peer), std::move(stage), MonoTime(1000));
        int answers = 0;
        const auto cut = [&] { return ++answers == 20; };
        const auto outcome =
            play_until(again, *peer, in_parts, nothing, [&] { parts.commit(); }, cut);
        done = outcome.has_value();
        if (done) break;
        left = again.left();
        parts.open();
    }
    CHECK(cuts > 3);
    CHECK(in_parts.all() < 2 * at_once.all());
    for (StorePlace* place : {&whole, &parts}) {
        CHECK((*place)->staged_clocks(9).size() > 10);
        place->flip(9, clocks);
        place->drain();
        CHECK(place->get(name_of(3)) == "absent");
        CHECK(place->get(name_of(4)) == "value");
        CHECK(place->digests() == peer.digests());
    }
}

TEST_CASE("reconciliation: a peer with less than was said before ends it",
          "[node][reconciliation]") {
    StorePlace here(1), there(2);
    fill(here);
    take_over(there, here, 5);
    Reconciliation asker(*here);
    auto stage = stage_of(9, bases_of(*here, here->clocks()));
    stage.least = here->clocks();
    stage.least.back().second.advance({ReplicaId{7}, Seq{1}});
    asker.begin_full(subject_of(*there), std::move(stage), MonoTime(1000));
    WireBytes bytes;
    const auto outcome = play(asker, *there, bytes, nothing, nothing);
    CHECK(outcome.failure == "the server has less than what is staged");
    CHECK(outcome.end == Reconciliation::End::unsound);
}

// The first pass came from a node that had purged a marker, and then got an older write of the leaf; this one has both. It
// leaves the leaf out, since the marker is outside the base: whoever takes it for absent here loses that write.
TEST_CASE("reconciliation: what another peer leaves out is asked for by key",
          "[node][reconciliation]") {
    const bool asked_for = GENERATE(true, false);
    StorePlace early(3), remover(4), away(1), peer(2);
    early.set("key", "early");
    early.commit();
    remover.set("key", "later");
    remover.remove("key");
    remover.commit();
    take_over(away, early, 5);
    take_over(peer, early, 5);
    take_over(peer, remover, 6);
    REQUIRE(peer.get("key") == "early");  // concurrent: the removal has not seen it
    Reconciliation asker(*away);
    auto stage = stage_of(9, bases_of(*away, away->clocks()));
    stage.asks_for_absent = asked_for;
    asker.begin_full(subject_of(*peer), std::move(stage), MonoTime(1000));
    WireBytes bytes;
    CHECK(play(asker, *peer, bytes, nothing, [&] { away.commit(); }).failure.empty());
    away.flip(9, peer->clocks());
    CHECK(away.get("key") == (asked_for ? "early" : "absent"));
    CHECK((away.digests() == peer.digests()) == asked_for);
}

TEST_CASE("reconciliation: a marker stays that the peer has purged", "[node][reconciliation]") {
    StorePlace writer(1), away(2), peer(3);
    writer.add_member("set", "member");
    away.add_member("set", "member");  // concurrent: the removal has not seen it
    writer->change(writer->find_or_make(0, "set"), LeafKind::member, "member", presence::remove);
    writer->end_command();
    writer.commit();
    take_over(away, writer, 5);
    for (Stage& chunk : writer.chunks(6)) {
        std::erase_if(chunk.leaves, [](const StagedLeaf& leaf) { return !leaf.leaf.any_live(); });
        peer->stage(chunk);
    }
    peer.flip(6, writer->clocks());
    peer.drain();
    peer.checkpoint();
    Reconciliation asker(*away);
    asker.begin_full(subject_of(*peer), stage_of(9, bases_of(*away, writer->clocks())),
                     MonoTime(1000));
    WireBytes bytes;
    const auto outcome = play(asker, *peer, bytes, nothing, [&] { away.commit(); });
    CHECK(outcome.leaves > 0);
    away.flip(9, peer->clocks());
    CHECK(away.members("set") == 1);
    const Entry* const entry =
        away->element(*away->find(0, "set"), LeafKind::member, "member").of(ReplicaId{1});
    CHECK((entry != nullptr && entry->removed));
}

// Markers in leaves that a repair brings are counted, and purged like any other.
TEST_CASE(
    "reconciliation: tombstones stay counted through a repair, and markers are purged after it",
    "[node][reconciliation]") {
    StorePlace here(7), there(7);
    for (StorePlace* place : {&here, &there}) place->set("key", "value");
    here.set("key", "later");
    there.remove("key");
    for (StorePlace* place : {&here, &there}) place->commit();
    REQUIRE(there->tombstone_count() == 1);
    (void)repair(here, there, nothing);
    (void)repair(there, here, nothing);
    CHECK(here.digests() == there.digests());
    CHECK(here.get("key") == "later");
    CHECK(there.get("key") == "later");
    for (StorePlace* place : {&here, &there}) {
        CHECK((*place)->tombstone_count() == 0);
        CHECK((*place)->key_count(0) == 1);
        place->remove("key");
        place->commit();
        CHECK((*place)->tombstone_count() == 1);
        ShardClocks all = (*place)->durable_clocks();
        (*place)->set_stable_cut(StableCut{.clocks = all, .everybody = true, .lineages = {}});
        while ((*place)->step_purge(100)) {
        }
        CHECK((*place)->tombstone_count() == 0);
    }
}

// A write of the same number in the same shard, so that both clocks stay equal.
void fill_up(StorePlace& behind, StorePlace& ahead, const std::string& key) {
    const ShardId shard = behind->address_of(0, key).shard;
    for (int i = 0; behind->shard(shard).clock != ahead->shard(shard).clock; ++i) {
        const std::string filler = "filler" + std::to_string(i);
        if (behind->address_of(0, filler).shard == shard) behind.set(filler, "filler");
    }
    behind.commit();
}

TEST_CASE("reconciliation: a clear of a database that one side has lost is taken over",
          "[node][reconciliation]") {
    const bool reclaimed = GENERATE(false, true);
    StorePlace here(7), there(7);
    for (StorePlace* place : {&here, &there}) {
        for (int i = 0; i < 100; ++i) place->add_member("set", name_of(i));
        place->commit();
    }
    const ShardId shard = here->address_of(0, "set").shard;
    here->clear_database(shard, 0);
    here.commit();
    const VersionVector cleared = here->shard(shard).clock;
    fill_up(there, here, "set");
    for (int i = 0; reclaimed && here->masked() > 0 && i < 100; ++i) {
        here->reclaim_some(50);
        here->set_now(here->now() + std::chrono::seconds(6));
        here.checkpoint();
    }
    const bool here_first = GENERATE(false, true);
    (void)repair(here_first ? here : there, here_first ? there : here, nothing);
    (void)repair(here_first ? there : here, here_first ? here : there, nothing);
    for (StorePlace* place : {&here, &there}) {
        CHECK(place->members("set") == 0);
        CHECK(place->walked() == (*place)->key_count(0));
    }
    CHECK(here.digests() == there.digests());
    CHECK(cleared == here->shard(shard).clock);
}

TEST_CASE("reconciliation: a clear that one side has lost is taken over, and nothing comes back",
          "[node][reconciliation]") {
    const bool reclaimed = GENERATE(false, true);
    StorePlace here(7), there(7);
    for (StorePlace* place : {&here, &there}) {
        for (int i = 0; i < 100; ++i) place->add_member("set", name_of(i));
        place->commit();
    }
    here.clear("set");
    here.commit();
    fill_up(there, here, "set");
    for (int i = 0; reclaimed && here->masked() > 0 && i < 100; ++i) {
        here->reclaim_some(50);
        here->set_now(here->now() + std::chrono::seconds(6));
        here.checkpoint();
    }
    const bool here_first = GENERATE(false, true);
    (void)repair(here_first ? here : there, here_first ? there : here, nothing);
    (void)repair(here_first ? there : here, here_first ? here : there, nothing);
    for (StorePlace* place : {&here, &there}) {
        CHECK(place->members("set") == 0);
        CHECK(place->walked() == (*place)->key_count(0));
    }
    CHECK(here.digests() == there.digests());
    const auto digests = there.digests();
    there.open();
    CHECK(there.digests() == digests);
    CHECK(there.members("set") == 0);
}

TEST_CASE(
    "reconciliation: a replay finds what a repair made, though a purge before it is in no log",
    "[node][reconciliation]") {
    StorePlace here(7), there(7);
    for (StorePlace* place : {&here, &there}) place->set("key", "value");
    here.remove("key");
    here.commit();
    there.commit();
    fill_up(there, here, "key");
    here->set_stable_cut(
        StableCut{.clocks = here->durable_clocks(), .everybody = true, .lineages = {}});
    while (here->step_purge(100)) {
    }
    REQUIRE(here->tombstone_count() == 0);
    (void)repair(here, there, nothing);
    CHECK(here.get("key") == "value");
    const auto digests = here.digests();
    here.open();
    CHECK(here.get("key") == "value");
    CHECK(here.digests() == digests);
    CHECK(here->tombstone_count() == 0);
}

}  // namespace
}  // namespace skerry
