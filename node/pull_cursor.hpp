// node/pull_cursor.hpp — where a pull goes on after it was interrupted, by its process too: the cursor of its last stage record.
//
// Sound    the record lies in the log behind all that made the base durable, and behind the stages that the base counts in:
//          whatever a crash leaves of the log, it leaves them with it.
// Server   any whose clock covers `seen`: what a state is follows from its clock, and the order of rows is the same
//          everywhere. As a rule it is the same boot, or the same node after a restart.
// Full     a full reconcile goes on in the pass in which it was; in the comparing one with the runs that were left. Leaves that
//          were staged behind this record are staged all the same, and covered by Store::staged_clocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/result.hpp"
#include "crdt/version_vector.hpp"

namespace skerry {

// Behind a purge floor (node/replication_full.cpp): what is outside the base; what else differs; what has changed meanwhile. Or
// all there is.
enum class Full : std::uint8_t { none, pulling, comparing, closing, all };

// Of the shards that are compared, by their place in the list, those that are still to be: [first, end), the first of them from
// `from` on, a place as in node/stretch.hpp.
struct CompareRun {
    std::uint64_t first = 0;
    std::uint64_t end = 0;
    std::string from;
    friend bool operator==(const CompareRun&, const CompareRun&) = default;
};

struct PullCursor {
    std::uint64_t nonce = 0;  // of the server's boot
    ShardClocks base;
    ShardClocks pass_clocks;  // at the first chunk of this pass
    ShardClocks seen;         // at the last chunk; never less than before
    std::string cursor;       // the server's; empty: a pass begins
    // So far, for whoever looks on.
    std::uint64_t leaves = 0;
    std::uint64_t bytes = 0;
    std::uint64_t spent_ms = 0;
    bool whole = false;  // goes on only if nothing foreign has come
    ShardClocks floors;  // of all servers so far
    Full full = Full::none;
    std::uint64_t foreign = 0;  // a whole one: what of others was here as it began
    bool moved = false;         // more than one boot has served it
    ShardClocks compared;       // full: the shards to compare, and the base in them
    std::vector<CompareRun> runs;
};
[[nodiscard]] std::string encode(const PullCursor& cursor);
// Errors: malformed.
[[nodiscard]] Result<PullCursor> decode_pull_cursor(std::string_view bytes);

// Is every clock of `wanted` covered by that of its shard?
[[nodiscard]] bool covers_all(const ShardClocks& clocks, const ShardClocks& wanted);

}  // namespace skerry
