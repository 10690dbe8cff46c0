// tests/support/corpus.hpp — replays a corpus through the fuzz entry that the same executable links; run from the source directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/catch.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

namespace skerry {

// How many files there are. What one breaks ends the process, as it does under the fuzzer.
inline int replay_corpus(const std::filesystem::path& directory) {
    int files = 0;
    for (const auto& file : std::filesystem::directory_iterator(directory)) {
        INFO(file.path());
        std::ifstream in(file.path(), std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(in), {}};
        CHECK(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                     bytes.size()) == 0);
        ++files;
    }
    return files;
}

}  // namespace skerry
