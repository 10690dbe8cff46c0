// store/check.hpp — does what lies on disk keep its promises? Looks at one snapshot and at a log, and changes neither.
//
// State    every row of every table decodes and stands where its content says; counts, digests and key counts are those
//          of the rows; index rows above the floor and entries are a bijection; no entry is beyond its shard's clock. Staged leaves decode; a shard
//          into which some of a large flip still have to join counts them already, so its sums are not compared.
//          What a key says of its elements (ElementSums) is true of them, what is masked left out.
// Log      every record decodes and continues the clocks; checkpoint and log meet.
// Replay   what a start would do, on a memtable that is thrown away.
// Order    ask for the replay only when nothing was found before: Store asserts on what it has written itself.
// Cost     one pass over all rows, one look-up for each entry above the floor; memory: clocks, and the memtable of a start.
#pragma once

#include <absl/functional/function_ref.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "store/kv.hpp"
#include "store/log.hpp"
#include "store/row.hpp"

namespace skerry {

struct Finding {
    std::string where;
    std::string what;
};
// Called for each finding, in no promised order.
using FindingReport = absl::FunctionRef<void(Finding finding)>;
// Called now and then, so that somebody who waits sees that work goes on.
using CheckProgress =
    absl::FunctionRef<void(std::string_view step, std::uint64_t done, std::uint64_t total)>;

struct CheckedState {
    std::optional<StateMeta> meta;  // nullopt: no checkpoint yet
    std::map<ShardId, ShardMeta> shards;
    std::uint64_t keys = 0;      // that exist
    std::uint64_t key_rows = 0;  // these and removed ones
    std::uint64_t elements = 0;
    std::uint64_t entries = 0;
    std::uint64_t index_rows = 0;
    std::uint64_t deadlines = 0;
    std::uint64_t tombstones = 0;  // leaves with nothing but REMOVED markers
    std::uint64_t staged = 0;      // leaves that a pull has brought and no row holds yet
};

// `self`: whoever wrote the directory last, if that is known; only then can the table of deadlines
// be compared both ways. A table that cannot be read on is a finding, too.
[[nodiscard]] CheckedState check_state(KvReader& stored, std::optional<ReplicaId> self,
                                       FindingReport report, CheckProgress progress);

struct CheckedLog {
    LogPosition first;
    LogPosition last;
    std::uint64_t to_replay = 0;    // records behind the checkpoint
    std::uint16_t shard_count = 0;  // as the checkpoint or the boot records say; 0: neither does
    std::uint64_t hash_seed = 0;    // the same
    std::map<ShardId, VersionVector> clocks;  // at the end of the log
    Hlc newest;                               // of all writes in state and log
};
[[nodiscard]] CheckedLog check_log(const Log& log, const CheckedState& state, FindingReport report,
                                   CheckProgress progress);

// How many keys there are after it. `stored` may be null: no checkpoint yet. Requires: nothing was
// found, and `checked.shard_count` is not 0.   Errors: those of Store::open.
[[nodiscard]] Result<std::uint64_t> check_replay(Log& log, KvReader* stored,
                                                 const CheckedLog& checked, WallTime now);

}  // namespace skerry
