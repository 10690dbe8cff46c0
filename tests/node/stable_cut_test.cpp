// tests/node/stable_cut_test.cpp — who counts, when nothing is known, and when a minimum is settled.
#include "node/stable_cut.hpp"

#include "tests/catch.hpp"

namespace skerry {
namespace {

constexpr ReplicaId kSelf{1ULL << 32};
const CutSelf kHere{.writer = kSelf, .slot_shard_count = 4};
constexpr ReplicaId kOther{2ULL << 32};

ShardClocks clock(std::uint64_t self, std::uint64_t other) {
    return {{ShardId{3}, VersionVector{{kSelf, Seq{self}}, {kOther, Seq{other}}}}};
}
constexpr auto kAll = [](const ShardClocks&) { return true; };
constexpr auto kNothing = [](const ShardClocks&) { return false; };

TEST_CASE("stable_cut: without others everything durable is stable", "[node][stable_cut]") {
    CutMeter meter;
    const auto cut = meter.step(kHere, clock(5, 2), {}, kAll);
    REQUIRE(cut.has_value());
    CHECK(cut->clocks == clock(5, 2));
    CHECK(cut->everybody);
}

TEST_CASE("stable_cut: the minimum of those that count; unknown while one has said nothing",
          "[node][stable_cut]") {
    CutMeter meter;
    const ShardClocks theirs = clock(3, 9);
    CHECK_FALSE(meter.step(kHere, clock(5, 2), {{true, kOther, nullptr}}, kAll).has_value());
    const auto both = meter.step(kHere, clock(5, 2), {{true, kOther, &theirs}}, kAll);
    REQUIRE(both.has_value());
    CHECK(both->clocks == clock(3, 2));
    CHECK(both->lineages == std::vector<std::uint64_t>{1, 2});
    const auto alone = meter.step(kHere, clock(5, 2), {{false, kOther, &theirs}}, kAll);
    REQUIRE(alone.has_value());
    CHECK(alone->clocks == clock(5, 2));
    CHECK_FALSE(alone->everybody);
    CHECK(alone->lineages == std::vector<std::uint64_t>{1});
}

TEST_CASE("stable_cut: a minimum waits until what the members had is here, too",
          "[node][stable_cut]") {
    CutMeter meter;
    const ShardClocks early = clock(3, 9), late = clock(5, 11);
    CHECK_FALSE(meter.step(kHere, clock(5, 2), {{true, kOther, &early}}, kNothing).has_value());
    const auto covers = [&](const ShardClocks& clocks) { return clocks == early; };
    const auto settled = meter.step(kHere, clock(5, 9), {{true, kOther, &late}}, covers);
    REQUIRE(settled.has_value());
    CHECK(settled->clocks == clock(3, 2));  // as it was when the other said `early`
    CHECK(meter.step(kHere, clock(5, 9), {{true, kOther, &late}}, kNothing) == settled);
    CHECK(meter.step(kHere, clock(5, 11), {{true, kOther, &late}}, kAll)->clocks == late);
}

}  // namespace
}  // namespace skerry
