// node/pull_cursor.hpp — where a pull goes on after it was interrupted, by its process too: the cursor of its last stage record.
//
// Sound    the record lies in the log behind all that made the base durable, and behind the stages that the base counts in:
//          whatever a crash leaves of the log, it leaves them with it.
// Server   any whose clock covers `seen`: what a state is follows from its clock, and the order of rows is the same
//          everywhere. As a rule it is the same boot, or the same node after a restart.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "crdt/result.hpp"
#include "crdt/version_vector.hpp"

namespace skerry {

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
};
[[nodiscard]] std::string encode(const PullCursor& cursor);
// Errors: malformed.
[[nodiscard]] Result<PullCursor> decode_pull_cursor(std::string_view bytes);

// Is every clock of `wanted` covered by that of its shard?
[[nodiscard]] bool covers_all(const ShardClocks& clocks, const ShardClocks& wanted);

}  // namespace skerry
