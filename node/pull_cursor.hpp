// node/pull_cursor.hpp — where a pull goes on after it was interrupted, by its process too: the cursor of its last stage record.
//
// Sound    the record lies in the log behind all that made the base durable, and behind the stages that the base counts in:
//          whatever a crash leaves of the log, it leaves them with it.
// Server   only the same boot of it: another one may have lost, under `interval`, what the stages hold.
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
    std::string cursor;       // the server's; empty: a pass begins
    bool whole = false;  // it began with nothing here: goes on only if nothing foreign has come
};
[[nodiscard]] std::string encode(const PullCursor& cursor);
// Errors: malformed.
[[nodiscard]] Result<PullCursor> decode_pull_cursor(std::string_view bytes);

}  // namespace skerry
