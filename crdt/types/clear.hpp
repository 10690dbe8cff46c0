// crdt/types/clear.hpp — a clear: one marker that removes every element of a collection, or every key that a database has in a
// shard, that its writer had seen.
//
// Leaf     one per key (LeafKind::clear), and one per database in a shard (LeafKind::flush). An entry is a REMOVED marker
//          whose payload is a clock: that of the shard where the clear ran, before its own dot. It is transport: what it
//          removes is kept apart as a mask, the joined clocks of the clears of a key or a database, until nothing is
//          left that the mask covers (docs/decisions/0011).
// Masks    an entry of what it reaches, at or below the mask, is absent: it meets no join, counts nowhere, is sent to
//          nobody.
// Wins     what the clear had not seen survives: add wins, as with removals one by one.
// Counters a payload that goes on growing cannot say what it was at a clock. Elements that count (value::counts) are
//          removed one by one beside the clear, and the markers with cancels that this leaves are not masked.
// Source   the causal context as a tombstone: Almeida, Shoker, Baquero, arXiv:1603.01529, section 7.2 (remove-all).
#pragma once

#include "crdt/leaf.hpp"
#include "crdt/leaf_key.hpp"
#include "crdt/result.hpp"

namespace skerry::clear {

// Elements of these kinds go with a clear.
[[nodiscard]] constexpr bool reaches(LeafKind kind) {
    return kind == LeafKind::member || kind == LeafKind::field;
}
[[nodiscard]] constexpr bool is_clear(LeafKind kind) {
    return kind == LeafKind::clear || kind == LeafKind::flush;
}
// Leaves of these kinds go with a clear of their database.
[[nodiscard]] constexpr bool flushes(LeafKind kind) {
    return reaches(kind) || (is_key_level(kind) && !is_clear(kind));
}

// The clock that an entry of a clear leaf covers.   Errors: malformed.
[[nodiscard]] Result<VersionVector> decode(const Entry& entry);
// The clocks of all entries, joined. Requires: each decodes.
[[nodiscard]] VersionVector covered(const Leaf& clears);
// The same with the clears themselves: a shard whose clock this covers has nothing that they had not seen.
[[nodiscard]] VersionVector covered_with(const Leaf& clears);
// Supersedes the clears seen: their clocks are within `clock`, that of the shard before `dot`.
[[nodiscard]] LeafDelta all(const Leaf& seen, const Dot& dot, Hlc now, const VersionVector& clock);

[[nodiscard]] inline bool masked(const Entry& entry, const VersionVector& mask) {
    return mask.contains(entry.dot()) && (entry.live() || entry.payload.empty());
}
[[nodiscard]] bool any_masked(const Leaf& leaf, const VersionVector& mask);
// Drops what is masked.
void unmask(Leaf& leaf, const VersionVector& mask);

}  // namespace skerry::clear
