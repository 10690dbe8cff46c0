// tests/sim/sim_test.cpp — many small worlds, each of a seed: they converge, lose nothing, and repeat exactly.
//
// Replay   SKERRY_SIM_SEED=N plays that seed alone and prints its story; SKERRY_SIM_SEEDS=N sets how many are played.
#include <cstdlib>
#include <iostream>

#include "sim/world.hpp"
#include "tests/catch.hpp"

namespace skerry::sim {
namespace {

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
    const char* given = std::getenv(name);
    return given == nullptr ? otherwise : std::strtoull(given, nullptr, 10);
}

std::string replay(std::uint64_t seed) {
    return "replay: SKERRY_SIM_SEED=" + std::to_string(seed) + " build/debug/tests/sim_test";
}

void must_hold(std::uint64_t seed) {
    INFO(replay(seed));
    const Outcome outcome = World(seed, {}).run();
    INFO(outcome.failure.value_or("no failure"));
    CHECK(!outcome.failure);
}

TEST_CASE("worlds of many seeds converge and lose nothing") {
    const std::uint64_t alone = number_from("SKERRY_SIM_SEED", 0);
    if (alone != 0) {
        std::string story;
        const Outcome outcome = World(alone, {}, &story).run();
        std::cout << story;
        INFO(outcome.failure.value_or("no failure"));
        CHECK(!outcome.failure);
        return;
    }
    const std::uint64_t first = number_from("SKERRY_SIM_FIRST", 1);
    const std::uint64_t count = number_from("SKERRY_SIM_SEEDS", 300);
    Coverage total;
    for (std::uint64_t seed = first; seed < first + count; ++seed) {
        INFO(replay(seed));
        const Outcome outcome = World(seed, {}).run();
        INFO(outcome.failure.value_or("no failure"));
        CHECK(!outcome.failure);
        for (const Counted& counted : kCounted)
            total.*counted.count += outcome.coverage.*counted.count;
    }
    std::cout << count << " worlds:";
    for (const Counted& counted : kCounted)
        std::cout << "\n  " << total.*counted.count << " " << counted.name;
    std::cout << "\n";
    // The faults are there: a world in which nothing happens proves nothing.
    CHECK(total.flips >= count / 10);
    CHECK(total.crashes >= count / 2);
    for (const Counted& counted : kCounted) {
        INFO(counted.name);
        CHECK((count < 300 || total.*counted.count > 0));
    }
}

// Runs worlds of a shape, one for so many of the mesh; a single one if SKERRY_SIM_SEED says so.
void run_fleets(Shape shape, std::string_view what, const char* count_name,
                std::uint64_t per_world) {
    if (const std::uint64_t alone = number_from("SKERRY_SIM_SEED", 0); alone != 0) {
        std::string story;
        const Outcome outcome = World(alone, {}, &story, shape).run();
        std::cout << story;
        INFO(outcome.failure.value_or("no failure"));
        CHECK(!outcome.failure);
        return;
    }
    const std::uint64_t first = number_from("SKERRY_SIM_FIRST", 1);
    const std::uint64_t count = number_from(
        count_name, std::max<std::uint64_t>(number_from("SKERRY_SIM_SEEDS", 300), 600) / per_world);
    Coverage total;
    for (std::uint64_t seed = first; seed < first + count; ++seed) {
        INFO(replay(seed));
        const Outcome outcome = World(seed, {}, nullptr, shape).run();
        INFO(outcome.failure.value_or("no failure"));
        CHECK(!outcome.failure);
        for (const Counted& counted : kCountedOfFleets)
            total.*counted.count += outcome.coverage.*counted.count;
    }
    std::cout << count << " worlds with " << what << ":";
    for (const Counted& counted : kCountedOfFleets)
        std::cout << "\n  " << total.*counted.count << " " << counted.name;
    std::cout << "\n";
    for (const Counted& counted : kCountedOfFleets) {
        INFO(counted.name);
        CHECK((count < 30 || total.*counted.count > 0));
    }
}

TEST_CASE("worlds with hubs and edges converge and lose nothing") {
    run_fleets(Shape::fleet, "edges", "SKERRY_SIM_FLEETS", 20);
}

TEST_CASE("worlds whose nodes hold different domains converge and lose nothing") {
    run_fleets(Shape::domains, "domains", "SKERRY_SIM_DOMAINS", 40);
}

// A month of edges that are away for days: two hundred of them in ./test --long.
TEST_CASE("a fleet of three hubs and many edges, often away, converges") {
    const bool large = number_from("SKERRY_SIM_LARGE", 0) != 0;
    const Outcome outcome =
        World(1, {}, nullptr, large ? Shape::fleet_of_200 : Shape::fleet_of_40).run();
    INFO(outcome.failure.value_or("no failure"));
    CHECK(!outcome.failure);
    const Coverage& coverage = outcome.coverage;
    std::cout << coverage.edges << " edges, " << coverage.absences << " absences, "
              << coverage.commands << " commands, " << coverage.passed_on << " batches passed on, "
              << coverage.hubs_left << " hubs left, " << coverage.pulls << " pulls, "
              << coverage.pulls_full << " of all leaves\n";
    CHECK(coverage.edges == (large ? 200 : 40));
    CHECK(coverage.passed_on > 0);
    CHECK(coverage.hubs_left > 0);
    CHECK(coverage.pulls_full == 0);
}

TEST_CASE("a seed gives the same world twice") {
    for (const std::uint64_t seed : {3U, 14U, 15U, 92U, 65U}) {
        INFO(replay(seed));
        CHECK(World(seed, {}).run().trace == World(seed, {}).run().trace);
    }
}

// ---- what the simulator has found

// Seeds of the worlds as they were made then. Whoever changes sim/ makes other worlds of them: what
// shows a fix for good is its control (controls_test.cpp), or a test of its own beside its code.

TEST_CASE("what a peer holds only behind its fresh checkpoint is pulled") {
    must_hold(34);
    must_hold(64);
    must_hold(68);
}

TEST_CASE("what joins behind a flip is not read before the flip is durable") { must_hold(741); }

TEST_CASE("a pull that is given up while an earlier one drains leaves the drain alone") {
    must_hold(308);
}

TEST_CASE("a leaf that changes by what the asker has is compared again") {
    must_hold(553);
    must_hold(681);
}

TEST_CASE("cancels that only markers hold outlive a full reconcile") { must_hold(4096); }
TEST_CASE(
    "an edge holds what is stable before it is a member, and with a name of another's no more") {
    for (const std::uint64_t seed : {1449U, 1278U}) {
        INFO(replay(seed));
        CHECK(World(seed, {}, nullptr, Shape::fleet).run().failure.value_or("passes") == "passes");
    }
}

TEST_CASE("what an edge or its hub has missed of reports and cuts comes again") {
    for (const std::uint64_t seed : {397U, 1123U, 1210U, 3113U}) {
        INFO(replay(seed));
        CHECK(World(seed, {}, nullptr, Shape::fleet).run().failure.value_or("passes") == "passes");
    }
}

TEST_CASE("an edge whose hub has lost its disk finds it again as a hub") {
    INFO(replay(2346));
    CHECK(World(2346, {}, nullptr, Shape::fleet).run().failure.value_or("passes") == "passes");
}

TEST_CASE("a log is not followed from a pull that began before both held what they hold") {
    for (const std::uint64_t seed : {6U, 332U, 395U, 429U}) {
        INFO(replay(seed));
        CHECK(World(seed, {}, nullptr, Shape::domains).run().failure.value_or("passes") ==
              "passes");
    }
}

TEST_CASE("CRDT.VERIFY names the shard and the bucket of a row that a disk has lost") {
    std::uint64_t named = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        INFO("seed " << seed);
        const Outcome outcome = World(seed, {.lose_row_at_end = true}).run();
        CHECK(outcome.failure.value_or("no failure") == "no failure");
        named += outcome.coverage.damage_named;
    }
    CHECK(named > 60);  // by those who have the row, and by the one that has not
}

