// tests/fuzz/resp_fuzz.cpp — any bytes, whole and cut in two: the same requests, the same error, nothing out of bounds.
//
// With clang and SKERRY_FUZZ it is a libFuzzer target (resp_fuzz tests/corpus/resp); else tests/node/resp_corpus_test.cpp
// calls the same function with every file of tests/corpus/resp.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "crdt/assert.hpp"
#include "node/resp.hpp"

namespace {

struct Seen {
    std::vector<std::vector<std::string>> requests;
    std::string error;
    std::size_t left = 0;
    friend bool operator==(const Seen&, const Seen&) = default;
};

void take_all(skerry::RequestParser& parser, std::string& pending, Seen& seen) {
    std::string_view input = pending;
    for (;;) {
        switch (parser.next(input)) {
            case skerry::RequestParser::Outcome::request:
                ASSERT(!parser.arguments().empty());
                seen.requests.emplace_back(parser.arguments().begin(), parser.arguments().end());
                continue;
            case skerry::RequestParser::Outcome::error:
                seen.error = parser.error();
                break;
            case skerry::RequestParser::Outcome::incomplete:
                break;
        }
        break;
    }
    pending = std::string(input);
    seen.left = seen.error.empty() ? pending.size() : 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
    const std::string all(reinterpret_cast<const char*>(data), bytes);
    Seen whole;
    {
        skerry::RequestParser parser;
        std::string pending = all;
        take_all(parser, pending, whole);
    }
    const std::size_t cut = bytes == 0 ? 0 : data[bytes / 2] % (bytes + 1);
    Seen halves;
    skerry::RequestParser parser;
    std::string pending = all.substr(0, cut);
    take_all(parser, pending, halves);
    if (halves.error.empty()) {
        pending += all.substr(cut);
        take_all(parser, pending, halves);
    }
    ASSERT(whole == halves);
    return 0;
}
