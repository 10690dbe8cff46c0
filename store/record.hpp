// store/record.hpp — what a log record says: one commit, of ours or of a peer, or a step of a pull.
//
// batch   [1, writers, ranges, operations]: the dots (a, b] of one writer in each shard touched, then the operations in
//         the order applied. These very bytes are published. An operation: leaf key, delta; nil for the database and key
//         of the operation before it.
// remote  [2, source, batch]: a peer's batch, as received.
// passed  [7, source, batch]: the same of an edge's, which is published from here to the others (docs/decisions/0016).
// stage   [3, session, clocks, leaves, cursor]: leaf states of a pull's chunk, each at the clock of its shard then.
// flip    [4, session, clocks, gains, floors]: what is staged under the session joins; the shards' clocks join `clocks`, their
//         purge floors `floors`. Without gains the leaves join here; with them they join later, as they are touched
//         (docs/decisions/0010, 0012).
// repair  [6, shard, masks, leaves, recounts]: what leaves became by uniting them with a peer's (docs/decisions/0013), and
//         what clears had removed there; at the end the shard's digest and counts are made those of its rows.
// boot    [5, writer, nonce, shard count, hash seed]: a process began to write here.
// All MessagePack (crdt/codec.hpp). Kinds and forms are on disk and on the wire: docs/STORAGE.md, docs/PROTOCOL.md.
#pragma once

#include <absl/functional/function_ref.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "crdt/codec.hpp"

namespace skerry {

// The dots (after, last] of the batch's writer in one shard.
struct ShardRange {
    ShardId shard;
    Seq after;
    Seq last;
    friend bool operator==(const ShardRange&, const ShardRange&) = default;
};

struct Operation {
    LeafKey key;
    LeafDelta delta;
    friend bool operator==(const Operation&, const Operation&) = default;
};

struct Batch {
    ReplicaId writer;
    std::vector<ShardRange> ranges;  // by shard
    std::vector<Operation> operations;
};

// A batch that has reached either is closed, be it within a command: with one more operation it still
// fits a log record, and reading it back takes less than 1 GiB. What a command writes is bounded
// before it begins (node/database.hpp), so that only removals are cut.
inline constexpr std::size_t kBatchBytesMax = std::size_t{440} << 20;
inline constexpr std::size_t kBatchOperationsMax = std::size_t{2} << 20;

// Gathers operations as commands run, and becomes the bytes of a batch.
class BatchBuilder {
  public:
    void add(DatabaseId database, std::string_view key, LeafKind kind, std::string_view sub,
             const LeafDelta& delta);
    [[nodiscard]] bool empty() const { return operation_count_ == 0; }
    [[nodiscard]] std::size_t bytes() const { return operations_.size(); }
    [[nodiscard]] bool full() const {
        return operations_.size() >= kBatchBytesMax || operation_count_ >= kBatchOperationsMax;
    }
    // Appends the batch to `out` and begins anew.
    void finish(std::string& out, ReplicaId writer, const std::vector<ShardRange>& ranges);

  private:
    WriterTable writers_;
    std::string operations_;
    std::size_t operation_count_ = 0;
    std::size_t element_count_ = 0;  // of the array that holds them
    DatabaseId last_database_ = 0;
    std::string last_key_;
};

struct StagedLeaf {
    LeafKey key;
    Leaf leaf;
};
struct Stage {
    std::uint64_t session = 0;
    ShardClocks clocks;
    std::vector<StagedLeaf> leaves;
    std::string
        cursor;  // opaque here: where the pull goes on after a crash; empty: where the stage before it says
};
// What a shard gains when its staged leaves join. The numbers count modulo 2^64: they may fall.
struct ShardGain {
    ShardId shard;
    std::uint64_t digest = 0;
    // By database: of what a clear of it reaches, the digest; keys; those that have a deadline.
    std::array<std::uint64_t, kDatabaseCount> digests{};
    std::array<std::uint64_t, kDatabaseCount> keys{};
    std::array<std::uint64_t, kDatabaseCount> deadlines{};
    friend bool operator==(const ShardGain&, const ShardGain&) = default;
};
struct Flip {
    std::uint64_t session = 0;
    ShardClocks clocks;
    std::vector<ShardGain>
        gains;           // by shard, one for each shard with a staged leaf; none: see above
    ShardClocks floors;  // of the server that the leaves come from: markers at or below may be gone
};
// Of a key, or of its database in its shard: what clears have removed.
struct KeyMask {
    LeafKind kind = LeafKind::clear;  // or flush
    DatabaseId database = 0;
    std::string key;
    VersionVector clock;
};
struct Repair {
    ShardId shard;
    std::vector<KeyMask> masks;
    std::vector<StagedLeaf> leaves;
    bool recounts = false;  // the last one of a shard
};
struct Boot {
    ReplicaId writer;
    std::uint64_t nonce = 0;
    std::uint16_t shard_count = 0;  // of the cluster: all that is stored relies on it
    std::uint64_t hash_seed = 0;    // the same
};
struct Remote {
    std::string source;  // opaque here: which peer, which position
    std::string_view batch_bytes;
    Batch batch;
    bool passed_on = false;
};
using Record = std::variant<Batch, Remote, Stage, Flip, Boot, Repair>;

// Can the type read the payload? Decoding asks this of every entry; rows are decoded without.
[[nodiscard]] bool sound_payload(LeafKind kind, const Entry& entry);
// A step of a pull, told without reading it.
[[nodiscard]] bool is_stage(std::string_view bytes);
[[nodiscard]] Result<Batch> decode_batch(std::string_view bytes);
// The bytes of what of the batch lies in these shards; empty: nothing does.
[[nodiscard]] std::string part_of(const Batch& batch, absl::FunctionRef<bool(ShardId)> wanted,
                                  absl::FunctionRef<ShardId(const LeafKey&)> shard_of);
// Lifetime: Remote::batch_bytes points into `bytes`.   Errors: malformed, unsupported (a kind of a
// later version).
[[nodiscard]] Result<Record> decode_record(std::string_view bytes);

// Where a batch of a peer goes from here.
enum class Onward : std::uint8_t { stays, passed_on };
void append_remote(std::string& out, std::string_view source, std::string_view batch_bytes,
                   Onward onward);
void append_stage(std::string& out, const Stage& stage);
void append_flip(std::string& out, const Flip& flip);
void append_boot(std::string& out, const Boot& boot);
void append_repair(std::string& out, const Repair& repair);

}  // namespace skerry
