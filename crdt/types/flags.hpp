// crdt/types/flags.hpp — disable-wins flag, which is also the member of a remove-wins set.
//
// Leaf     an entry's payload is 'E' (enabled, added) or 'D' (disabled, removed); both are live entries.
// Wins     a concurrent disable beats an enable: on while an 'E' lives and no 'D' does.
// Cost     O(writers of that leaf). A 'D' stays until an enable has seen it: remove-wins cannot forget removals.
// Source   Shapiro et al., "A comprehensive study of Convergent and Commutative Replicated Data Types",
//          INRIA RR-7506; flags as in riak_dt (riak_dt_od_flag). Enable-wins is crdt/types/presence.hpp.
#pragma once

#include "crdt/leaf.hpp"

namespace skerry::disable_wins {

[[nodiscard]] bool enabled(const Leaf& leaf);
[[nodiscard]] LeafDelta enable(const Leaf& seen, const Dot& dot, Hlc now);
[[nodiscard]] LeafDelta disable(const Leaf& seen, const Dot& dot, Hlc now);

}  // namespace skerry::disable_wins
