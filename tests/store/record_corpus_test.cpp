// tests/store/record_corpus_test.cpp — replays tests/corpus/record through the fuzz entry; run from the source directory.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/catch.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

TEST_CASE("record_fuzz: the corpus passes", "[store][record]") {
    int files = 0;
    for (const auto& file : std::filesystem::directory_iterator("tests/corpus/record")) {
        INFO(file.path());
        std::ifstream in(file.path(), std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(in), {}};
        CHECK(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                     bytes.size()) == 0);
        ++files;
    }
    CHECK(files >= 5);
}