void must_mend(Sabotage::Rot rot, std::uint64_t seeds) {
    Coverage total;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        INFO("seed " << seed);
        const Outcome outcome = World(seed, {.rot_at_end = rot}).run();
        CHECK(outcome.failure.value_or("no failure") == "no failure");
        total.rotten_rows += outcome.coverage.rotten_rows;
        total.alarms += outcome.coverage.alarms;
        total.repairs += outcome.coverage.repairs;
        total.repaired_leaves += outcome.coverage.repaired_leaves;
    }
    std::cout << seeds << " worlds: " << total.rotten_rows << " rotten rows, " << total.alarms
              << " alarms, " << total.repairs << " repairs, " << total.repaired_leaves
              << " leaves repaired\n";
    CHECK(total.rotten_rows > seeds);
    CHECK(total.repaired_leaves > seeds / 2);
    CHECK((rot == Sabotage::Rot::silent || total.alarms > seeds / 10));
}
TEST_CASE("what rots unseen in the rows of one node comes back with CRDT.VERIFY REPAIR") {
    must_mend(Sabotage::Rot::silent, number_from("SKERRY_SIM_ROT", 60));
}
TEST_CASE("what rots while clients go on is alarmed, repaired, and lost nowhere") {
    must_mend(Sabotage::Rot::in_use, number_from("SKERRY_SIM_ROT", 60));
}

