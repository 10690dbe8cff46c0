// crdt/leaf.hpp — the leaf: the smallest stored, replicated and joined piece of a key, and the one join.
//
// Shape    at most one entry per writer, sorted by writer: writer -> (seq, hlc, payload | REMOVED).
// Rules    R1 an operation supersedes its writer's own earlier entry; R2 every mutation takes a dot and leaves an
//          entry; R3 an operation lists exactly the dots that it supersedes, all observed where it ran.
// Context  the clock of the shard: a dot that the clock covers and the leaf does not hold is dead.
// Cost     every operation O(writers of the leaf).
// Source   dot stores and causal contexts: Almeida, Shoker, Baquero, "Delta State Replicated Data Types",
//          arXiv:1603.01529; decomposed by element as in Brown et al., "Big(ger) Sets", arXiv:1605.06424.
#pragma once

#include <absl/container/inlined_vector.h>

#include <algorithm>
#include <string>
#include <vector>

#include "crdt/hlc.hpp"
#include "crdt/ids.hpp"
#include "crdt/version_vector.hpp"

namespace skerry {

// What one writer has in a leaf. The payload's meaning belongs to the type; a REMOVED marker may
// carry one too.
struct Entry {
    ReplicaId replica;
    Seq seq;
    Hlc hlc;
    bool removed = false;
    std::string payload;

    [[nodiscard]] Dot dot() const { return Dot{replica, seq}; }
    [[nodiscard]] bool live() const { return !removed; }
    friend bool operator==(const Entry&, const Entry&) = default;
};

// What one mutator returns: the new entry, and the other writers' dots that it supersedes (its own
// earlier entry goes by R1). Sorted by replica.
struct LeafDelta {
    Entry entry;
    std::vector<Dot> superseded;
    friend bool operator==(const LeafDelta&, const LeafDelta&) = default;
};

class Leaf {
  public:
    using Entries = absl::InlinedVector<Entry, 1>;

    [[nodiscard]] const Entry* of(ReplicaId replica) const;
    [[nodiscard]] bool any_live() const { return std::ranges::any_of(entries_, &Entry::live); }
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    [[nodiscard]] std::size_t count() const { return entries_.size(); }
    [[nodiscard]] auto begin() const { return entries_.begin(); }
    [[nodiscard]] auto end() const { return entries_.end(); }

    // The dots of the other writers, for LeafDelta::superseded.
    [[nodiscard]] std::vector<Dot> dots_of_others(ReplicaId self) const;

    // Is any entry outside `clock`?
    [[nodiscard]] bool outside(const VersionVector& clock) const;

    // Applies an operation whose dependencies have been seen. A dot already present or older than
    // its writer's entry changes nothing. True iff the leaf changed.
    bool apply(LeafDelta delta);

    // Replaces or inserts the entry of its writer, as decoding and the join need it.
    void put(Entry entry);

    template <class Unwanted>
    void erase_if(Unwanted unwanted) {
        entries_.erase(std::remove_if(entries_.begin(), entries_.end(), unwanted), entries_.end());
    }

    friend bool operator==(const Leaf&, const Leaf&) = default;

  private:
    Entries entries_;
    friend struct LeafAtClock;
};

// A leaf together with the clock at which it was read: the smallest thing that joins.
struct LeafAtClock {
    Leaf leaf;
    VersionVector clock;

    // A writer in both: the larger seq. In one only: kept iff its seq is beyond the other's clock.
    // True iff it grew.
    bool join(const LeafAtClock& other) noexcept;
    friend bool operator==(const LeafAtClock&, const LeafAtClock&) = default;
};

// The join without copies: `mine` at `my_clock` becomes the join with `theirs` at `their_clock`;
// the clocks are the caller's to join. True iff `mine` changed.
bool join_leaf(Leaf& mine, const VersionVector& my_clock, const Leaf& theirs,
               const VersionVector& their_clock);

// The join of repair (docs/decisions/0013), for two states of one clock that should be equal and are not: no clock says
// which side is right, so nothing is taken for dead. Per writer the greater entry: by seq, then live before removed, then
// hlc and payload. True iff `mine` changed.
bool unite_leaf(Leaf& mine, const Leaf& theirs);

}  // namespace skerry
