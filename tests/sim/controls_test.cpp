// tests/sim/controls_test.cpp — negative controls: each shortcut of crdt/shortcut.hpp is found by the simulator.
//
// Found    some seed of the first so many fails, for the reason expected; and passes when the shortcut is not taken.
// Links    cores of its own, compiled with SKERRY_SHORTCUTS: tests/CMakeLists.txt.
#include "crdt/shortcut.hpp"
#include "sim/world.hpp"
#include "tests/catch.hpp"

namespace skerry {
namespace {
Shortcut taken_now = Shortcut::none;
}  // namespace

bool taken(Shortcut shortcut) noexcept { return shortcut == taken_now; }

namespace sim {
namespace {

struct Expected {
    Shortcut shortcut;
    std::string_view failure;  // what the simulator says
    std::uint64_t seeds_max = 400;
    Sabotage::Rot rot = Sabotage::Rot::none;
    std::uint64_t first =
        1;  // seeds before it end in an assertion, which finds it, too, or find nothing
    Shape shape = Shape::mesh;
};

std::optional<std::string> failure_with(Shortcut shortcut, std::uint64_t seed,
                                        Sabotage sabotage = {}, Shape shape = Shape::mesh) {
    taken_now = shortcut;
    std::optional<std::string> failure = World(seed, sabotage, nullptr, shape).run().failure;
    taken_now = Shortcut::none;
    return failure;
}

void must_be_found(const Expected& expected) {
    std::string others;  // the same shortcut may show in several ways
    for (std::uint64_t seed = expected.first; seed < expected.first + expected.seeds_max; ++seed) {
        const auto failure =
            failure_with(expected.shortcut, seed, {.rot_at_end = expected.rot}, expected.shape);
        if (!failure) continue;
        if (failure->find(expected.failure) == std::string::npos) {
            others += "\nseed " + std::to_string(seed) + " " + failure->substr(0, 200);
            continue;
        }
        INFO("seed " << seed << ' ' << *failure);
        const auto without =
            failure_with(Shortcut::none, seed, {.rot_at_end = expected.rot}, expected.shape);
        CHECK(without.value_or("passes") == "passes");
        return;
    }
    FAIL("no seed fails with \"" << expected.failure << "\", but:" << others);
}

constexpr std::string_view kDiverged = "at one clock";

TEST_CASE("a clear that masks what its writer had not seen is found") {
    must_be_found({Shortcut::clear_covers_receiver, kDiverged});
}
TEST_CASE("elements that count and are left to a clear are found") {
    must_be_found({Shortcut::clear_over_counters, "dh/"});
}
TEST_CASE("a mask that goes before what it masks is found") {
    must_be_found({Shortcut::mask_forgotten_early, kDiverged});
}
TEST_CASE("a mask that goes before a flip has joined is found") {
    must_be_found({Shortcut::mask_over_undrained, kDiverged});
}
TEST_CASE("masked entries that meet a join are found") {
    must_be_found({.shortcut = Shortcut::masked_joins, .failure = kDiverged, .first = 4});
}
TEST_CASE("a clear of a database that masks what its writer had not seen is found") {
    must_be_found({Shortcut::flush_covers_receiver, kDiverged});
}
TEST_CASE("what counts and is left to a clear of its database is found") {
    must_be_found({Shortcut::flush_over_counters, ": 1/"});
}
TEST_CASE("the mask of a database that goes before what it masks is found") {
    must_be_found({Shortcut::flush_forgotten_early, kDiverged});
}
TEST_CASE("a flip that is measured without the clears of databases that come with it is found") {
    must_be_found({Shortcut::flush_unmeasured, {}});
}
TEST_CASE("a removal that leaves no marker is found") {
    must_be_found({Shortcut::remove_without_marker, kDiverged});
}
TEST_CASE("two dots of one writer on a leaf are found") {
    must_be_found({Shortcut::two_dots_of_writer, "two entries of one writer"});
}
TEST_CASE("a batch applied before its causes is found") {
    must_be_found({Shortcut::no_causal_check, kDiverged});
}
TEST_CASE("a hole in a stream that is ignored is found") {
    must_be_found({Shortcut::hole_ignored, kDiverged});
}
TEST_CASE("a flip that is not named in what is published is found") {
    must_be_found({Shortcut::flip_unnamed, kDiverged, 1000});
}
TEST_CASE("a flip in a served log that is passed over is found") {
    must_be_found({Shortcut::flip_passed_over, kDiverged, 3000});
}
TEST_CASE("a clock that is joined chunk by chunk is found") {
    must_be_found({Shortcut::clock_per_chunk, kDiverged});
}
TEST_CASE("chunks that join as they come are found") {
    must_be_found({Shortcut::join_on_arrival, "an entry beyond its clock"});
}
TEST_CASE("a stale chunk that joins at the final clock is found") {
    must_be_found({Shortcut::chunk_at_final, kDiverged});
}
TEST_CASE("a flip after a pass in which the clock moved is found") {
    must_be_found({Shortcut::one_pass, kDiverged});
}
TEST_CASE("a checkpoint served without what the caller is after is found") {
    must_be_found({Shortcut::target_ignored, "no convergence", 3000});
}
TEST_CASE("a pull that goes on at a server with less than it was shown is found") {
    must_be_found({Shortcut::seen_ignored, kDiverged, 1000});
}
TEST_CASE("an index used below its floor is found") {
    must_be_found({Shortcut::index_below_floor, kDiverged});
}
TEST_CASE("a server that does not look at its purge floor is found") {
    must_be_found({Shortcut::floor_not_asked, kDiverged, 1000});
}
TEST_CASE("a flip that does not take over the server's purge floor is found") {
    must_be_found({.shortcut = Shortcut::floor_not_joined, .failure = kDiverged, .first = 690});
}
TEST_CASE("a purge of what some member has not seen is found") {
    must_be_found({Shortcut::unstable_purged, "never had"});
}
TEST_CASE("a full reconcile that leaves markers out is found") {
    must_be_found({Shortcut::full_live_only, kDiverged});
}
TEST_CASE("a full reconcile that does not ask for what changed meanwhile is found") {
    must_be_found({Shortcut::full_not_closed, kDiverged});
}
TEST_CASE("a full reconcile that ends at a server without what was said in it is found") {
    must_be_found({Shortcut::said_ignored, kDiverged});
}
TEST_CASE("a full reconcile that goes on though more has been purged meanwhile is found") {
    must_be_found({.shortcut = Shortcut::floors_moved, .failure = kDiverged, .first = 430});
}
TEST_CASE("a repair that joins at the clocks is found: what one side has lost, both lose") {
    must_be_found({Shortcut::repair_by_clocks, {}, 100, Sabotage::Rot::silent});
}
TEST_CASE("a repair that leaves digest and counts as they were is found") {
    must_be_found({Shortcut::repair_not_counted, {}, 100, Sabotage::Rot::silent});
}
TEST_CASE("damage that is cut like a torn end is found") {
    must_be_found({Shortcut::damage_cut, "though damage can be proved"});
}
TEST_CASE("a clock that is shown before it is durable is found") {
    must_be_found({Shortcut::volatile_clock_shown, "WAIT"});
}
TEST_CASE("a read that does not wait for what it has seen is found") {
    must_be_found({Shortcut::read_not_observed, "what a crash could take back"});
}

// Both end where a batch follows none of its writer's that is here: the second test of a batch, which a sound stream never needs.
constexpr std::string_view kGap = "stream_gap";
TEST_CASE("a relay batch applied before all that the hub had then is found") {
    must_be_found({.shortcut = Shortcut::relay_unchecked, .failure = kGap, .shape = Shape::fleet});
}
TEST_CASE("an answer without records that passes over a flip is found") {
    must_be_found({.shortcut = Shortcut::relay_jumped,
                   .failure = kGap,
                   .seeds_max = 1000,
                   .first = 780,
                   .shape = Shape::fleet});
}
TEST_CASE("a purge of what some edge has not seen is found") {
    must_be_found(
        {.shortcut = Shortcut::edges_unheard, .failure = "never had", .shape = Shape::fleet});
}

TEST_CASE("a purge of what an edge has not seen that holds the domain is found") {
    must_be_found(
        {.shortcut = Shortcut::holder_unheard, .failure = "never had", .shape = Shape::domains});
}
TEST_CASE("a batch of which the asker holds a part, and that is passed over, is found") {
    must_be_found(
        {.shortcut = Shortcut::part_passed_over, .failure = kGap, .shape = Shape::domains});
}

// No shortcut yet: stages and flip lie in the log behind what they rely on, for a pull that goes on after a crash, too. When
// a flip overtakes a commit, this fails: then the rule is needed, and this becomes a control.
TEST_CASE(
    "a pull from the applied clock loses nothing as long as stages lie behind what they rely on") {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        INFO("seed " << seed);
        CHECK(failure_with(Shortcut::volatile_base, seed).value_or("passes") == "passes");
    }
}

}  // namespace
}  // namespace sim
}  // namespace skerry
