// tests/fuzz/message_fuzz.cpp — libFuzzer over decode(): any bytes are an error or a message that survives a round trip.
//
// Built with clang and -DSKERRY_FUZZ=ON; run from the root: message_fuzz tests/corpus/message
// What it finds goes to tests/corpus/message, which the ordinary test replays.
#include <cstddef>
#include <cstdint>

#include "tests/net/message_samples.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t count) {
    skerry::decodes_soundly_sealed({reinterpret_cast<const char*>(data), count});
    return 0;
}
