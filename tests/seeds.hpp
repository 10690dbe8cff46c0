// tests/seeds.hpp — random tests that can be played again: a seed a run, and the command that replays a failure.
//
// Shape    without SKERRY_SEED the seeds 1, 2, ... count are run; with it that one alone.
// Source   the generator is SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tests/catch.hpp"

namespace skerry::testing {

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    // 0 .. bound - 1; the bias does not matter here.
    std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }
    bool one_in(std::size_t chances) { return below(chances) == 0; }

  private:
    std::uint64_t state_;
};

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
