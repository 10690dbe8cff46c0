// store/stage.hpp — the table of staged leaves: what a pull has brought and no row holds yet.
//
// Key      session 8 | place      a leaf; its place is its row key, and behind that of a key's own row the leaf's kind 1
//          session 8 | shard 2 | 255 | stage 8    the clock that the leaves of one stage record had in one shard
// Value    [stage, key, sub-key, leaf]            stage: the log position of the record that brought it
//          clock
// Order    that of rows, and a key's own leaves before its elements: a key is a range, a shard is a range.
// Again    a later chunk of one session replaces the leaf: it comes from the same server at a clock not before.
// Thread   any one: functions of a snapshot.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/version_vector.hpp"
#include "store/kv.hpp"
#include "store/record.hpp"
#include "store/row.hpp"

namespace skerry {

// Where a leaf stands among those of its session.
[[nodiscard]] std::string stage_place(const RowAddress& address, LeafKind kind,
                                      const ElementOrder& element);
// All places of a key are at or after the first, and before the second.
[[nodiscard]] std::string stage_places_from(const RowAddress& address);
[[nodiscard]] std::string stage_places_end(const RowAddress& address);
// The row that a leaf belongs to.
[[nodiscard]] std::string_view row_of_place(std::string_view place);

[[nodiscard]] std::string stage_key(std::uint64_t session, std::string_view place);
[[nodiscard]] std::string stage_clock_key(std::uint64_t session, ShardId shard, LogPosition stage);
[[nodiscard]] std::string encode_staged(LogPosition stage, const StagedLeaf& staged);
[[nodiscard]] std::string encode_stage_clock(const VersionVector& clock);
// Errors: corrupt.
[[nodiscard]] Result<VersionVector> decode_stage_clock(std::string_view value);

struct StagedRow {
    std::string place;
    RowAddress address;
    StagedLeaf staged;
    VersionVector clock;  // of the chunk that brought it
};

// The staged leaves of a session with from <= place < to, in order, up to `count` of them and about
// a MiB; an empty `to` has no upper end. Fewer than `count` does not say that there are no more.
// Errors: io_failed, corrupt.
[[nodiscard]] Result<std::vector<StagedRow>> read_staged(KvReader& stored, std::uint64_t session,
                                                         std::string_view from, std::string_view to,
                                                         std::size_t count);

// Is any leaf of the shard staged, from this place on?   Errors: io_failed, corrupt.
[[nodiscard]] Result<bool> any_staged(KvReader& stored, std::uint64_t session, ShardId shard);

// Up to `count` keys of rows of other sessions than these.   Errors: io_failed, corrupt.
[[nodiscard]] Result<std::vector<std::string>> keys_of_other_sessions(
    KvReader& stored, const std::vector<std::uint64_t>& kept, std::size_t count);

}  // namespace skerry
