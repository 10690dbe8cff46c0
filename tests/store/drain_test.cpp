// tests/store/drain_test.cpp — flips larger than memory: bounded, right at once, and found again after a crash.
#include "tests/support/store_place.hpp"

namespace skerry {
namespace {

using Place = StorePlace;

constexpr std::size_t kMemoryBytes = 256 * 1024;

void stage(Place& place, const std::vector<Stage>& chunks) {
    for (const Stage& chunk : chunks) {
        place->stage(chunk);
        place.step();
        for (int i = 0; place->staging_full() && i < 100; ++i) place.step();
        REQUIRE(!place->staging_full());
    }
}

StoreOptions small() {
    StoreOptions options;
    options.memory_bytes = kMemoryBytes;
    options.flip_bytes_max = 4096;
    return options;
}
StoreOptions at_once() {
    StoreOptions options;
    options.flip_bytes_max = ~std::size_t{0};
    return options;
}

std::string name_of(std::size_t i, std::string name = "key") {
    return name.append(std::to_string(i));
}

void fill(Place& place, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        place.set(name_of(i), std::string(100, 'a' + static_cast<char>(i % 26)));
        if (i % 100 == 0) place.commit();
    }
    for (std::size_t i = 0; i < 700; ++i) place.add_member("crowd", name_of(i, "m"));
    for (std::size_t i = 0; i < count; i += 7) place.remove(name_of(i));
    place.commit();
}

// What this replica has of its own when it pulls: some of it in conflict.
void own_writes(Place& place) {
    for (std::size_t i = 0; i < 300; i += 3) place.set(name_of(i), "own");
    for (std::size_t i = 600; i < 800; ++i) place.add_member("crowd", name_of(i, "m"));
    place.set("only here", "own");
    place.commit();
}

TEST_CASE("drain: a pull of 20 times the memory stays within it", "[store][drain]") {
    Place source(1);
    constexpr std::size_t kCount = 20'000;
    fill(source, kCount);
    const auto chunks = source.chunks(7);
    REQUIRE(source->stats().memory_bytes > 20 * kMemoryBytes);

    Place place(2, small());
    stage(place, chunks);
    CHECK(place.walked() == 0);
    CHECK(place->clocks().empty());
    place.flip(7, source->clocks());

    // At once, whatever has joined.
    CHECK(place->draining());
    CHECK(place->covers(source->clocks()));
    CHECK(place.digests() == source.digests());
    CHECK(place->key_count(0) == source->key_count(0));
    CHECK(place.walked() == source->key_count(0));
    for (std::size_t i = 0; i < kCount; i += 977)
        CHECK(place.get(name_of(i)) == source.get(name_of(i)));
    CHECK(place.members("crowd") == 700);
    CHECK(place->draining());

    place.drain();
    CHECK(place.digests() == source.digests());
    CHECK(place.walked() == source->key_count(0));
    for (std::size_t i = 0; i < kCount; ++i) {
        if (place.get(name_of(i)) != source.get(name_of(i))) FAIL(name_of(i));
        if (i % 50 == 0) place.step();
    }
    CHECK(place->stats().drained_in_background > kCount / 2);
    // What a step may add before the next eviction: some rows, and what was read here.
    CHECK(place.memory_max() < kMemoryBytes + kMemoryBytes / 4);
}

TEST_CASE("drain: leaves that join later join as those that join at once", "[store][drain]") {
    Place source(1);
    fill(source, 500);
    const auto chunks = source.chunks(7);
    Place later(2, small());
    Place now(2, at_once());
    for (Place* place : {&later, &now}) {
        own_writes(*place);
        stage(*place, chunks);
    }
    now.flip(7, source->clocks());
    REQUIRE(!now->draining());
    later.flip(7, source->clocks());
    REQUIRE(later->draining());
    const auto write_both = [&](std::size_t i) {
        for (Place* place : {&later, &now}) {
            if (i % 3 == 0)
                place->remove(name_of(i));
            else
                place->set(name_of(i), "later");
            place->add_member("crowd", name_of(i, "x"));
        }
    };
    CHECK(later.digests() == now.digests());
    for (std::size_t i = 0; i < 500; i += 11) {
        write_both(i);
        later.step(3);
        REQUIRE(later.digests() == now.digests());
        REQUIRE(later->key_count(0) == now->key_count(0));
        REQUIRE(later.walked() == now->key_count(0));
    }
    CHECK(later.members("crowd") == now.members("crowd"));
    CHECK(later->draining());
    later.drain();
    CHECK(later.digests() == now.digests());
    for (std::size_t i = 0; i < 500; ++i) CHECK(later.get(name_of(i)) == now.get(name_of(i)));
}

TEST_CASE("drain: what changes while a flip is measured is measured again", "[store][drain]") {
    Place source(1);
    fill(source, 500);
    Place place(2, small());
    own_writes(place);
    stage(place, source.chunks(7));
    REQUIRE(!place->flip(7, source->clocks()));
    place.checkpoint();
    for (std::size_t i = 0; place->flipping(); ++i) {
        REQUIRE(i < 10'000);
        place.set(name_of(i * 13 % 500), "meanwhile");
        place.add_member("crowd", name_of(i, "y"));
        if (i % 5 == 0) place.remove(name_of(i * 7 % 500));
        place.step(3);
    }
    const auto digests = place.digests();
    const std::uint64_t count = place->key_count(0);
    CHECK(place.walked() == count);
    place.drain();
    CHECK(place.digests() == digests);
    // A row's part of the digest is added anew when it is read into an empty store.
    Place copy(3, at_once());
    stage(copy, place.chunks(9));
    copy.flip(9, place->clocks());
    CHECK(copy.digests() == digests);
    CHECK(copy->key_count(0) == count);
}

TEST_CASE("drain: a crash in the middle loses nothing", "[store][drain]") {
    Place source(1);
    fill(source, 1000);
    Place place(2, small());
    own_writes(place);
    stage(place, source.chunks(7));
    place.flip(7, source->clocks());
    const auto digests = place.digests();
    const std::uint64_t count = place->key_count(0);
    const bool in_checkpoint = GENERATE(false, true);
    for (int i = 0; i < 5; ++i) {
        if (in_checkpoint) place.checkpoint();
        place.open();
        REQUIRE(place->draining());
        REQUIRE(place.digests() == digests);
        REQUIRE(place->key_count(0) == count);
        REQUIRE(place.walked() == count);
        REQUIRE(place.members("crowd") == 800);
        for (int k = 0; k < 3; ++k) place.step(20);
    }
    place.drain();
    place.checkpoint();
    place.open();
    CHECK(!place->draining());
    CHECK(place.digests() == digests);
    CHECK(place.walked() == count);
}

TEST_CASE("drain: what is staged and not flipped is found again", "[store][drain]") {
    Place source(1);
    fill(source, 300);
    auto chunks = source.chunks(7);
    Place place(2, small());
    const bool in_checkpoint = GENERATE(false, true);
    const std::vector<Stage> rest{chunks.back()};
    chunks.pop_back();
    for (const Stage& chunk : chunks) place->stage(chunk);
    place.commit();
    if (in_checkpoint) place.checkpoint();
    place.open();
    REQUIRE(place->open_session().has_value());
    CHECK(place->open_session()->session == 7);
    CHECK(place->open_session()->cursor == chunks.back().cursor);
    CHECK(place.walked() == 0);
    stage(place, rest);
    place.flip(7, source->clocks());
    CHECK(!place->open_session().has_value());
    CHECK(place.digests() == source.digests());
    place.drain();
    CHECK(place.digests() == source.digests());
}

TEST_CASE("drain: a session that is dropped leaves no rows", "[store][drain]") {
    Place source(1);
    fill(source, 300);
    Place place(2, small());
    stage(place, source.chunks(7));
    place.checkpoint();
    place->drop_session(7);
    CHECK(!place->open_session().has_value());
    CHECK(place->wants_checkpoint());  // it sweeps
    place.step();
    CHECK(!place->wants_checkpoint());
    place.open();
    CHECK(!place->open_session().has_value());
    CHECK(!place->wants_checkpoint());
    stage(place, source.chunks(8));
    place.flip(8, source->clocks());
    place.drain();
    CHECK(place.digests() == source.digests());
}

TEST_CASE(
    "drain: a pull that is dropped before it is measured leaves the drain before it as it was",
    "[store][drain]") {
    Place source(1);
    fill(source, 1000);
    Place place(2, small());
    stage(place, source.chunks(7));
    place.flip(7, source->clocks());
    stage(place, source.chunks(8));
    REQUIRE(!place->flip(8, source->clocks()));
    REQUIRE(place->draining());
    place->drop_session(8);
    CHECK(place.walked() == place->key_count(0));
    CHECK(place.get(name_of(999)) == source.get(name_of(999)));
}

TEST_CASE("drain: a second large flip waits for the first to be drained", "[store][drain]") {
    Place source(1);
    fill(source, 1000);
    Place place(2, small());
    stage(place, source.chunks(7));
    place.flip(7, source->clocks());
    REQUIRE(place->draining());
    for (std::size_t i = 0; i < 1000; i += 2) source.set(name_of(i), std::string(100, 'z'));
    source.commit();
    stage(place, source.chunks(8));
    REQUIRE(place->draining());
    place.flip(8, source->clocks());
    CHECK(place->draining());
    CHECK(place->stats().drains == 2);
    CHECK(place.digests() == source.digests());
    place.open();
    CHECK(place.digests() == source.digests());
    place.drain();
    CHECK(place.walked() == source->key_count(0));
    CHECK(place.get(name_of(2)) == std::string(100, 'z'));
}

}  // namespace
}  // namespace skerry
