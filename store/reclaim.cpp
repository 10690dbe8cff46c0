// The part of store/store.hpp that masks what a clear covers, and takes it out of the rows by and by.
#include <algorithm>

#include "crdt/shortcut.hpp"
#include "crdt/types/clear.hpp"
#include "store/store.hpp"

namespace skerry {

namespace {
constexpr std::array kReached{LeafKind::member, LeafKind::field};
constexpr std::size_t kRowBytes =
    512;  // of memory, until the image is written that a row goes with
constexpr std::size_t kRowsPerImageMax = 20'000;  // an image of few rows is soon written
constexpr WallTime kImageEvery{5000};

void add_live_dots(const Leaf& leaf, VersionVector& highest) {
    for (const Entry& entry : leaf)
        if (entry.live()) highest.advance(entry.dot());
}
}  // namespace

// ---- the sums of a key

void Store::note_old_element(Change& change) {
    change.was_counting = counts(change.kind, *change.leaf);
}

void Store::count_element(KeyRecord& record, const Change& change, std::uint64_t digest_gained) {
    ElementSums& sums = record.extra->sums;
    const std::size_t bytes = bytes_of(sums);
    sums.digest += digest_gained;
    add_live_dots(*change.leaf, sums.highest);
    if (counts(change.kind, *change.leaf)) ++sums.counting;
    if (change.was_counting) --sums.counting;
    stats_.memory_bytes += bytes_of(sums) - bytes;
}

void Store::add_to(ElementSums& sums, LeafKind kind, const Leaf& leaf, std::uint64_t digest) {
    sums.digest += digest;
    sums.counting += counts(kind, leaf) ? 1 : 0;
    add_live_dots(leaf, sums.highest);
}

// ---- masking

Store::Remains Store::remains_under(const KeyRecord& record, const VersionVector& mask) {
    Remains left;
    left.live = record.extra->totals.live;
    for (const LeafKind kind : kReached) left.live[element_index(kind)] = 0;
    if (mask.covers(record.extra->sums.highest)) return left;
    for (const LeafKind kind : kReached)
        for_each_element(record, kind, {}, [&](const Element& element) {
            Leaf leaf = element.leaf;
            clear::unmask(leaf, mask);
            add_to(left.sums, kind, leaf,
                   skerry::digest_of(record.address, kind, element.place, leaf));
            left.live[element_index(kind)] += shows(kind, leaf) ? 1 : 0;
            return true;
        });
    return left;
}

void Store::mask(KeyRecord& record, const VersionVector& clock) {
    Extra& extra = record.with_extra();
    if (extra.sums.mask.covers(clock)) return;
    VersionVector mask = clock;
    if (taken(Shortcut::clear_covers_receiver)) mask.join(state(record.address.shard).clock);
    const std::uint64_t digest = extra.sums.digest;
    stats_.masks_measured += mask.covers(extra.sums.highest) ? 0 : 1;
    narrow(record, std::move(mask));
    ShardState& shard = state(record.address.shard);
    shard.digest += extra.sums.digest - digest;
    shard.sums_of(record.address.database).digest += extra.sums.digest - digest;
    ++stats_.clears;
    note_masked(record);
}

void Store::narrow(KeyRecord& record, VersionVector mask) {
    Extra& extra = *record.extra;
    Remains left = remains_under(record, mask);
    mask.join(extra.sums.mask);
    extra.totals.live = left.live;
    extra.sums = std::move(left.sums);
    extra.sums.mask = std::move(mask);
}

void Store::note_masked(const KeyRecord& record) {
    reclaiming_.to_walk.insert(record.address);
    count_masked();
    if (reclaiming_.walk && reclaiming_.walk->address == record.address) reclaiming_.walk.reset();
}

// Before anything else happens to a leaf: an entry that is masked must meet no operation and no join.
void Store::unmask(KeyRecord& record, Element& element) {
    const VersionVector& mask = mask_of(record);
    if (!clear::reaches(element.place.kind) || !clear::any_masked(element.leaf, mask)) return;
    const std::size_t bytes = bytes_of(element);
    const Traces was = Traces::of(element.leaf);
    mark_dirty(record, &element);
    mark_dirty(record, nullptr);  // it counts the rows of its elements
    clear::unmask(element.leaf, mask);
    stats_.memory_bytes += bytes_of(element) - bytes;
    count_traces(record, &element, element.place.kind, was);
    if (element.leaf.empty()) note_vacated(record, &element);
}

// ---- reclaiming

void Store::count_masked() {
    stats_.masked_keys = reclaiming_.to_walk.size() + reclaiming_.walked.size();
    stats_.masked_databases = reclaiming_.databases.size() + reclaiming_.walked_databases.size();
}

Result<void> Store::load_masked() {
    for (const ShardId shard : held_) {
        const ShardRun run = run_of(shard, options_.shard_count);
        for (DatabaseId db = run.database_first; db <= run.database_last; ++db)
            if (!state(shard).sums_of(db).mask.empty()) reclaiming_.databases.insert({shard, db});
    }
    auto scanned = reader()->scan(Table::meta, kMaskedPrefix, std::string(kMaskedPrefix) + '\xff',
                                  [&](std::string_view key, std::string_view) {
                                      if (const auto address = parse_masked_key(key))
                                          reclaiming_.to_walk.insert(*address);
                                      return true;
                                  });
    count_masked();
    return scanned;
}

std::size_t Store::reclaimed_rows_max() const {
    return std::clamp<std::size_t>(options_.memory_bytes / 8 / kRowBytes, 1, kRowsPerImageMax);
}

bool Store::reclaim_wants_image() const {
    const Reclaiming& now = reclaiming_;
    if (now.rows >= reclaimed_rows_max()) return true;
    const bool due = now_ < now.imaged_at || now_ >= now.imaged_at + kImageEvery;
    return due && (now.rows > 0 || !now.walked.empty() || !now.walked_databases.empty());
}

void Store::freeze_reclaimed() {
    reclaiming_.rows = 0;
    reclaiming_.imaged_at = now_;
}

void Store::reclaimed_in_image() {
    std::erase_if(reclaiming_.walked, [&](const auto& walked) {
        if (walked.first > completed_) return false;
        reclaiming_.to_walk.insert(walked.second);
        return true;
    });
    drop_masks_of_databases();
}

bool Store::reclaim_some(std::size_t row_count) {
    bool worked = false;
    while (row_count > 0 && !halted_ && reclaiming_.rows < reclaimed_rows_max()) {
        if (reclaim_database(row_count)) {
            worked = true;
            continue;
        }
        KeyRecord* record = record_to_reclaim();
        if (record == nullptr) return worked;
        worked = true;
        if (taken(Shortcut::mask_forgotten_early) ||
            (walk_in_memory(*record, row_count) && walk_in_store(*record, row_count)))
            end_walk(*record);
    }
    return worked && !halted_;
}

// The key that is walked over; nullptr: there is none, or none now.
KeyRecord* Store::record_to_reclaim() {
    auto& to_walk = reclaiming_.to_walk;
    auto& walk = reclaiming_.walk;
    const auto can_walk = [&](const RowAddress& address) {
        return !drains(address.shard) || taken(Shortcut::mask_over_undrained);
    };
    while (!halted_) {
        if (!walk || !can_walk(walk->address)) {
            const auto next = std::ranges::find_if(to_walk, can_walk);
            if (next == to_walk.end()) return nullptr;
            walk.emplace().address = *next;
        }
        KeyRecord* record = in_memory(walk->address);
        if (record == nullptr)
            if (auto loaded = load_record(walk->address)) {
                record = &insert(std::move(loaded));
                record->touched = false;  // nobody has asked for it
            }
        if (record != nullptr) settle(*record);
        if (!walk) continue;  // it was masked again
        if (record != nullptr && !mask_of(*record).empty()) return record;
        to_walk.erase(walk->address);
        walk.reset();
        count_masked();
    }
    return nullptr;
}

// True: all that is in memory has been looked at.
bool Store::walk_in_memory(KeyRecord& record, std::size_t& row_count) {
    ReclaimWalk& walk = *reclaiming_.walk;
    if (walk.in_store) return true;
    auto& elements = record.extra->elements;
    for (auto next = elements.lower_bound(walk.at);
         next != elements.end() && clear::reaches(next->place.kind);) {
        if (row_count == 0) {
            walk.at = next->place;
            return false;
        }
        --row_count;
        if (reclaim(record, *next)) {
            stats_.memory_bytes -= bytes_of(*next);
            next = elements.erase(next);
        } else {
            ++next;
        }
    }
    walk.in_store = true;
    return true;
}

// True: nothing of the element is left, and no image has a use for it: it can be forgotten.
bool Store::reclaim(KeyRecord& record, Element& element) {
    if (element.leaf.empty()) return element.row.dirty <= completed_;
    if (!clear::any_masked(element.leaf, mask_of(record))) return false;
    reclaiming_.walk->found = true;
    ++reclaiming_.rows;
    ++stats_.reclaimed;
    unmask(record, element);
    return false;
}

// True: all rows have been looked at.
bool Store::walk_in_store(KeyRecord& record, std::size_t& row_count) {
    if (record.extra->complete) return true;
    ReclaimWalk& walk = *reclaiming_.walk;
    if (walk.row.empty()) walk.row = elements_from(record.address, LeafKind::member, {});
    bool more = false;
    const auto look = [&](std::string_view key, std::string_view value) {
        more = row_count == 0;
        if (more) return false;
        --row_count;
        const Result<RowKey> place = parse_row_key(key);
        Result<ElementRow> row = decode_element_row(value);
        if (!place || !row) {
            halt(place ? row.error() : place.error());
            return false;
        }
        walk.row.assign(key).push_back('\0');
        if (record.extra->elements.find(*place->element) != nullptr) return true;
        if (!clear::any_masked(row->leaf, mask_of(record))) return true;
        Element& element = record.extra->elements.insert(std::make_unique<Element>(
            Element{*place->element, ShortBytes(row->sub), std::move(row->leaf), {}}));
        stats_.memory_bytes += bytes_of(element);
        (void)reclaim(record, element);
        return true;
    };
    KvReader* stored = reader();
    if (stored == nullptr) return false;
    const auto scanned =
        stored->scan(Table::rows, walk.row, elements_end(record.address, LeafKind::field), look);
    if (!scanned) halt(scanned.error());
    return !more && !halted_;
}

void Store::end_walk(KeyRecord& record) {
    const bool found = reclaiming_.walk->found;
    reclaiming_.walk.reset();
    reclaiming_.to_walk.erase(record.address);
    if (found) {
        reclaiming_.walked.emplace_back(generation_, record.address);
        return;
    }
    const std::size_t bytes = bytes_of_key_row(record);
    count_masked();
    mark_dirty(record, nullptr);
    record.extra->sums.mask = {};
    stats_.memory_bytes += bytes_of_key_row(record) - bytes;
    ++stats_.masks_dropped;
    if (record.vacant()) note_vacated(record, nullptr);
}

}  // namespace skerry
