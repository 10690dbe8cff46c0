// The part of store/store.hpp that moves the memtable into the ordered store, and drops what is there.
#include <algorithm>
#include <array>
#include <cstring>

#include "store/store.hpp"

namespace skerry {

namespace {

constexpr std::size_t kChangesPerRow = 2;  // most have one entry in the index

void put(KvBatch& batch, Table table, std::string key, std::string value) {
    batch.push_back({table, std::move(key), std::move(value)});
}

void remove(KvBatch& batch, Table table, std::string key) {
    batch.push_back({table, std::move(key), std::nullopt});
}

// Calls `visit` with every leaf of a row: the one of an element, all key-level ones of a key.
template <class Visit>
void for_each_leaf(const KeyRecord& record, const Element* element, Visit&& visit) {
    if (element != nullptr) return visit(element->leaf);
    visit(record.string);
    if (!record.extra) return;
    for (const auto& [kind, leaf] : record.extra->leaves) visit(leaf);
}

// By table and key; of what deletes and puts one row, the put stands. Places are sorted, not changes, and as numbers:
// the first 32 bytes of a key, which tell all rows apart but for elements that share 80 bits of their hash.
KvBatch in_order(KvBatch changes) {
    struct Place {
        Table table;
        std::array<std::uint64_t, 4> begin;
        std::size_t index;
    };
    std::vector<Place> places;
    places.reserve(changes.size());
    for (std::size_t i = 0; i < changes.size(); ++i) {
        Place place{changes[i].table, {}, i};
        std::memcpy(place.begin.data(), changes[i].key.data(),
                    std::min(changes[i].key.size(), sizeof place.begin));
        for (std::uint64_t& word : place.begin)
            word = read_u64({reinterpret_cast<const char*>(&word), sizeof word});
        places.push_back(place);
    }
    const auto rest_of = [&changes](const Place& place) {
        const KvChange& change = changes[place.index];
        return std::tuple(std::string_view(change.key), !change.value, place.index);
    };
    std::ranges::sort(places, [&](const Place& a, const Place& b) {
        if (a.table != b.table) return a.table < b.table;
        if (a.begin != b.begin) return a.begin < b.begin;
        return rest_of(a) < rest_of(b);
    });
    KvBatch ordered;
    ordered.reserve(changes.size());
    for (const Place& place : places) {
        KvChange& change = changes[place.index];
        const bool again = !ordered.empty() && ordered.back().table == change.table &&
                           ordered.back().key == change.key;
        if (!again) ordered.push_back(std::move(change));
    }
    return ordered;
}

}  // namespace

// ---- what the next image holds

void Store::mark_dirty(KeyRecord& record, Element* element) {
    RowState& row = element != nullptr ? element->row : record.row;
    if (row.dirty == generation_) return;
    if (image_ && row.dirty == image_->generation_ && !row.saved) save_row(record, element);
    note_old_rows(record, element);
    row.dirty = generation_;
    row.saved = false;
    dirty_.push_back({&record, element});
}

void Store::note_old_rows(const KeyRecord& record, const Element* element) {
    const ShardId shard = record.address.shard;
    const VersionVector& floor = state(shard).ix_floor;
    for_each_leaf(record, element, [&](const Leaf& leaf) {
        const bool removed = only_removed(leaf);
        for (const Entry& entry : leaf)
            if (removed || !floor.contains(entry.dot()))
                remove(old_rows_, Table::ix, ix_key(shard, entry.dot()));
    });
    if (element != nullptr) return;
    if (expires_here(record))
        remove(old_rows_, Table::deadlines, deadline_key(record.deadline, record.address));
    if (!mask_of(record).empty()) remove(old_rows_, Table::meta, masked_key(record.address));
}

void Store::save_row(KeyRecord& record, Element* element) {
    const ShardId shard = record.address.shard;
    KvBatch& changes = image_->changes_;
    std::string row_key;
    if (element != nullptr) {
        row_key = element_row_key(record.address, element->place);
        if (element->leaf.empty())
            remove(changes, Table::rows, row_key);
        else
            put(changes, Table::rows, row_key, encode_element(element->sub, element->leaf));
        element->row.saved = true;
    } else {
        row_key = key_row_key(record.address);
        if (record.vacant())
            remove(changes, Table::rows, row_key);
        else
            put(changes, Table::rows, row_key, encode(record));
        if (expires_here(record))
            put(changes, Table::deadlines, deadline_key(record.deadline, record.address), {});
        if (!mask_of(record).empty()) put(changes, Table::meta, masked_key(record.address), {});
        record.row.saved = true;
    }
    const VersionVector& floor = state(shard).ix_floor;
    for_each_leaf(record, element, [&](const Leaf& leaf) {
        const Indexed indexed = only_removed(leaf) ? Indexed::removed : Indexed::live;
        for (const Entry& entry : leaf)
            if (indexed == Indexed::removed || !floor.contains(entry.dot()))
                put(changes, Table::ix, ix_key(shard, entry.dot()), ix_value(row_key, indexed));
    });
}

// ---- the image

bool Store::wants_checkpoint() const {
    const std::uint64_t log_bytes_max = std::min<std::uint64_t>(
        std::clamp<std::uint64_t>(stored_bytes_ / 4, options_.checkpoint_log_bytes_min,
                                  options_.checkpoint_log_bytes_max),
        options_.memory_bytes / 4);
    const bool crowded = stats_.memory_bytes > options_.memory_bytes && !dirty_.empty();
    return !image_ && !halted_ &&
           (crowded || stats_.log_bytes_since_checkpoint >= log_bytes_max || staged_want_image() ||
            purge_wants_image() || reclaim_wants_image());
}

bool Store::overloaded() const {
    return stats_.memory_bytes > options_.memory_bytes + options_.memory_bytes / 8;
}

StateMeta Store::state_meta() const {
    return {.covered = last_,
            .shard_count = options_.shard_count,
            .hash_seed = options_.hash_seed,
            .clock = hlc_.last(),
            .draining = draining() ? drain_->session : 0,
            .staging = staging_.session,
            .cursor = staging_.cursor};
}

void Store::freeze() {
    ASSERT(!image_ && open_batch_.empty() && commit_.frames.empty());
    image_ = std::make_shared<Checkpoint>();
    image_->generation_ = generation_++;
    image_->state_ = state_meta();
    image_->changes_ = std::exchange(old_rows_, {});
    // To grow it by millions takes tens of milliseconds.
    image_->changes_.reserve(image_->changes_.size() + dirty_.size() * kChangesPerRow);
    put(image_->changes_, Table::meta, std::string(kStateMetaKey), encode(image_->state_));
    std::map<ShardId, VersionVector> cut;
    if (stable_cut_) cut.insert(stable_cut_->clocks.begin(), stable_cut_->clocks.end());
    for (const ShardId id : held_) {
        ShardState& shard = state(id);
        if (stable_cut_ && !shard.clock.empty()) {
            VersionVector floor = shard.ix_floor;
            floor.join(cut[id].meet(shard.clock));
            if (floor != shard.ix_floor) image_->floors_.push_back({id, shard.ix_floor, floor});
            shard.ix_floor = floor;
        }
        if (shard.clock.empty()) continue;
        ShardMeta meta{.clock = shard.clock,
                       .ix_floor = shard.ix_floor,
                       .purge_floor = shard.purge_floor,
                       .digest = shard.digest,
                       .keys = shard.key_counts,
                       .deadlines = shard.deadline_counts,
                       .databases = shard.databases,
                       .tombstones = shard.tombstones,
                       .before = {}};
        ASSERT(meta.clock.covers(meta.purge_floor));
        if (draining())
            if (const auto found = drain_->before.find(id); found != drain_->before.end())
                meta.before = found->second;
        put(image_->changes_, Table::meta, shard_meta_key(id), encode(meta));
    }
    freeze_staged();
    purged_bytes_ = 0;
    freeze_reclaimed();
    frozen_ = std::exchange(dirty_, {});
    saved_count_ = 0;
    stats_.log_bytes_since_checkpoint = 0;
}

bool Store::save_some(std::size_t row_count) {
    ASSERT(image_ != nullptr);
    const std::size_t end = std::min(frozen_.size(), saved_count_ + row_count);
    for (; saved_count_ < end; ++saved_count_) {
        const auto& [record, element] = frozen_[saved_count_];
        const RowState& row = element != nullptr ? element->row : record->row;
        if (row.dirty == image_->generation_ && !row.saved) save_row(*record, element);
    }
    return saved_count_ == frozen_.size();
}

LogPosition Store::checkpointed() {
    ASSERT(image_ && saved_count_ == frozen_.size());
    completed_ = image_->generation_;
    stats_.covered = image_->state_.covered;
    stored_bytes_ = kv_.stats().bytes_used;
    ++stats_.checkpoints;
    const LogPosition needed = image_->state_.covered.next();
    staged_in_image();
    purged_in_image();
    reclaimed_in_image();
    frozen_.clear();
    frozen_.shrink_to_fit();
    image_.reset();
    reader_.reset();
    return needed;
}

// Some at a time: what a pull of long ago has left may be much.
Result<void> Checkpoint::sweep(KvReader& stored) {
    constexpr std::size_t kSweptAtOnce = 20'000;
    if (!sweeps_) return {};
    auto keys = keys_of_other_sessions(stored, kept_, kSweptAtOnce);
    if (!keys) return std::unexpected(keys.error());
    sweeps_again_ = keys->size() == kSweptAtOnce;
    for (std::string& key : *keys) remove(changes_, Table::stage, std::move(key));
    return {};
}

Result<void> Checkpoint::write(Kv& kv, KvRoom room) {
    if (!sorted_) {
        // Index rows at or below a risen floor go, but for those of markers that are to be purged; then, of what deletes and puts the same row, the
        // put stands.
        const auto opened = kv.reader();
        if (!opened) return std::unexpected(opened.error());
        for (const Floor& floor : floors_) {
            for (const auto& [writer, seq] : floor.after) {
                const Dot first{writer, floor.before.at(writer).next()};
                const auto scanned =
                    (*opened)->scan(Table::ix, ix_key(floor.shard, first),
                                    ix_key(floor.shard, {writer, seq.next()}),
                                    [&](std::string_view key, std::string_view value) {
                                        if (parse_ix_value(value).indexed == Indexed::live)
                                            remove(changes_, Table::ix, std::string(key));
                                        return true;
                                    });
                if (!scanned) return scanned;
            }
        }
        floors_.clear();
        if (auto swept = sweep(**opened); !swept) return swept;
        changes_ = in_order(std::move(changes_));
        sorted_ = true;
    }
    auto written = kv.write(changes_, room);
    if (!written) return written;
    row_count_ = changes_.size();
    KvBatch().swap(changes_);  // here, where nobody waits for it
    return {};
}

// ---- eviction: a clock hand over all records

bool Store::evict_elements(KeyRecord& record) {
    if (!record.extra) return record.row.dirty <= completed_;
    auto& elements = record.extra->elements;
    for (auto next = elements.begin(); next != elements.end();) {
        if (next->row.dirty > completed_) {
            ++next;
            continue;
        }
        stats_.memory_bytes -= bytes_of(*next);
        ++stats_.evicted;
        record.extra->complete = false;
        next = elements.erase(next);
    }
    return elements.empty() && record.row.dirty <= completed_;
}

void Store::evict(std::size_t row_count) {
    for (std::size_t looked = 0;
         looked < row_count && stats_.memory_bytes > options_.memory_bytes;) {
        ShardState& shard = shards_[hand_shard_];
        const ShardRun run = run_of(held_[hand_shard_], options_.shard_count);
        hand_database_ = std::max(hand_database_, run.database_first);
        Keys& keys = shard.keys_of(hand_database_);
        auto next = keys.lower_bound(hand_order_);
        for (; next != keys.end() && looked < row_count &&
               stats_.memory_bytes > options_.memory_bytes;
             ++looked) {
            KeyRecord& record = *next;
            if (std::exchange(record.touched, false) || !evict_elements(record)) {
                ++next;
                continue;
            }
            stats_.memory_bytes -= bytes_of_key_row(record);
            ++stats_.evicted;
            track_deadline(record, false);
            shard.all_rows = false;
            if (last_found_ == &record) last_found_ = nullptr;
            next = keys.erase(next);
        }
        if (next != keys.end()) {
            hand_order_ = next->order();
            return;
        }
        ++looked;
        hand_order_ = {};
        if (++hand_database_ <= run.database_last) continue;
        hand_database_ = 0;
        hand_shard_ = (hand_shard_ + 1) % shards_.size();
    }
}

}  // namespace skerry
