// store/reclaiming.hpp — where the removal of what clears have masked stands.
//
// Mask     of a key (ElementSums::mask): its elements' entries at or below it are absent, from the clear on; of a database
//          in a shard (DatabaseSums::mask): the entries of all its leaves.
// Walk     over the rows of one masked key: rows of nothing else go, the others lose what is masked. What a walk has
//          changed is in the image of the generation that it ended in. A walk that has found nothing drops the mask.
// Not yet  while leaves of a flip are to be drained into the shard: some may be masked.
// Thread   core thread.
#pragma once

#include <absl/container/btree_set.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/memtable.hpp"

namespace skerry {

struct ReclaimWalk {
    RowAddress address;
    bool found = false;     // something was masked
    bool in_store = false;  // what is in memory is done
    ElementOrder at{LeafKind::member, {}};
    std::string row;  // of the ordered store; empty: from the first on
};

// Over the keys of a database in a shard: each is put under the mask. One walk is enough, since nothing masked comes after.
struct DatabaseWalk {
    std::pair<ShardId, DatabaseId> place;
    KeyOrder from;
};

struct WalkedDatabase {
    Generation generation = 0;  // whose image has what the walk has changed
    std::pair<ShardId, DatabaseId> place;
    std::uint32_t flushes = 0;  // of the shard, then: a mask that has grown since is not dropped
};

struct Reclaiming {
    absl::btree_set<std::pair<ShardId, DatabaseId>> databases;  // to be walked
    std::optional<DatabaseWalk> database;                       // of one of these
    std::vector<WalkedDatabase> walked_databases;  // the mask goes when that image is written
    absl::btree_set<RowAddress> to_walk;
    std::optional<ReclaimWalk> walk;  // of one of these
    std::vector<std::pair<Generation, RowAddress>>
        walked;            // to be walked again when that image is written
    std::size_t rows = 0;  // changed since the last image
    WallTime imaged_at{};
};

}  // namespace skerry
