// store/staging.hpp — where a pull stands in the store: leaves staged, a large flip measured, its leaves drained.
//
// Staging  leaves that came since the last image; earlier ones lie in the table of staged leaves (store/stage.hpp).
// Measure  before a large flip: what each shard gains by it, key by key. A key that is touched meanwhile is measured again.
// Drain    after it: the clocks, digests and counts are those of the joined state; the leaves join behind.
// Thread   core thread.
#pragma once

#include <absl/container/btree_set.h>

#include <map>
#include <optional>
#include <string>

#include "store/memtable.hpp"
#include "store/stage.hpp"

namespace skerry {

struct Staging {
    std::uint64_t session = 0;  // 0: none is open
    std::string cursor;
    std::map<std::string, std::string, std::less<>> rows;  // of Table::stage, in no image yet
    std::size_t bytes = 0;                                 // of these
    bool flushes = false;                                  // there is a clear of a database
    std::optional<Generation> frozen_in;                   // the last image that took some
};

struct Measure {
    ShardClocks clocks;  // that the flip goes to
    ShardClocks floors;  // that the purge floors go to
    std::string at;      // the place of the next leaf to look at
    std::map<ShardId, ShardGain> gains;
    // Staged clears of databases that were looked at: all is measured as if under their masks.
    std::map<std::pair<ShardId, DatabaseId>, VersionVector> flushes;
    // Measured, then touched: not counted in `gains` until measured again.
    absl::btree_set<RowAddress> touched;
};

struct Drain {
    std::uint64_t session = 0;
    LogPosition flipped;  // a key that changed there or later has no staged leaves left
    std::map<ShardId, VersionVector> before;  // V at which they join
    std::string at;                           // what lies before this place has joined
    std::size_t bytes = 0;                    // that joined leaves have taken since the last image
    std::optional<Generation>
        finished_in;  // all have joined; in the ordered store, too, once this image is written
};

}  // namespace skerry
