// crdt/leaf_key.hpp — the address of a leaf: database, key, kind, sub-key; and the hash slot of a key.
//
// Source   hash slots and hash tags: Redis Cluster specification, "Key distribution model" (CRC16-XMODEM mod 16384).
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/ids.hpp"

namespace skerry {

inline constexpr std::uint16_t kSlotCount = 16384;
// A database that is stored: 0-15 are those of SELECT, as the domain main has them; one is that of the configuration domain
// (docs/decisions/0014); and each further domain has one of its own (docs/decisions/0017), which crdt/domain.hpp numbers.
using DatabaseId = std::uint16_t;
inline constexpr DatabaseId kDatabaseCount = 16;  // that SELECT reaches
inline constexpr DatabaseId kConfigurationDatabase = kDatabaseCount;
inline constexpr std::size_t kKeyBytesMax = 64 * 1024;
inline constexpr std::size_t kValueBytesMax = 64 * 1024 * 1024;

// The numbers are on disk and on the wire: never reuse one.
enum class LeafKind : std::uint8_t {
    string = 1,       // the value of a string key (crdt/types/value.hpp); no sub-key
    deadline = 2,     // when the key expires (crdt/types/deadline.hpp); no sub-key
    set_birth = 3,    // present while the key exists as a set (crdt/types/presence.hpp); no sub-key
    hash_birth = 4,   // the same for a hash
    member = 5,       // a set member (presence); sub-key = the member
    field = 6,        // a hash field (value); sub-key = the field
    multi_value = 7,  // multi-value register (crdt/types/multi_value.hpp); no sub-key
    enable_wins = 8,  // flags (crdt/types/flags.hpp); no sub-key
    disable_wins = 9,
    remove_wins_member = 10,  // remove-wins set member; sub-key = the member
    clear = 11,  // removes all members and fields up to a clock (crdt/types/clear.hpp); no sub-key
    flush =
        12,  // the same of all keys of its database in its shard, under flush_keys(); no sub-key
};

// Is the leaf stored with its key (true), or as an element of its own (false)?
[[nodiscard]] constexpr bool is_key_level(LeafKind kind) {
    return kind != LeafKind::member && kind != LeafKind::field &&
           kind != LeafKind::remove_wins_member;
}
[[nodiscard]] constexpr bool is_known(std::uint8_t kind) { return kind >= 1 && kind <= 12; }

struct LeafKey {
    DatabaseId database = 0;
    LeafKind kind = LeafKind::string;
    std::string key;
    std::string sub;
    friend auto operator<=>(const LeafKey&, const LeafKey&) = default;
};

// The Redis Cluster slot of a key, 0..16383; the part between the first {} counts alone, if it is
// not empty.
[[nodiscard]] std::uint16_t slot_of(std::string_view key);

// Which of `shard_count` runs of slots holds the slot. Requires: 1 <= shard_count <= kSlotCount.
[[nodiscard]] constexpr ShardId shard_of_slot(std::uint16_t slot, std::uint16_t shard_count) {
    return ShardId{static_cast<std::uint16_t>(std::uint32_t{slot} * shard_count / kSlotCount)};
}

// For each of so many runs of slots the key that the clears of a database lie under there: the same wherever it is
// asked for. A client may have a key of that name: the leaves are of different kinds.   Cost: a few tries a run.
[[nodiscard]] std::vector<std::string> flush_keys(std::uint16_t shard_count);

}  // namespace skerry
