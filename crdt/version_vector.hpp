// crdt/version_vector.hpp — which events of each replica have been seen: the clock of a shard.
//
// Shape    ReplicaId -> highest contiguous Seq, inclusive; no gaps, no zero entries; sorted by ReplicaId.
// Cost     every operation O(replicas), a handful in practice.
// Source   Parker et al., "Detection of Mutual Inconsistency in Distributed Systems", IEEE TSE 1983.
#pragma once

#include <algorithm>
#include <compare>
#include <utility>
#include <vector>

#include "crdt/assert.hpp"
#include "crdt/ids.hpp"

namespace skerry {

class VersionVector {
  public:
    VersionVector() = default;
    VersionVector(std::initializer_list<std::pair<ReplicaId, Seq>> entries);

    [[nodiscard]] Seq at(ReplicaId replica) const {
        for (const auto& [r, seq] : entries_)
            if (r == replica) return seq;
        return Seq{};
    }
    [[nodiscard]] bool contains(const Dot& dot) const { return dot.seq <= at(dot.replica); }

    // Raises one entry; a smaller or equal seq changes nothing. True iff it grew.
    bool advance(const Dot& dot);

    // The least upper bound. True iff it grew.
    bool join(const VersionVector& other) noexcept;

    // The greatest lower bound: what both have seen.
    [[nodiscard]] VersionVector meet(const VersionVector& other) const;

    [[nodiscard]] bool covers(const VersionVector& other) const;
    [[nodiscard]] std::partial_ordering operator<=>(const VersionVector& other) const;
    [[nodiscard]] bool operator==(const VersionVector&) const = default;

    [[nodiscard]] bool empty() const { return entries_.empty(); }
    [[nodiscard]] auto begin() const { return entries_.begin(); }
    [[nodiscard]] auto end() const { return entries_.end(); }
    [[nodiscard]] std::size_t count() const { return entries_.size(); }
    // The events it covers.
    [[nodiscard]] std::uint64_t event_count() const;

  private:
    std::vector<std::pair<ReplicaId, Seq>> entries_;
};

// The clocks of several shards, by shard.
using ShardClocks = std::vector<std::pair<ShardId, VersionVector>>;

}  // namespace skerry
