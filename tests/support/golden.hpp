// tests/support/golden.hpp — recorded bytes in tests/golden/: reading them, and writing them anew on purpose.
//
// Anew     SKERRY_WRITE_GOLDEN=1 in the environment, as tests/golden/README.md says; never otherwise.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "tests/catch.hpp"

namespace skerry::golden {

[[nodiscard]] inline bool writes_anew() { return std::getenv("SKERRY_WRITE_GOLDEN") != nullptr; }

[[nodiscard]] inline std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    INFO(path);
    REQUIRE(in.good());
    return {std::istreambuf_iterator<char>(in), {}};
}

inline void write(const std::filesystem::path& path, std::string_view bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << bytes;
    out.close();
    REQUIRE(out.good());
}

// Are the bytes the recorded ones?
inline void check(const std::filesystem::path& path, std::string_view bytes) {
    if (writes_anew()) write(path, bytes);
    INFO(path);
    CHECK(read(path) == bytes);
}

}  // namespace skerry::golden
