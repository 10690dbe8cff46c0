// crdt/types/presence.hpp — add-wins presence: a set member, an enable-wins flag, the birth mark of a collection.
//
// Leaf     present while any writer's entry is live; an entry has no payload.
// Wins     a concurrent add beats a remove: a remove supersedes only the dots that it has observed.
// Cost     add, remove: O(writers of that leaf); never O(members of the set).
// Source   Bieniusa et al., "An Optimized Conflict-free Replicated Set", arXiv:1210.3368.
// Differs  the context is the shard's clock, not the set's; a removal leaves a marker until it is causally stable.
#pragma once

#include "crdt/leaf.hpp"

namespace skerry::presence {

[[nodiscard]] inline bool present(const Leaf& leaf) { return leaf.any_live(); }

// The latest reading of a live entry: when the element last came into being. Zero if there is none.
[[nodiscard]] Hlc latest(const Leaf& leaf);

[[nodiscard]] LeafDelta add(const Leaf& seen, const Dot& dot, Hlc now);
[[nodiscard]] LeafDelta remove(const Leaf& seen, const Dot& dot, Hlc now);

}  // namespace skerry::presence
