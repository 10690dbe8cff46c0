// node/glob.hpp — glob patterns as KEYS, SCAN and CONFIG GET take them.
//
// Form     * any run of bytes, ? one byte, [abc] [^a] [a-z] one of a class, \ takes the next byte as it is.
// Cost     O(pattern * text) in the worst case, whatever the pattern: no exponential backtracking.
// Source   stringmatchlen() of Redis 7.0, its behaviour on unfinished classes and escapes included.
#pragma once

#include <cstdint>
#include <string_view>

namespace skerry {

enum class GlobCase : std::uint8_t { sensitive, insensitive };

[[nodiscard]] bool glob_matches(std::string_view pattern, std::string_view text,
                                GlobCase letters = GlobCase::sensitive);

}  // namespace skerry
