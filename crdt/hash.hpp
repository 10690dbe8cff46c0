// crdt/hash.hpp — the hashes of the project: checksums, row order, digests. Not against an adversary.
//
// Source   XXH3 (https://xxhash.com), included by hash.cpp alone; the values are on disk and on the wire.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

namespace skerry {

struct Hash128 {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend constexpr auto operator<=>(const Hash128&, const Hash128&) = default;
};

[[nodiscard]] std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);
[[nodiscard]] Hash128 hash128(std::string_view bytes, std::uint64_t seed = 0);

}  // namespace skerry
