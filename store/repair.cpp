// The part of store/store.hpp that mends a shard which differs from that of a peer at the same clock.
#include <map>

#include "crdt/shortcut.hpp"
#include "store/leaf_walk.hpp"
#include "store/store.hpp"

namespace skerry {

void Store::repair(const Repair& repair) {
    ASSERT(!drains(repair.shard));
    close_batch();
    apply_repair(repair);
    const std::size_t header_at = begin_record();
    append_repair(commit_.frames, repair);
    end_record(header_at);
}

void Store::apply_repair(const Repair& repair) {
    last_found_ = nullptr;
    for (const StagedLeaf& theirs : repair.leaves) unite(theirs);
    if (repair.recounts && !taken(Shortcut::repair_not_counted)) recount(repair.shard);
}

void Store::unite(const StagedLeaf& theirs) {
    const LeafKey& key = theirs.key;
    const RowAddress address = address_of(key.database, key.key);
    KeyRecord* record = find(key.database, key.key);
    if (record == nullptr) {
        record = &make(address, key.key);
        // Its own row is what the disk has lost: elements may be there.
        if (has_stored_elements(address)) {
            stats_.memory_bytes -= bytes_of_key_row(*record);
            record->with_extra().complete = false;
            stats_.memory_bytes += bytes_of_key_row(*record);
        }
    }
    const Change change = begin_change(*record, key.kind, key.sub);
    const VersionVector& clock = state(address.shard).clock;
    const bool changed = taken(Shortcut::repair_by_clocks)
                             ? join_leaf(*change.leaf, clock, theirs.leaf, clock)
                             : unite_leaf(*change.leaf, theirs.leaf);
    stats_.repaired_leaves += changed ? 1 : 0;
    end_change(*record, change);
}

bool Store::has_stored_elements(const RowAddress& address) {
    KvReader* stored = state(address.shard).all_rows ? nullptr : reader();
    bool found = false;
    if (stored == nullptr) return found;
    const auto scanned = stored->scan(Table::rows, elements_from(address, LeafKind::member, {}),
                                      elements_end(address, LeafKind::remove_wins_member),
                                      [&](std::string_view, std::string_view) {
                                          found = true;
                                          return false;
                                      });
    if (!scanned) halt(scanned.error());
    return found;
}

void Store::recount(ShardId shard) {
    // A replay may not have come as far with a flip before it. Tombstones are counted as they join.
    if (drains(shard)) drain_shard(shard);
    std::uint64_t digest = 0;
    std::map<RowAddress, ElementTotals> totals;
    std::uint64_t tombstones = 0;
    WalkPlace place;
    std::size_t row_count = ~std::size_t{0};
    const bool whole =
        walk_leaves(*this, shard, place, kWalkEnd, row_count, [&](const WalkedLeaf& walked) {
            digest += skerry::digest_of(walked.address, walked.kind, walked.element, walked.leaf);
            tombstones += only_removed(walked.leaf) ? 1 : 0;
            if (is_key_level(walked.kind)) return;
            ElementTotals& mine = totals[walked.address];
            ++mine.elements;
            if (shows(walked.kind, walked.leaf)) ++mine.live[element_index(walked.kind)];
        });
    ASSERT(whole || halted_);
    std::vector<std::pair<RowAddress, std::string>> wrong;
    std::array<std::uint64_t, kDatabaseCount> keys{}, deadlines{};
    const auto each_key = [&](auto&& visit) {
        for (std::uint8_t db = 0; db < kDatabaseCount; ++db)
            for_each_key_of(shard, db, 0, [&](const KeyRecord& record) {
                visit(record);
                return true;
            });
    };
    each_key([&](const KeyRecord& record) {
        if (record.extra && record.extra->totals != totals[record.address])
            wrong.emplace_back(record.address, record.key.view());
    });
    for (const auto& [address, key] : wrong) {
        KeyRecord* record = find(address.database, key);
        if (record == nullptr) continue;  // halted
        mark_dirty(*record, nullptr);
        record->with_extra().totals = totals[address];
        derive_and_count(*record);
        note_vacated(*record, nullptr);
        record->changed = last_.next();
    }
    each_key([&](const KeyRecord& record) {
        keys[record.address.database] += record.exists() ? 1 : 0;
        deadlines[record.address.database] += record.expires() ? 1 : 0;
    });
    ShardState& mine = state(shard);
    const bool right = wrong.empty() && mine.digest == digest && mine.key_counts == keys &&
                       mine.deadline_counts == deadlines && mine.tombstones == tombstones;
    stats_.recounted += right ? 0 : 1;
    mine.digest = digest;
    mine.key_counts = keys;
    mine.deadline_counts = deadlines;
    mine.tombstones = tombstones;
    look_for_markers();
}

}  // namespace skerry
