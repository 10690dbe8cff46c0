// The part of store/store.hpp that lets go of leaves with nothing but stable REMOVED markers (docs/decisions/0012).
#include <algorithm>

#include "crdt/shortcut.hpp"
#include "crdt/types/value.hpp"
#include "store/store.hpp"

namespace skerry {

namespace {
// What a row that is purged, and was not going to be written anyway, costs the next image.
constexpr std::size_t kPurgedRowBytes = 512;
constexpr std::size_t kPurgedBytesMin =
    65'536;  // that an image may take, however little memory there is
constexpr std::size_t kIndexRowsAtOnce = 1024;
constexpr std::chrono::minutes kVacatedMax{1};  // rows that are purged leave the disk within it
}  // namespace

// ---- what may go

void Store::set_stable_cut(std::optional<StableCut> cut) {
    if (cut == stable_cut_) return;
    const bool others = !cut || !stable_cut_ || cut->everybody != stable_cut_->everybody ||
                        cut->lineages != stable_cut_->lineages ||
                        cut->partial != stable_cut_->partial;
    stable_cut_ = std::move(cut);
    cut_.assign(shards_.size(), {});
    if (stable_cut_)
        for (const auto& [shard, clock] : stable_cut_->clocks)
            if (holds(shard)) cut_[place_of(shard)] = clock;
    if (others) {
        looked_.assign(shards_.size(), {});
        for (const auto& [shard, marker] : std::exchange(speaking_, {}))
            markers_[place_of(shard)].push_back(marker);
    }
    look_for_markers();
}

void Store::look_for_markers() {
    purge_due_ = true;
    shards_to_look_at_ = shards_.size();
}

const VersionVector& Store::cut_of(ShardId shard) const {
    return taken(Shortcut::unstable_purged) ? this->shard(shard).clock : cut_[place_of(shard)];
}

// A marker may say how much of what a writer has added is cancelled. What that writer added meanwhile, and a member that
// does not count may bring, would then count whole where the marker is gone, and less where it is not.
bool Store::still_speaks(ShardId shard, LeafKind kind, const Leaf& leaf) const {
    const StableCut& cut = *stable_cut_;
    if ((cut.everybody && cut.partial.empty()) ||
        (kind != LeafKind::string && kind != LeafKind::field))
        return false;
    return std::ranges::any_of(value::cancelled_writers(leaf), [&](ReplicaId writer) {
        const std::uint64_t lineage = writer.lineage();
        if (!cut.everybody && !std::ranges::binary_search(cut.lineages, lineage)) return true;
        const auto part = std::ranges::lower_bound(cut.partial, lineage, {}, &PartHolder::lineage);
        return part != cut.partial.end() && part->lineage == lineage &&
               !part->holds.holds(shard, options_.shard_count);
    });
}

bool Store::purgeable(ShardId shard, LeafKind kind, const Leaf& leaf) const {
    return only_removed(leaf) && !leaf.outside(cut_of(shard)) && !still_speaks(shard, kind, leaf);
}

bool Store::purge_is_full() const {
    return purged_bytes_ >= std::max(options_.memory_bytes / 8, kPurgedBytesMin);
}

bool Store::step_purge(std::size_t leaf_count) {
    bool stepped = drop_vacated(leaf_count);
    if (halted_ || !stable_cut_ || purge_is_full()) return stepped;
    if (purge_due_) stepped |= purge_in_memory(leaf_count);
    if (leaf_count > 0 && !purge_is_full()) stepped |= purge_stored(leaf_count);
    return stepped && !halted_;
}

// ---- markers that no image holds yet

bool Store::purge_in_memory(std::size_t& leaf_count) {
    const std::size_t before = leaf_count;
    for (std::size_t shards = shards_.size(); shards > 0; --shards) {
        purge_markers(held_[purge_shard_], leaf_count);
        if (leaf_count == 0 || purge_is_full()) return true;
        purge_shard_ = (purge_shard_ + 1) % shards_.size();
    }
    purge_due_ = false;  // until the cut moves
    return leaf_count != before;
}

// In the order they came: behind the first that is not stable few are.
void Store::purge_markers(ShardId shard, std::size_t& leaf_count) {
    std::deque<Marker>& markers = markers_[place_of(shard)];
    while (!markers.empty() && leaf_count > 0 && !purge_is_full()) {
        const Marker marker = markers.front();
        if (marker.generation > completed_) {
            const Leaf& leaf =
                marker.element != nullptr ? marker.element->leaf : marker.record->leaf(marker.kind);
            const bool removed = only_removed(leaf);
            if (removed && (state(shard).staged || leaf.outside(cut_of(shard)))) return;
            if (removed && still_speaks(shard, marker.kind, leaf)) {
                speaking_.emplace_back(shard, marker);
            } else if (removed) {
                purge_leaf(
                    *marker.record, marker.kind,
                    marker.element != nullptr ? std::string(marker.element->sub) : std::string());
                --leaf_count;
            }
        }
        markers.pop_front();
    }
}

// ---- markers that the index knows

bool Store::purge_stored(std::size_t& leaf_count) {
    bool looked = false;
    while (shards_to_look_at_ > 0 && leaf_count > 0 && !purge_is_full() && !halted_) {
        const ShardId shard = held_[shards_to_look_at_ - 1];
        const ShardState& here = state(shard);
        if (here.tombstones == 0 || here.staged || !purge_indexed(shard, leaf_count))
            --shards_to_look_at_;
        else
            looked = true;
    }
    return looked;
}

// The next rows of the index that were not looked at since the last image. False: there are none.
bool Store::purge_indexed(ShardId shard, std::size_t& leaf_count) {
    VersionVector& looked = looked_[place_of(shard)];
    for (const auto& [writer, last] : cut_of(shard)) {
        const Seq from = looked.at(writer);
        if (from >= last) continue;
        KvReader* stored = reader();
        if (stored == nullptr) return false;
        std::vector<std::string> rows;
        std::size_t count = 0;
        Dot at{writer, last};
        const auto scanned = stored->scan(Table::ix, ix_key(shard, {writer, from.next()}),
                                          ix_key(shard, {writer, last.next()}),
                                          [&](std::string_view key, std::string_view value) {
                                              const IxValue indexed = parse_ix_value(value);
                                              if (indexed.indexed == Indexed::removed)
                                                  rows.emplace_back(indexed.row_key);
                                              if (++count < std::min(leaf_count, kIndexRowsAtOnce))
                                                  return true;
                                              if (const auto dot = parse_ix_key(key)) at = *dot;
                                              return false;
                                          });
        if (!scanned) halt(scanned.error());
        looked.advance(at);
        for (const std::string& row : rows) purge_row(row);
        leaf_count -= std::min(leaf_count, std::max<std::size_t>(count, 1));
        return true;
    }
    return false;
}

void Store::purge_row(std::string_view row_key) {
    const auto place = parse_row_key(row_key);
    if (!place) return halt(place.error());
    KeyRecord* record = in_memory(place->address);
    std::unique_ptr<KeyRecord> loaded;
    if (record == nullptr) {
        loaded = load_record(place->address);
        record = loaded.get();
    }
    if (record == nullptr) return;  // it has gone, and an image is on its way that says so
    std::vector<std::pair<LeafKind, std::string>> leaves;
    const auto offer = [&](LeafKind kind, std::string_view sub, const Leaf& leaf) {
        if (purgeable(place->address.shard, kind, leaf)) leaves.emplace_back(kind, sub);
    };
    if (place->element) {
        const auto element = stored_element(*record, *place->element);
        if (element) offer(place->element->kind, element->sub, element->leaf);
    } else {
        offer(LeafKind::string, {}, record->string);
        if (record->extra)
            for (const auto& [kind, leaf] : record->extra->leaves) offer(kind, {}, leaf);
    }
    if (leaves.empty()) return;
    if (loaded) {
        record = &insert(std::move(loaded));
        record->touched = false;  // nobody has asked for it
    }
    for (const auto& [kind, sub] : leaves) purge_leaf(*record, kind, sub);
}

// An element as it is, in memory or beyond; it is not kept in memory.
std::optional<ElementRow> Store::stored_element(const KeyRecord& record,
                                                const ElementOrder& order) {
    if (!record.extra) return std::nullopt;
    if (const Element* found = record.extra->elements.find(order))
        return ElementRow{std::string(found->sub), found->leaf};
    KvReader* stored = record.extra->complete ? nullptr : reader();
    if (stored == nullptr) return std::nullopt;
    const auto row = stored->get(Table::rows, element_row_key(record.address, order));
    if (!row) halt(row.error());
    if (!row || !*row) return std::nullopt;
    Result<ElementRow> decoded = decode_element_row(**row);
    if (!decoded) halt(decoded.error());
    return decoded ? std::optional(std::move(*decoded)) : std::nullopt;
}

// ---- letting go

// No event: nobody sees a difference, and no record says it. The floor rises with the same image that leaves the row out.
void Store::purge_leaf(KeyRecord& record, LeafKind kind, std::string_view sub) {
    const LogPosition changed = record.changed;  // a reader need not wait for it
    const Generation dirty = record.row.dirty;
    const std::size_t bytes = stats_.memory_bytes;
    const Change change = begin_change(record, kind, sub);
    for (const Entry& entry : *change.leaf)
        state(record.address.shard).purge_floor.advance(entry.dot());
    *change.leaf = Leaf{};
    end_change(record, change);
    record.changed = changed;
    ++stats_.purged;
    if (dirty != generation_ || stats_.memory_bytes > bytes) purged_bytes_ += kPurgedRowBytes;
}

void Store::note_vacated(const KeyRecord& record, const Element* element) {
    if (element == nullptr && !record.vacant()) return;
    if (vacated_.empty() || vacated_.back().generation != generation_) vacated_at_ = now_;
    if (element != nullptr) vacated_.push_back({record.address, element->place, generation_});
    if (record.vacant()) vacated_.push_back({record.address, std::nullopt, generation_});
}

// Of rows that the ordered store holds no more.
bool Store::drop_vacated(std::size_t& row_count) {
    const std::size_t before = row_count;
    for (; row_count > 0 && !vacated_.empty() && vacated_.front().generation <= completed_;
         --row_count, vacated_.pop_front()) {
        const Vacated& row = vacated_.front();
        Keys& keys = state(row.address.shard).keys_of(row.address.database);
        KeyRecord* record = keys.find(row.address.order);
        if (record == nullptr) continue;
        if (row.element && record->extra) {
            auto& elements = record->extra->elements;
            const Element* element = elements.find(*row.element);
            if (element == nullptr || !element->leaf.empty() || element->row.dirty > completed_)
                continue;
            stats_.memory_bytes -= bytes_of(*element);
            elements.erase(elements.lower_bound(*row.element));
        }
        if (!record->vacant() || record->row.dirty > completed_ ||
            (record->extra && !record->extra->elements.empty()))
            continue;
        stats_.memory_bytes -= bytes_of_key_row(*record);
        if (last_found_ == record) last_found_ = nullptr;
        keys.erase(keys.lower_bound(row.address.order));
    }
    return row_count != before;
}

// ---- images

bool Store::purge_wants_image() const {
    return purge_is_full() || (!vacated_.empty() && vacated_.back().generation == generation_ &&
                               now_ >= vacated_at_ + kVacatedMax);
}

void Store::purged_in_image() {
    for (std::deque<Marker>& markers : markers_)
        while (!markers.empty() && markers.front().generation <= completed_) markers.pop_front();
    std::erase_if(speaking_,
                  [&](const auto& pair) { return pair.second.generation <= completed_; });
    looked_.assign(shards_.size(), {});  // the index has others now
    look_for_markers();
}

}  // namespace skerry
