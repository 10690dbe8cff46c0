// crdt/ids.hpp — who writes and what they have written: replica ids, sequence numbers, dots.
//
// Source   dots and dotted causality: Almeida et al., "Scalable and Accurate Causality Tracking for Eventually
//          Consistent Stores", DAIS 2014.
// Differs  a sequence number counts the writes of one replica in one shard, so a dot names an event within a shard.
#pragma once

#include <compare>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>

namespace skerry {

// One incarnation of one replica; random, never used again once its state may have been lost. 0 =
// nobody.
struct ReplicaId {
    std::uint64_t value = 0;
    friend constexpr auto operator<=>(ReplicaId, ReplicaId) = default;
    [[nodiscard]] std::string text() const {
        char hex[20];
        std::snprintf(hex, sizeof hex, "r%016llx", static_cast<unsigned long long>(value));
        return hex;
    }
    // The upper half: a data directory keeps it over its incarnations (node/identity.hpp).
    [[nodiscard]] constexpr std::uint32_t lineage() const {
        return static_cast<std::uint32_t>(value >> 32);
    }
};

// Counts from 1; 0 = nothing seen.
struct Seq {
    std::uint64_t value = 0;
    friend constexpr auto operator<=>(Seq, Seq) = default;
    [[nodiscard]] constexpr Seq next() const { return Seq{value + 1}; }
};

struct Dot {
    ReplicaId replica;
    Seq seq;
    friend constexpr auto operator<=>(const Dot&, const Dot&) = default;
    [[nodiscard]] std::string text() const {
        return replica.text() + ":" + std::to_string(seq.value);
    }
};

// A shard of a domain: a run of hash slots (crdt/domain.hpp). All replicas of a cluster cut the slots alike.
struct ShardId {
    std::uint16_t value = 0;
    friend constexpr auto operator<=>(ShardId, ShardId) = default;
};

}  // namespace skerry

template <>
struct std::hash<skerry::ReplicaId> {
    std::size_t operator()(skerry::ReplicaId id) const noexcept {
        return std::hash<std::uint64_t>{}(id.value);
    }
};
