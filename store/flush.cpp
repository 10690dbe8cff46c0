// The part of store/store.hpp that masks what a clear of a database covers in a shard, and puts its keys under the mask.
#include <algorithm>

#include "crdt/shortcut.hpp"
#include "crdt/types/clear.hpp"
#include "store/store.hpp"

namespace skerry {

namespace {
bool any_masked(LeafKind kind, const Leaf& leaf, const VersionVector& mask) {
    return clear::flushes(kind) && clear::any_masked(leaf, mask);
}

// Would anything of the key be other under the mask?
bool reached(const KeyRecord& record, const VersionVector& mask) {
    if (any_masked(LeafKind::string, record.string, mask)) return true;
    if (!record.extra) return false;
    const Extra& extra = *record.extra;
    return (extra.totals.elements > 0 && !extra.sums.mask.covers(mask)) ||
           std::ranges::any_of(extra.leaves, [&](const auto& pair) {
               return any_masked(pair.first, pair.second, mask);
           });
}

// Is anything of it live that the mask does not cover, or may be?
bool outlives(const KeyRecord& record, const VersionVector& mask) {
    const auto lives = [&](const Leaf& leaf) {
        return std::ranges::any_of(
            leaf, [&](const Entry& e) { return e.live() && !mask.contains(e.dot()); });
    };
    if (lives(record.string)) return true;
    return record.extra && (!mask.covers(record.extra->sums.highest) ||
                            std::ranges::any_of(record.extra->leaves, [&](const auto& pair) {
                                return lives(pair.second);
                            }));
}

// Of a key's own leaves that a clear of its database reaches.
template <class Visit>
void for_each_reached(KeyRecord& record, Visit&& visit) {
    visit(LeafKind::string, record.string);
    if (!record.extra) return;
    for (auto& [kind, leaf] : record.extra->leaves)
        if (clear::flushes(kind)) visit(kind, leaf);
}
}  // namespace

// ---- the clear

const std::string& Store::flush_key_of(ShardId shard) const {
    const ShardRun run = run_of(shard, options_.shard_count);
    ASSERT(run.database_first != kConfigurationDatabase);
    const auto& keys = run.database_first == 0 ? flush_keys_ : domain_flush_keys_;
    return keys[shard.value - run.first.value];
}

bool Store::is_placed(const LeafKey& key) const {
    if (key.kind != LeafKind::flush) return true;
    return key.database != kConfigurationDatabase && key.sub.empty() &&
           key.key == flush_key_of(address_of(key.database, key.key).shard);
}

void Store::clear_database(ShardId shard, DatabaseId database) {
    KeyRecord& record = find_or_make(database, flush_key_of(shard));
    const VersionVector clock = state(shard).clock;
    change(record, LeafKind::flush, {}, [&](const Leaf& leaf, const Dot& dot, Hlc now) {
        return clear::all(leaf, dot, now, clock);
    });
}

VersionVector Store::cleared_of_database(ShardId shard, DatabaseId database) {
    VersionVector cleared = state(shard).sums_of(database).mask;
    if (database == kConfigurationDatabase) return cleared;
    if (const KeyRecord* record = find(database, flush_key_of(shard)))
        cleared.join(clear::covered(record->leaf(LeafKind::flush)));
    return cleared;
}

// ---- masking

void Store::mask_database(const RowAddress& at, const VersionVector& clock,
                          const VersionVector& seen) {
    ShardState& shard = state(at.shard);
    DatabaseSums& sums = shard.sums_of(at.database);
    if (sums.mask.covers(clock)) return;
    const bool widens = taken(Shortcut::flush_covers_receiver);
    const bool all = widens || seen.covers(shard.clock);
    if (!all && drains(at.shard))
        drain_between(rows_from(at.shard, at.database, 0), rows_end(at.shard, at.database));
    sums.mask.join(widens ? shard.clock : clock);
    ++shard.flushes[place_in_shard(at.database)];
    flushed_ = last_.next();
    last_found_ = nullptr;
    if (measure_) measure_again();
    shard.digest -= std::exchange(sums.digest, 0);
    sums.counts = false;
    shard.key_counts[place_in_shard(at.database)] = 0;
    shard.deadline_counts[place_in_shard(at.database)] = 0;
    const std::pair place(at.shard, at.database);
    reclaiming_.databases.insert(place);
    if (reclaiming_.database && reclaiming_.database->place == place) reclaiming_.database.reset();
    count_masked();
    if (!all) count_remains(at.shard, at.database, clock);
    ++stats_.flushes;
}

// At a replica that holds something in the shard which the clear had not seen. In memory every key is looked at, once;
// beyond it those that the index names for a dot which the clear does not cover.
void Store::count_remains(ShardId id, DatabaseId database, const VersionVector& clock) {
    ++stats_.flushes_measured;
    ShardState& shard = state(id);
    DatabaseSums& sums = shard.sums_of(database);
    const auto add = [&](const KeyRecord& record) {
        add_key(sums, record);
        shard.key_counts[place_in_shard(database)] += record.exists() ? 1 : 0;
        shard.deadline_counts[place_in_shard(database)] += record.expires() ? 1 : 0;
    };
    if (const auto stored = stored_beyond(id, database, clock)) {
        for (KeyRecord& record : shard.keys_of(database)) {
            if (!outlives(record, sums.mask)) continue;
            settle(record);
            add(record);
        }
        for (const RowAddress& address : *stored) {
            if (in_memory(address) != nullptr) continue;
            const auto record = load_record(address);
            if (record == nullptr) continue;
            put_under(*record, sums.mask);
            add(*record);
        }
    } else {
        visit_keys(id, database, 0, [&](const KeyRecord& record) {
            add(record);
            return true;
        });
    }
    shard.digest += sums.digest;
}

// Keys of rows in the ordered store with an entry beyond the clock; nullopt: the index does not reach back as far.
std::optional<std::set<RowAddress>> Store::stored_beyond(ShardId id, DatabaseId database,
                                                         const VersionVector& clock) {
    std::set<RowAddress> found;
    const ShardState& shard = state(id);
    if (shard.all_rows) return found;
    KvReader* stored = reader();
    if (stored == nullptr || !clock.covers(shard.ix_floor)) return std::nullopt;
    for (const auto& [writer, last] : shard.clock) {
        const auto scanned = stored->scan(
            Table::ix, ix_key(id, {writer, clock.at(writer).next()}),
            ix_key(id, {writer, last.next()}), [&](std::string_view, std::string_view value) {
                const auto place = parse_row_key(parse_ix_value(value).row_key);
                if (place && place->address.database == database) found.insert(place->address);
                return place.has_value();
            });
        if (!scanned) halt(scanned.error());
    }
    return found;
}

void Store::add_key(DatabaseSums& sums, const KeyRecord& record) {
    const auto add = [&](LeafKind kind, const Leaf& leaf) {
        if (!clear::flushes(kind)) return;
        sums.digest += skerry::digest_of(record.address, kind, {LeafKind::string, {}}, leaf);
        sums.counts = sums.counts || counts(kind, leaf);
    };
    add(LeafKind::string, record.string);
    if (!record.extra) return;
    for (const auto& [kind, leaf] : record.extra->leaves) add(kind, leaf);
    sums.digest += record.extra->sums.digest;
    sums.counts = sums.counts || record.extra->sums.counting > 0;
}

// ---- keys under the mask

// Its shard's digest and counts have the mask already.
void Store::settle_under(KeyRecord& record, const VersionVector& mask) {
    if (!reached(record, mask)) return;
    mark_dirty(record, nullptr);
    track_deadline(record, false);
    const std::size_t bytes = bytes_of_key_row(record);
    for_each_reached(record, [&](LeafKind kind, Leaf& leaf) {
        const Traces was = Traces::of(leaf);
        clear::unmask(leaf, mask);
        count_traces(record, nullptr, kind, was);
    });
    if (record.extra && record.extra->totals.elements > 0 && !mask_of(record).covers(mask)) {
        narrow(record, mask);
        note_masked(record);
    }
    derive(record);
    track_deadline(record, true);
    stats_.memory_bytes += bytes_of_key_row(record) - bytes;
    note_vacated(record, nullptr);
}

// The same of a copy.
void Store::put_under(KeyRecord& record, const VersionVector& mask) {
    if (!reached(record, mask)) return;
    unmask_own_leaves(record, mask);
    if (record.extra && record.extra->totals.elements > 0) narrow(record, mask);
    derive(record);
}

void Store::unmask_own_leaves(KeyRecord& record, const VersionVector& mask) {
    for_each_reached(record, [&](LeafKind, Leaf& leaf) { clear::unmask(leaf, mask); });
}

void Store::settle_all(ShardId shard, DatabaseId database) {
    const VersionVector& mask = state(shard).sums_of(database).mask;
    if (mask.empty()) return;
    std::vector<RowAddress> found;
    visit_rows(shard, database, 0, [&](const KeyRecord& record, RowPlace) {
        if (reached(record, mask)) found.push_back(record.address);
        return true;
    });
    for (const RowAddress& address : found) settle_at(address);
}

void Store::settle_at(const RowAddress& address) {
    if (KeyRecord* record = in_memory(address)) return settle(*record);
    if (auto loaded = load_record(address))
        insert(std::move(loaded)).touched = false;  // nobody has asked for it
}

void Store::unmask_joined(const KeyRecord& record, LeafKind kind, Leaf& leaf) const {
    if (clear::reaches(kind)) clear::unmask(leaf, mask_of(record));
    const RowAddress& address = record.address;
    if (clear::flushes(kind))
        clear::unmask(leaf, shard(address.shard).sums_of(address.database).mask);
}

// ---- reclaiming

// False: nothing can be done now.
bool Store::reclaim_database(std::size_t& row_count) {
    auto& walk = reclaiming_.database;
    if (!walk) {
        const auto next = std::ranges::find_if(reclaiming_.databases, [&](const auto& place) {
            return !drains(place.first) || taken(Shortcut::mask_over_undrained);
        });
        if (next == reclaiming_.databases.end()) return false;
        walk.emplace().place = *next;
    }
    const auto [shard, database] = walk->place;
    if (drains(shard) && !taken(Shortcut::mask_over_undrained)) {
        walk.reset();
        return true;
    }
    const VersionVector& mask = state(shard).sums_of(database).mask;
    std::vector<RowAddress> found;
    bool more = false;
    const auto look = [&](const KeyRecord& record, RowPlace) {
        if (record.order() < walk->from) return true;
        more = row_count == 0;
        if (more) {
            walk->from = record.order();
            return false;
        }
        --row_count;
        if (reached(record, mask)) found.push_back(record.address);
        return true;
    };
    if (!taken(Shortcut::flush_forgotten_early))
        visit_rows(shard, database, walk->from.order, look);
    reclaiming_.rows += found.size();
    stats_.reclaimed += found.size();
    for (const RowAddress& address : found) settle_at(address);
    if (more || halted_) return !halted_;
    reclaiming_.databases.erase(walk->place);
    reclaiming_.walked_databases.push_back(
        {generation_, walk->place, state(shard).flushes[place_in_shard(database)]});
    walk.reset();
    return true;
}

// Every row has been under the mask since its walk began, and is so in the ordered store: nothing that it covers is left.
void Store::drop_masks_of_databases() {
    std::erase_if(reclaiming_.walked_databases, [&](const WalkedDatabase& walked) {
        if (walked.generation > completed_) return false;
        const auto& [id, database] = walked.place;
        ShardState& shard = state(id);
        if (shard.flushes[place_in_shard(database)] == walked.flushes) {
            shard.sums_of(database).mask = {};
            ++stats_.masks_dropped;
        }
        return true;
    });
    count_masked();
}

}  // namespace skerry
