// store/stable_cut.hpp — what is known to be everywhere: the dots that every member which counts holds durably.
//
// Settled  beyond that, this store has all that those members had when they said so: an event that is concurrent with a dot of
//          the cut, and is not here, can only come from a member that does not count (docs/decisions/0012).
// Holders  of a shard only those are asked for what they have of it that hold it. Who is known not to hold it, and has written
//          there all the same, has begun to hold it since: its increments are treated as those of one who does not count.
// Use      dots below need no index row; leaves that hold only REMOVED markers below it are purged.
// Lineage  the upper half of a writer id, which a data directory keeps over its incarnations (node/identity.hpp).
#pragma once

#include <cstdint>
#include <vector>

#include "crdt/domain.hpp"
#include "crdt/version_vector.hpp"

namespace skerry {

struct StableCut {
    ShardClocks clocks;
    bool everybody = true;                 // no member is left out for its silence
    std::vector<std::uint64_t> lineages;   // of those that count, this node's too; sorted
    std::vector<PartHolder> partial = {};  // of all that are known; sorted by lineage
    friend bool operator==(const StableCut&, const StableCut&) = default;
};

}  // namespace skerry
