// tests/node/lag_test.cpp — bytes and time behind, from the number of events a peer has.
#include "node/lag.hpp"

#include "tests/catch.hpp"

namespace skerry {

TEST_CASE("lag: what is missing is summed, and as old as its first commit", "[node][lag]") {
    LagMeter meter;
    CHECK(meter.behind(0, 500).bytes == 0);
    meter.committed(10, 1000, 100);
    meter.committed(10, 70, 150);  // of other writers only
    meter.committed(12, 200, 300);
    CHECK(meter.mark_count() == 2);
    CHECK(meter.behind(0, 500).bytes == 1200);
    CHECK(meter.behind(0, 500).ms == 400);
    CHECK(meter.behind(9, 500).ms == 400);  // half of a commit is none of it
    CHECK(meter.behind(10, 500).bytes == 200);
    CHECK(meter.behind(10, 500).ms == 200);
    CHECK(meter.behind(12, 500).bytes == 0);
    CHECK(meter.behind(12, 500).ms == 0);
    meter.forget(11);
    CHECK(meter.mark_count() == 1);
    CHECK(meter.behind(10, 500).bytes == 200);
}

TEST_CASE("lag: many commits cost no more than the bound, and no byte is lost", "[node][lag]") {
    LagMeter meter;
    constexpr std::uint64_t kCommits = 3 * LagMeter::kMarksMax;
    for (std::uint64_t i = 1; i <= kCommits; ++i)
        meter.committed(i, 10, static_cast<std::int64_t>(i));
    CHECK(meter.mark_count() == LagMeter::kMarksMax);
    CHECK(meter.behind(0, 100'000).bytes == 10 * kCommits);
    CHECK(meter.behind(0, 100'000).ms == 99'999);
    CHECK(meter.behind(kCommits - 1, 100'000).bytes == 10);
}

}  // namespace skerry
