#include "net/compress.hpp"

#include <random>

#include "tests/catch.hpp"

using namespace skerry;
namespace {
std::string noise(std::size_t bytes) {
    std::mt19937 rng(3);
    std::string out;
    for (std::size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(rng()));
    return out;
}
}  // namespace

TEST_CASE("compress: repeated text shrinks and comes back equal", "[net][compress]") {
    std::string text;
    while (text.size() < 100000) text += "user:" + std::to_string(text.size()) + " name=x ";
    const auto small = compress(text);
    REQUIRE(small.has_value());
    CHECK(small->size() < text.size() / 2);
    CHECK(decompress(*small, text.size()).value() == text);
    CHECK(decompress(*small, text.size() - 1).error().code == Code::too_large);
}

TEST_CASE("compress: what does not shrink by a tenth stays plain", "[net][compress]") {
    CHECK_FALSE(compress(noise(10000)).has_value());
    CHECK_FALSE(compress("").has_value());
    CHECK_FALSE(compress("a").has_value());
    CHECK_FALSE(compress("short").has_value());
    // Noise with a tail of one letter: the share of the tail decides.
    CHECK_FALSE(compress(noise(10000) + std::string(500, 'a')).has_value());
    CHECK(compress(noise(10000) + std::string(5000, 'a')).has_value());
}

TEST_CASE("compress: damaged input is an error or other bytes, never a crash or more memory",
          "[net][compress]") {
    const std::string small = *compress(std::string(5000, 'a') + noise(300));
    for (std::size_t cut = 0; cut < small.size(); ++cut)
        CHECK_FALSE(decompress(std::string_view(small).substr(0, cut), 100000).has_value());
    CHECK_FALSE(decompress(small + "x", 100000).has_value());
    CHECK_FALSE(decompress(small + small, 100000).has_value());
    std::mt19937 rng(4);
    for (int round = 0; round < 5000; ++round) {
        std::string damaged = small;
        damaged[rng() % damaged.size()] = static_cast<char>(rng());
        if (const auto plain = decompress(damaged, 100000)) CHECK(plain->size() <= 100000);
    }
}
