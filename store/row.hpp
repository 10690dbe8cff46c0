// store/row.hpp — what lies in the tables of the ordered store: row keys and row values (drawn in docs/STORAGE.md).
//
// rows       shard 2 | database 2 | order 8 | check 8 | 0                      a key: its bytes, key-level leaves, counts
//            shard 2 | database 2 | order 8 | check 8 | kind 1 | hash 16       an element: its sub-key and leaf
// ix         shard 2 | writer 8 | seq 8       -> row key, and behind it 'r' if the leaf holds only REMOVED markers
// deadlines  deadline 8                       | row key -> nothing
// meta       "state", "clock" + shard 2, "masked" + row key of a key
//
// order      slot 14 bits | hash 50 bits: a slot is a range, and a SCAN cursor is an order that survives restarts.
// check      64 more bits of the same hash. Integers big-endian, so that byte order is numeric order.
#pragma once

#include <absl/container/inlined_vector.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/codec.hpp"
#include "crdt/domain.hpp"
#include "crdt/hash.hpp"
#include "store/log.hpp"

namespace skerry {

inline constexpr std::uint8_t kStoreFormat = 5;

// Where a key stands among the keys of its database. Equal for equal keys at every node of a
// cluster.
struct KeyOrder {
    std::uint64_t order = 0;
    std::uint64_t check = 0;
    friend constexpr auto operator<=>(const KeyOrder&, const KeyOrder&) = default;
    [[nodiscard]] std::uint16_t slot() const { return static_cast<std::uint16_t>(order >> 50); }
    [[nodiscard]] std::uint64_t prefix() const { return order; }
};
[[nodiscard]] KeyOrder key_order(std::string_view key, std::uint64_t seed);

// Where an element stands among those of its key.
struct ElementOrder {
    LeafKind kind = LeafKind::member;
    Hash128 hash;
    friend constexpr auto operator<=>(const ElementOrder&, const ElementOrder&) = default;
    [[nodiscard]] std::uint64_t prefix() const {
        return std::uint64_t{static_cast<std::uint8_t>(kind)} << 56 | hash.high >> 8;
    }
};
[[nodiscard]] ElementOrder element_order(LeafKind kind, std::string_view sub, std::uint64_t seed);

void append_u16(std::string& out, std::uint16_t value);
void append_u64(std::string& out, std::uint64_t value);
[[nodiscard]] std::uint64_t read_u64(std::string_view bytes);  // Requires: 8 bytes.

inline constexpr std::size_t kKeyRowKeyBytes = 21;
inline constexpr std::size_t kElementRowKeyBytes = 37;

// The address of a key's row.
struct RowAddress {
    ShardId shard;
    DatabaseId database = 0;
    KeyOrder order;
    friend constexpr auto operator<=>(const RowAddress&, const RowAddress&) = default;
};
[[nodiscard]] std::string key_row_key(const RowAddress& address);
[[nodiscard]] std::string element_row_key(const RowAddress& address, const ElementOrder& element);
// The first possible row key at or after `order` in a database of a shard; and the first beyond
// that database.
[[nodiscard]] std::string rows_from(ShardId shard, DatabaseId database, std::uint64_t order);
[[nodiscard]] std::string rows_end(ShardId shard, DatabaseId database);
// The first beyond all databases of a shard.
[[nodiscard]] std::string rows_end(ShardId shard);
// The bounds of one kind of element of a key, from a hash on.
[[nodiscard]] std::string elements_from(const RowAddress& address, LeafKind kind, Hash128 from);
[[nodiscard]] std::string elements_end(const RowAddress& address, LeafKind kind);

struct RowKey {
    RowAddress address;
    std::optional<ElementOrder> element;  // nullopt: the key's own row
};
[[nodiscard]] Result<RowKey> parse_row_key(std::string_view bytes);

// How many live elements of each kind a key has. Indexed by element_index().
inline constexpr std::size_t kElementKinds = 3;
using ElementCounts = std::array<std::uint64_t, kElementKinds>;
[[nodiscard]] constexpr std::size_t element_index(LeafKind kind) {
    return kind == LeafKind::member ? 0 : kind == LeafKind::field ? 1 : 2;
}

struct ElementTotals {
    ElementCounts live{};
    std::uint64_t elements = 0;  // that have a row, removed ones too
    friend bool operator==(const ElementTotals&, const ElementTotals&) = default;
};

// What a key keeps of the elements that a clear reaches, so that none need be looked at when one comes.
struct ElementSums {
    std::uint64_t digest = 0;    // of their live entries, what is masked left out
    std::uint64_t counting = 0;  // of them that count: value::counts
    VersionVector highest;       // no such entry is beyond
    VersionVector mask;  // the clocks of clears, until no row holds anything that they cover
    friend bool operator==(const ElementSums&, const ElementSums&) = default;
};

// What a shard keeps of the leaves of a database that a clear of it reaches.
struct DatabaseSums {
    std::uint64_t digest = 0;  // of their live entries, what is masked left out
    bool counts = false;       // some of them may count: there has been one since the last clear
    VersionVector mask;        // the clocks of clears, until no row holds anything that they cover
    friend bool operator==(const DatabaseSums&, const DatabaseSums&) = default;
};

struct KeyRow {
    std::string key;
    std::vector<std::pair<LeafKind, Leaf>> leaves;  // by kind, none empty
    ElementTotals totals;
    ElementSums sums;
};
// Of such a row, from where its parts lie. Requires: `leaves` by kind, none empty.
using KeyLeaves = absl::InlinedVector<std::pair<LeafKind, const Leaf*>, 4>;
[[nodiscard]] std::string encode_key_row(std::string_view key, const ElementTotals& totals,
                                         const ElementSums& sums, const KeyLeaves& leaves);
[[nodiscard]] Result<KeyRow> decode_key_row(std::string_view bytes);

struct ElementRow {
    std::string sub;
    Leaf leaf;
};
[[nodiscard]] std::string encode_element(std::string_view sub, const Leaf& leaf);
[[nodiscard]] Result<ElementRow> decode_element_row(std::string_view bytes);

// Of the leaf that holds the dot: whether it holds only REMOVED markers. Such rows stay below the index floor until the
// leaf is purged: they say where there is something to purge.
enum class Indexed : std::uint8_t { live, removed };
[[nodiscard]] std::string ix_value(std::string_view row_key, Indexed indexed);
struct IxValue {
    std::string_view row_key;  // into the value
    Indexed indexed = Indexed::live;
};
[[nodiscard]] IxValue parse_ix_value(std::string_view value);
// In the meta table: the keys whose rows hold a mask.
inline constexpr std::string_view kMaskedPrefix = "masked";
[[nodiscard]] std::string masked_key(const RowAddress& address);
[[nodiscard]] Result<RowAddress> parse_masked_key(std::string_view bytes);

[[nodiscard]] std::string ix_key(ShardId shard, const Dot& dot);
[[nodiscard]] Result<Dot> parse_ix_key(std::string_view bytes);
[[nodiscard]] std::string deadline_key(WallTime at, const RowAddress& address);

// What the meta table holds.
struct ShardMeta {
    VersionVector clock;        // V at the checkpoint
    VersionVector ix_floor;     // no dot at or below it has a row in ix, but for purgeable markers
    VersionVector purge_floor;  // P: markers at or below it may be gone
    std::uint64_t digest = 0;   // of the live entries
    std::array<std::uint64_t, kDatabaseCount>
        keys{};  // existing keys by database: place_in_shard()
    std::array<std::uint64_t, kDatabaseCount> deadlines{};  // of these, those that expire
    std::array<DatabaseSums, kDatabaseCount> databases;
    std::uint64_t tombstones = 0;  // leaves in its rows that hold only REMOVED markers
    VersionVector before;  // V before the flip whose staged leaves are being drained, if any are
};
[[nodiscard]] std::string encode(const ShardMeta& meta);
[[nodiscard]] Result<ShardMeta> decode_shard_meta(std::string_view bytes);
[[nodiscard]] std::string shard_meta_key(ShardId shard);
inline constexpr std::string_view kShardMetaPrefix = "clock";
[[nodiscard]] std::optional<ShardId> parse_shard_meta_key(std::string_view bytes);

struct StateMeta {
    LogPosition covered;  // the log position whose state this is
    std::uint16_t shard_count = 0;
    std::uint64_t hash_seed = 0;
    Hlc clock;  // no reading before this one was given later
    std::uint64_t draining =
        0;  // the session whose leaves still join; digest, keys and clocks have it already
    std::uint64_t staging = 0;  // the session of a pull that is not done
    std::string cursor;         // of that pull
};
inline constexpr std::string_view kStateMetaKey = "state";
[[nodiscard]] std::string encode(const StateMeta& meta);
[[nodiscard]] Result<StateMeta> decode_state_meta(std::string_view bytes);

}  // namespace skerry
