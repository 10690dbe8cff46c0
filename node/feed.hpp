// node/feed.hpp — what a node serves to those that missed something: its log as a feed, and its checkpoint as leaves.
//
// Fetch    the records of one chain (net/message.hpp) in a range of positions, each with the clock entries that came between
//          and are not those of such a record. What the asker has written itself comes as a position alone.
// Pull     leaves with a dot outside the base, from one read transaction a chunk, in row order. A shard whose index reaches
//          below the base is read through the index, else wholly. The server keeps nothing between two requests.
// Floor    a base that does not cover what was purged here is answered need_full, at every chunk: leaves are missing here
//          that would have told the asker what has died (docs/decisions/0012).
// Source   DESIGN "Live stream" and "Pull", drawn in docs/PROTOCOL.md.
// Thread   any one: functions of a log and of a snapshot.
#pragma once

#include "net/message.hpp"
#include "store/kv.hpp"
#include "store/log.hpp"
#include "store/record.hpp"
#include "store/row.hpp"

namespace skerry {

// Who asks, and which shards it gets to see. A record of which nothing is left is not there for it.
struct Asker {
    ReplicaId writer;
    Holdings holds;
    std::uint16_t slot_shard_count = 0;

    [[nodiscard]] bool gets(ShardId shard) const { return holds.holds(shard, slot_shard_count); }
    [[nodiscard]] bool gets_all(const Batch& batch) const;
    // Of a batch; nullopt: nothing.
    [[nodiscard]] std::optional<std::string> part_of(const Batch& batch,
                                                     std::string_view bytes) const;
};
[[nodiscard]] FetchReply serve_fetch(const Log& log, const FetchRequest& request,
                                     std::uint64_t nonce, LogPosition durable, const Asker& asker);

// The batch of one record; nullopt: no longer kept, or none.
[[nodiscard]] std::optional<std::string> read_body(const Log& log, LogPosition position,
                                                   const Asker& asker);

// Errors: io_failed, corrupt. Requires: the base names shards of this cluster only.
[[nodiscard]] Result<PullChunk> serve_pull(KvReader& stored, const PullRequest& request);

}  // namespace skerry
