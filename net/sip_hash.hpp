// net/sip_hash.hpp — SipHash-2-4: a hash under a key, so that who does not know the key cannot prepare collisions.
//
// Why      what is compared between nodes is chosen by clients, and by peers: crdt/hash.hpp is no defence against either.
// Source   Aumasson, Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012; its test vector is in the tests.
#pragma once

#include <cstdint>
#include <string_view>

namespace skerry {

struct SipKey {
    std::uint64_t k0 = 0;
    std::uint64_t k1 = 0;
    friend bool operator==(const SipKey&, const SipKey&) = default;
};

[[nodiscard]] std::uint64_t sip_hash(const SipKey& key, std::string_view bytes);

}  // namespace skerry
