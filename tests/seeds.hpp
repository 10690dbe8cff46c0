// tests/seeds.hpp — random tests that can be played again: a seed a run, and the command that replays a failure.
//
// Shape    without SKERRY_SEED the seeds 1, 2, ... count are run; with it that one alone.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sim/random.hpp"
#include "tests/catch.hpp"

namespace skerry::testing {

using sim::Random;

// Calls body(Random&) once a seed. What fails within prints the command that plays this seed alone.
template <class Body>
void for_each_seed(std::uint64_t count, Body body) {
    std::uint64_t first = 1;
    if (const char* given = std::getenv("SKERRY_SEED")) {
        first = std::strtoull(given, nullptr, 10);
        count = 1;
    }
    const std::string test = Catch::getResultCapture().getCurrentTestName();
    for (std::uint64_t seed = first; seed < first + count; ++seed) {
        // In two lines, because Catch2 breaks longer ones where a shell would not join them again.
        INFO("replay: SKERRY_SEED=" << seed << ' ' << program_invocation_name << " \\\n'" << test
                                    << '\'');
        Random random(seed);
        body(random);
    }
}

}  // namespace skerry::testing
