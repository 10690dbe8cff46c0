// crdt/types/deadline.hpp — when a key expires: the longest time to live wins.
//
// Leaf     a live entry holds a wall time (value::kNoDeadline = PERSIST) and the epochs of the string bases that its
//          EXPIRE had seen: their own deadlines (SET ... EX, or none) no longer count.
// Wins     among what is left, the latest time; a SET without a time to live counts as infinite.
// Cost     O(writers of that leaf + live bases of the key's string).
// Source   ours; docs/SEMANTICS.md, EXPIRE family.
#pragma once

#include <optional>
#include <vector>

#include "crdt/leaf.hpp"
#include "crdt/result.hpp"
#include "crdt/types/value.hpp"

namespace skerry::deadline {

struct Payload {
    WallTime at{};
    std::vector<Dot> covered;  // (writer, epoch) of bases, sorted
};
[[nodiscard]] Result<Payload> decode(const Entry& entry);

// When the key expires, and the replica that wrote that deadline and so issues the removal.
// nullopt: never.
struct Winner {
    WallTime at{};
    ReplicaId replica;
};
[[nodiscard]] std::optional<Winner> read(const Leaf& deadlines, const Leaf& string);

[[nodiscard]] LeafDelta set(const Leaf& seen, const Leaf& string_seen, const Dot& dot, Hlc now,
                            WallTime at);
[[nodiscard]] LeafDelta remove(const Leaf& seen, const Dot& dot, Hlc now);

}  // namespace skerry::deadline
