// store/leaf_walk.hpp — the leaves of a shard in row order, read in slices.
//
// Slices   a walk goes on at a WalkPlace, which names a row and not a position: it stays good over changes and restarts,
//          and means the same at every node.
// Cost     O(rows); keys that are not in memory are read past it, but for the key rows of collections.
// Thread   core thread.
#pragma once

#include "store/store.hpp"

namespace skerry {

// The next row: the first key at or behind `key`; or, inside a key, its first element at or behind `element`.
struct WalkPlace {
    DatabaseId database = 0;
    KeyOrder key;
    bool inside = false;
    ElementOrder element;
    friend constexpr auto operator<=>(const WalkPlace&, const WalkPlace&) = default;
};
// Behind all rows of a shard.
inline constexpr WalkPlace kWalkEnd{kDatabaseIdCount, {}, false, {}};

// Lifetime: the visit.
struct WalkedLeaf {
    const KeyRecord& record;
    LeafKind kind;
    const ElementOrder& element;
    std::string_view sub;
    const Leaf& leaf;
};
using VisitLeaf = absl::FunctionRef<void(const WalkedLeaf&)>;

// Visits the leaves of the rows, what is masked left out, from `place` on and before `to`, at most `row_count` rows, which it counts down; `place` is
// then where it goes on. True: it has come to `to`.
[[nodiscard]] bool walk_leaves(Store& store, ShardId shard, WalkPlace& place, const WalkPlace& to,
                               std::size_t& row_count, VisitLeaf visit);

}  // namespace skerry