// ---- the simulator itself: each way of breaking the driver is found

// Why the first of 500 seeds that fails (with such a text) does; with its number.
std::string first_failure(Sabotage sabotage, std::string_view with = {}) {
    for (std::uint64_t seed = 1; seed <= 500; ++seed)
        if (const Outcome outcome = World(seed, sabotage).run();
            outcome.failure && outcome.failure->find(with) != std::string::npos)
            return "seed " + std::to_string(seed) + " " + *outcome.failure;
    return "none of the first 500 seeds fails";
}

TEST_CASE("publishing before the commit is durable is found") {
    CHECK_THAT(first_failure({.publish_before_durable = true}),
               Catch::Contains("but its writer only up to"));
}
TEST_CASE("acknowledging before the commit is durable is found") {
    CHECK_THAT(first_failure({.acknowledge_before_durable = true}),
               Catch::Contains("an acknowledged write"));
}
TEST_CASE("writing on under the old id after a crash is found") {
    CHECK_THAT(first_failure({.reuse_writer = true}, "two states"),
               Catch::Contains("at one clock"));
}
TEST_CASE("a checkpoint ahead of the log is found") {
    CHECK_THAT(first_failure({.checkpoint_before_durable = true}, "before the checkpoint"),
               Catch::Contains("before the checkpoint"));
}
TEST_CASE("a log cut before its checkpoint is found") {
    CHECK_THAT(first_failure({.drop_log_early = true}, "does not open"),
               Catch::Contains("does not open"));
}
TEST_CASE("a restored snapshot that keeps its writer id is found") {
    CHECK_THAT(first_failure({.restore_keeps_writer = true}, "two states"),
               Catch::Contains("at one clock"));
}
TEST_CASE("a removal without a dot is found") {
    CHECK_THAT(first_failure({.remove_locally = true}, "two states"),
               Catch::Contains("at one clock"));
}
TEST_CASE("half a checkpoint is found, its clocks ahead of its leaves") {
    CHECK_THAT(first_failure({.halves = SimKv::Halves::clocks_first}, "two states"),
               Catch::Contains("at one clock"));
}
TEST_CASE("half a checkpoint is found, its leaves ahead of their clock") {
    CHECK_THAT(first_failure({.halves = SimKv::Halves::leaves_first}, "two states"),
               Catch::Contains("at one clock"));
}
TEST_CASE("a checkpoint that leaves out a row is found") {
    CHECK_THAT(first_failure({.lose_rows = true}), Catch::Contains("a row that is not there"));
}

}  // namespace
}  // namespace skerry::sim
