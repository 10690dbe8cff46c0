// store/memtable.hpp — keys and their leaves in memory: what changed since the last checkpoint, and what was read.
//
// Shape    shard -> database -> keys by KeyOrder -> key-level leaves, and elements by ElementOrder.
// Dirty    every row carries the generation (checkpoint) that its last change belongs to; 0 = as in the ordered store.
// Cached   exists, type and deadline of a key are derived from its leaves at every change.
// Thread   core thread.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crdt/types/value.hpp"
#include "store/ordered_rows.hpp"
#include "store/row.hpp"
#include "store/short_bytes.hpp"

namespace skerry {

enum class KeyType : std::uint8_t {
    none,
    string,
    set,
    hash
};  // in order of rank: the later wins an equal birth

using Generation = std::uint32_t;

struct RowState {
    Generation dirty = 0;  // the generation of the last change
    bool saved = false;    // the image being made already holds that change
};

struct Element {
    ElementOrder place;
    ShortBytes sub;
    Leaf leaf;
    RowState row;

    [[nodiscard]] const ElementOrder& order() const { return place; }
};

// What a key has beyond a string: most keys have none of it.
struct Extra {
    std::vector<std::pair<LeafKind, Leaf>> leaves;  // key-level, by kind, without the string
    ElementTotals totals;
    ElementSums sums;
    OrderedRows<Element> elements;
    bool complete = true;  // every element row of the key is here
};

struct KeyRecord {
    // What every command looks at comes first, together.
    RowAddress address;
    ShortBytes key;
    KeyType type = KeyType::none;
    bool touched = false;  // since the eviction hand last passed
    RowState row;          // of the key's own row
    WallTime deadline = value::kNoDeadline;
    LogPosition changed;  // the record that last changed it: a reader waits until it is durable
    std::unique_ptr<Extra> extra;
    Leaf string;
    ReplicaId deadline_writer;  // who issues the removal at the deadline

    [[nodiscard]] const KeyOrder& order() const { return address.order; }
    [[nodiscard]] bool exists() const { return type != KeyType::none; }
    [[nodiscard]] bool expires() const { return exists() && deadline != value::kNoDeadline; }
    [[nodiscard]] const Leaf& leaf(LeafKind kind) const;
    [[nodiscard]] Leaf& leaf_to_change(LeafKind kind);
    [[nodiscard]] std::uint64_t live(LeafKind kind) const {
        return extra ? extra->totals.live[element_index(kind)] : 0;
    }
    [[nodiscard]] Extra& with_extra();
    // Nothing is left of it: no leaf, no element, removed or not, and no mask.
    [[nodiscard]] bool vacant() const;
};

// What clears of the key have removed; empty: nothing that any row still holds.
[[nodiscard]] const VersionVector& mask_of(const KeyRecord& record);
// The same, and what its clear leaf covers: that may outlive the mask, as the mask may outlive it.
[[nodiscard]] VersionVector cleared_of(const KeyRecord& record);

// Sets type and deadline from the leaves.
void derive(KeyRecord& record);

// Does the leaf of an element show something? A live entry of a field may be cancelled wholly.
[[nodiscard]] bool shows(LeafKind kind, const Leaf& leaf);

// Can a clear not say what of the leaf it had seen?
[[nodiscard]] inline bool counts(LeafKind kind, const Leaf& leaf) {
    return (kind == LeafKind::field || kind == LeafKind::string) && value::counts(leaf);
}

// Does it hold REMOVED markers, and nothing else?
[[nodiscard]] inline bool only_removed(const Leaf& leaf) {
    return !leaf.empty() && !leaf.any_live();
}

// Bytes held, roughly: allocator overhead included.
[[nodiscard]] std::size_t bytes_of(const Leaf& leaf);
[[nodiscard]] std::size_t bytes_of(const Element& element);
[[nodiscard]] std::size_t bytes_of(const ElementSums& sums);
[[nodiscard]] std::size_t bytes_of_key_row(const KeyRecord& record);

// Its row in the ordered store.
[[nodiscard]] std::string encode(const KeyRecord& record);
[[nodiscard]] std::unique_ptr<KeyRecord> record_of(const RowAddress& address, KeyRow row);

// The part of a shard's digest that one leaf makes: over its live entries. Zero when there is none.
[[nodiscard]] std::uint64_t digest_of(const RowAddress& address, LeafKind kind,
                                      const ElementOrder& element, const Leaf& leaf);

using Keys = OrderedRows<KeyRecord>;

struct alignas(64) ShardState {
    VersionVector clock;          // V, what is applied
    VersionVector durable_clock;  // V at the last durable record
    VersionVector ix_floor;
    VersionVector purge_floor;  // P: markers at or below it may be gone
    std::uint64_t digest = 0;
    // By place_in_shard() of a database; the first right behind the digest, since a write changes both.
    std::array<DatabaseSums, kDatabaseCount> databases;
    std::array<std::uint64_t, kDatabaseCount> key_counts{};
    std::array<std::uint64_t, kDatabaseCount> deadline_counts{};  // of these, those that expire
    std::array<std::uint32_t, kDatabaseCount>
        flushes{};                 // in this process: how often each mask has grown
    std::uint64_t tombstones = 0;  // leaves that hold only REMOVED markers; staged ones not counted
    std::array<Keys, kDatabaseCount> keys;
    bool all_rows = true;  // nothing of it is in the ordered store alone
    bool staged = false;   // leaves of a flip are being measured or drained: Store::touch()

    [[nodiscard]] DatabaseSums& sums_of(DatabaseId database) {
        return databases[place_in_shard(database)];
    }
    [[nodiscard]] const DatabaseSums& sums_of(DatabaseId database) const {
        return databases[place_in_shard(database)];
    }
    [[nodiscard]] Keys& keys_of(DatabaseId database) { return keys[place_in_shard(database)]; }
    [[nodiscard]] const Keys& keys_of(DatabaseId database) const {
        return keys[place_in_shard(database)];
    }
};

}  // namespace skerry
