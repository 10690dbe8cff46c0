// The part of store/store.hpp that mends a shard which differs from that of a peer at the same clock.
//
// Record   says what each leaf became, not what came: a marker that had been purged without a record is there again in a
//          replay, and might win against what was taken instead of it.
// Masks    of the two sides are joined before their leaves: what a clear is known to have removed does not come back.
#include "crdt/shortcut.hpp"
#include "crdt/types/clear.hpp"
#include "store/store.hpp"

namespace skerry {

void Store::repair(Repair repair) {
    ASSERT(!state(repair.shard).staged);
    close_batch();
    last_found_ = nullptr;
    std::erase_if(repair.masks, [&](const KeyMask& theirs) { return !mask_as_there(theirs); });
    std::erase_if(repair.leaves, [&](StagedLeaf& leaf) { return !unite(leaf); });
    stats_.repaired_leaves += repair.leaves.size();
    if (repair.recounts) repair.recounts = !recount(repair.shard);
    if (repair.masks.empty() && repair.leaves.empty() && !repair.recounts) return;
    const std::size_t header_at = begin_record();
    append_repair(commit_.frames, repair);
    end_record(header_at);
}

void Store::replay_repair(const Repair& repair) {
    last_found_ = nullptr;
    for (const KeyMask& theirs : repair.masks) (void)mask_as_there(theirs);
    for (const StagedLeaf& united : repair.leaves) adopt(united);
    if (repair.recounts) (void)recount(repair.shard);
}

KeyRecord& Store::record_to_repair(DatabaseId database, std::string_view key) {
    const RowAddress address = address_of(database, key);
    if (KeyRecord* found = find_at(address, key)) return *found;
    KeyRecord& record = make(address, key);
    // Its own row is what the disk has lost: elements may be there.
    if (has_stored_elements(address)) {
        stats_.memory_bytes -= bytes_of_key_row(record);
        record.with_extra().complete = false;
        stats_.memory_bytes += bytes_of_key_row(record);
    }
    return record;
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

// ---- leaf by leaf

bool Store::mask_as_there(const KeyMask& theirs) {
    if (theirs.kind == LeafKind::flush) return mask_database_as_there(theirs);
    KeyRecord& record = record_to_repair(theirs.database, theirs.key);
    if (cleared_of(record).covers(theirs.clock)) return false;
    mark_dirty(record, nullptr);
    const std::size_t bytes = bytes_of_key_row(record);
    mask(record, theirs.clock);
    derive_and_count(record);
    stats_.memory_bytes += bytes_of_key_row(record) - bytes;
    record.changed = last_.next();
    return true;
}

bool Store::mask_database_as_there(const KeyMask& theirs) {
    const RowAddress address = address_of(theirs.database, theirs.key);
    if (cleared_of_database(address.shard, address.database).covers(theirs.clock)) return false;
    mask_database(address, theirs.clock, theirs.clock);
    return true;
}

// All that clears are known to have removed, of the leaf that is about to come.
void Store::unmask_united(const KeyRecord& record, LeafKind kind, Leaf& leaf) {
    if (clear::reaches(kind)) clear::unmask(leaf, cleared_of(record));
    const RowAddress address = record.address;
    if (clear::flushes(kind))
        clear::unmask(leaf, cleared_of_database(address.shard, address.database));
}

bool Store::unite(StagedLeaf& leaf) {
    const LeafKey& key = leaf.key;
    KeyRecord& record = record_to_repair(key.database, key.key);
    unmask_united(record, key.kind, leaf.leaf);
    const LogPosition was_changed = record.changed;
    const Change change = begin_change(record, key.kind, key.sub);
    const VersionVector& clock = state(record.address.shard).clock;
    const bool changed = taken(Shortcut::repair_by_clocks)
                             ? join_leaf(*change.leaf, clock, leaf.leaf, clock)
                             : unite_leaf(*change.leaf, leaf.leaf);
    leaf.leaf = *change.leaf;
    end_change(record, change);
    if (!changed) record.changed = was_changed;  // no record may come that a reader could wait for
    return changed;
}

// What the leaf became holds; a marker beside it that was no longer there may stay.
void Store::adopt(const StagedLeaf& united) {
    const LeafKey& key = united.key;
    KeyRecord& record = record_to_repair(key.database, key.key);
    Leaf leaf = united.leaf;
    unmask_united(record, key.kind, leaf);
    const Change change = begin_change(record, key.kind, key.sub);
    for (const Entry& entry : leaf) change.leaf->put(entry);
    end_change(record, change);
}

// ---- digest and counts

// Adds the key's elements to those of the shard, and makes what the key keeps of them right. True: it was.
bool Store::recount_elements(const RowAddress& address, ShardSums& sums) {
    std::unique_ptr<KeyRecord> loaded;
    KeyRecord* record = in_memory(address);
    if (record == nullptr) {
        loaded = load_record(address);
        record = loaded.get();
    }
    if (record == nullptr || !record->extra) return true;  // halted
    ElementTotals totals;
    ElementSums found;
    const VersionVector& mask = mask_of(*record);
    for (const LeafKind kind : {LeafKind::member, LeafKind::field, LeafKind::remove_wins_member})
        for_each_element_row(*record, kind, {}, [&](const Element& element) {
            if (element.leaf.empty()) return true;
            ++totals.elements;
            sums.tombstones += only_removed(element.leaf) ? 1 : 0;
            Leaf leaf = element.leaf;
            if (clear::reaches(kind)) clear::unmask(leaf, mask);
            const std::uint64_t digest = skerry::digest_of(address, kind, element.place, leaf);
            sums.digest += digest;
            totals.live[element_index(kind)] += shows(kind, leaf) ? 1 : 0;
            if (clear::reaches(kind)) add_to(found, kind, leaf, digest);
            return true;
        });
    const ElementSums& kept = record->extra->sums;
    if (record->extra->totals == totals && kept.digest == found.digest &&
        kept.counting == found.counting && kept.highest.covers(found.highest))
        return true;
    if (loaded) record = &insert(std::move(loaded));
    mark_dirty(*record, nullptr);
    const std::size_t bytes = bytes_of_key_row(*record);
    found.mask = mask;
    record->extra->totals = totals;
    record->extra->sums = std::move(found);
    stats_.memory_bytes += bytes_of_key_row(*record) - bytes;
    derive_and_count(*record);
    note_vacated(*record, nullptr);
    record->changed = last_.next();
    return false;
}

// Element rows that the row of their key does not know of, since the disk has lost what that row was.
void Store::look_for_strays(ShardId shard) {
    KvReader* stored = state(shard).all_rows ? nullptr : reader();
    if (stored == nullptr) return;
    std::vector<std::pair<RowAddress, bool>> collections;  // and whether the key has a row
    std::string at = rows_from(shard, 0, 0);
    for (bool more = true; std::exchange(more, false) && !halted_;) {
        std::optional<RowAddress> key;
        const auto look = [&](std::string_view row_key, std::string_view) {
            const Result<RowKey> place = parse_row_key(row_key);
            if (!place) {
                halt(place.error());
                return false;
            }
            more = place->element.has_value();
            if (more) {
                collections.emplace_back(place->address, key == place->address);
                at = element_row_key(place->address, {static_cast<LeafKind>(0xff), {}});
            }
            key = place->address;
            return !more;
        };
        const auto scanned = stored->scan(Table::rows, at, rows_end(shard), look);
        if (!scanned) halt(scanned.error());
    }
    for (const auto& [address, has_row] : collections) take_in_strays(address, has_row);
}

// Where the key is known by now they are seen again. Elsewhere nothing says whose they are: they go, and a peer's have come.
void Store::take_in_strays(const RowAddress& address, bool has_row) {
    std::unique_ptr<KeyRecord> loaded;
    KeyRecord* record = in_memory(address);
    if (record == nullptr && has_row) {
        loaded = load_record(address);
        record = loaded.get();
    }
    const Extra* extra = record != nullptr ? record->extra.get() : nullptr;
    KvReader* stored = extra != nullptr && !extra->complete ? nullptr : reader();
    if (stored == nullptr) return;
    std::vector<std::string> strays;
    const auto scanned = stored->scan(
        Table::rows, elements_from(address, LeafKind::member, {}),
        elements_end(address, LeafKind::remove_wins_member),
        [&](std::string_view row_key, std::string_view) {
            const Result<RowKey> place = parse_row_key(row_key);
            if (!place)
                halt(place.error());
            else if (extra == nullptr || extra->elements.find(*place->element) == nullptr)
                strays.emplace_back(row_key);
            return place.has_value();
        });
    if (!scanned) halt(scanned.error());
    if (strays.empty() || halted_) return;
    if (record == nullptr) {
        for (std::string& row : strays)
            old_rows_.push_back({Table::rows, std::move(row), std::nullopt});
        return;
    }
    if (loaded) record = &insert(std::move(loaded));
    mark_dirty(*record, nullptr);
    const std::size_t bytes = bytes_of_key_row(*record);
    record->with_extra().complete = false;
    // A clear of the key may have found nothing to mask, and its mask may have gone.
    VersionVector cleared = cleared_of(*record);
    cleared.join(cleared_of_database(address.shard, address.database));
    if (!mask_of(*record).covers(cleared)) mask(*record, cleared);
    stats_.memory_bytes += bytes_of_key_row(*record) - bytes;
}

bool Store::recount(ShardId shard) {
    if (taken(Shortcut::repair_not_counted)) return true;
    // A replay may not have come as far with a flip before it.
    if (drains(shard)) drain_between(rows_from(shard, 0, 0), rows_end(shard));
    const ShardRun run = run_of(shard, options_.shard_count);
    for (DatabaseId db = run.database_first; db <= run.database_last; ++db) settle_all(shard, db);
    look_for_strays(shard);
    ShardSums sums;
    std::vector<RowAddress> collections;
    const auto each_key = [&](auto&& visit) {
        for (DatabaseId db = run.database_first; db <= run.database_last; ++db)
            for_each_key_of(shard, db, 0, [&](const KeyRecord& record) {
                visit(record);
                return true;
            });
    };
    const auto add = [&](const KeyRecord& record, LeafKind kind, const Leaf& leaf) {
        sums.digest += skerry::digest_of(record.address, kind, {LeafKind::string, {}}, leaf);
        sums.tombstones += only_removed(leaf) ? 1 : 0;
    };
    each_key([&](const KeyRecord& record) {
        add(record, LeafKind::string, record.string);
        if (!record.extra) return;
        for (const auto& [kind, leaf] : record.extra->leaves) add(record, kind, leaf);
        collections.push_back(record.address);
    });
    bool right = true;
    for (const RowAddress& address : collections) right = recount_elements(address, sums) && right;
    each_key([&](const KeyRecord& record) {
        const std::size_t place = place_in_shard(record.address.database);
        sums.keys[place] += record.exists() ? 1 : 0;
        sums.deadlines[place] += record.expires() ? 1 : 0;
        add_key(sums.databases[place], record);
    });
    ShardState& mine = state(shard);
    for (std::size_t i = 0; i < kDatabaseCount; ++i) {
        DatabaseSums& kept = mine.databases[i];
        DatabaseSums& found = sums.databases[i];
        right = right && kept.digest == found.digest && (kept.counts || !found.counts);
        found.mask = std::move(kept.mask);
        kept = std::move(found);
    }
    right = right && mine.digest == sums.digest && mine.key_counts == sums.keys &&
            mine.deadline_counts == sums.deadlines && mine.tombstones == sums.tombstones;
    stats_.recounted += right ? 0 : 1;
    mine.digest = sums.digest;
    mine.key_counts = sums.keys;
    mine.deadline_counts = sums.deadlines;
    mine.tombstones = sums.tombstones;
    look_for_markers();
    return right;
}

}  // namespace skerry
