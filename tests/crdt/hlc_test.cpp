// tests/crdt/hlc_test.cpp — hybrid logical clocks: never backwards, never behind what was seen, never dragged along.
#include "crdt/hlc.hpp"

#include "tests/catch.hpp"
#include "tests/seeds.hpp"

using namespace skerry;

TEST_CASE("hlc: a reading carries wall milliseconds and a logical part", "[crdt][hlc]") {
    const Hlc reading = Hlc::at(WallTime(1700000000123), 7);
    CHECK(reading.wall() == WallTime(1700000000123));
    CHECK(reading.logical() == 7);
    CHECK(Hlc{} < Hlc::at(WallTime(0), 1));
    CHECK(Hlc::at(WallTime(5), 65535) < Hlc::at(WallTime(6)));
}

TEST_CASE("hlc: with the wall clock ahead it follows the wall clock", "[crdt][hlc]") {
    HlcClock clock;
    CHECK(clock.next(WallTime(100)) == Hlc::at(WallTime(100)));
    CHECK(clock.next(WallTime(250)) == Hlc::at(WallTime(250)));
    CHECK(clock.last() == Hlc::at(WallTime(250)));
}

TEST_CASE("hlc: with the wall clock standing or running back readings still increase",
          "[crdt][hlc]") {
    HlcClock clock;
    (void)clock.next(WallTime(100));
    CHECK(clock.next(WallTime(100)) == Hlc::at(WallTime(100), 1));
    CHECK(clock.next(WallTime(40)) == Hlc::at(WallTime(100), 2));
    CHECK(clock.next(WallTime(101)) == Hlc::at(WallTime(101)));
}

TEST_CASE("hlc: a full logical part carries into the milliseconds", "[crdt][hlc]") {
    HlcClock clock;
    REQUIRE(clock.observe(Hlc::at(WallTime(100), 65535), WallTime(100)));
    CHECK(clock.next(WallTime(100)) == Hlc::at(WallTime(101), 0));
}

TEST_CASE("hlc: a write that has seen another one reads later, whatever the wall clocks say",
          "[crdt][hlc]") {
    HlcClock fast;
    HlcClock slow;
    const Hlc seen = fast.next(WallTime(90000));
    CHECK(slow.observe(seen, WallTime(1000)));
    CHECK(slow.next(WallTime(1001)) > seen);
    CHECK(
        slow.observe(Hlc::at(WallTime(10)), WallTime(1002)));  // an old reading drags nothing back
    CHECK(slow.last() > seen);
}

TEST_CASE("hlc: a reading further ahead than the drift allows is reported and not absorbed",
          "[crdt][hlc]") {
    HlcClock clock(WallTime(500));
    const Hlc own = clock.next(WallTime(1000));
    CHECK(clock.observe(Hlc::at(WallTime(1500)), WallTime(1000)));
    CHECK(clock.last() == Hlc::at(WallTime(1500)));
    CHECK_FALSE(clock.observe(Hlc::at(WallTime(1501)), WallTime(1000)));
    CHECK(clock.last() == Hlc::at(WallTime(1500)));
    CHECK(clock.next(WallTime(1000)) > own);
    CHECK_FALSE(HlcClock().observe(Hlc::at(WallTime(300001)),
                                   WallTime(0)));  // five minutes unless told otherwise
    CHECK(HlcClock().observe(Hlc::at(WallTime(300000)), WallTime(0)));
}

TEST_CASE("hlc: any interleaving of readings and observations increases strictly", "[crdt][hlc]") {
    testing::for_each_seed(50, [](testing::Random& random) {
        HlcClock clock;
        Hlc last;
        for (int step = 0; step < 200; ++step) {
            const WallTime now(10000 + static_cast<std::int64_t>(random.below(50)));
            const Hlc seen =
                Hlc::at(WallTime(random.below(700000)), static_cast<std::uint16_t>(random.next()));
            const bool absorbed = random.one_in(2) && clock.observe(seen, now);
            const Hlc next = clock.next(now);
            REQUIRE(next > last);
            REQUIRE((!absorbed || next > seen));
            REQUIRE(next.wall() <= now + HlcClock::kDriftMax + WallTime(1));
            last = next;
        }
    });
}
