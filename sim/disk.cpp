#include "sim/disk.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "crdt/types/clear.hpp"
#include "store/log_frame.hpp"
#include "store/row.hpp"

namespace skerry::sim {

bool SimLog::index(std::size_t from) {
    const LogPosition next = last().next();
    const LogScan scan = scan_frames(
        std::string_view(bytes_).substr(from), next, LogPosition{},
        [&](const LogFrame&, std::size_t offset) { offsets_.push_back(from + offset); });
    bytes_.resize(from + scan.good_bytes);
    whole_bytes_ = bytes_.size();
    return !scan.damaged;
}

Result<void> SimLog::append(std::string_view frames, LogPosition last_position) {
    const std::size_t from = bytes_.size();
    if (tail_undefined_ || sync_failed_)
        return fail(Code::io_failed, "an append or a sync has failed");
    if (room_ == Room::none) {
        tail_undefined_ = true;
        bytes_ += frames.substr(0, frames.size() / 2);
        return fail(Code::out_of_space, "append");
    }
    bytes_ += frames;
    (void)index(from);
    if (bytes_.size() != from + frames.size() || last() != last_position)
        return fail(Code::corrupt, "frames out of order");
    return {};
}

Result<void> SimLog::sync() {
    if (std::exchange(sync_fails_, false) && !ignores_syncs_) sync_failed_ = true;
    if (sync_failed_) return fail(Code::io_failed, "a sync has failed");
    durable_ = last();
    durable_bytes_ = whole_bytes_;
    if (!ignores_syncs_) {
        on_disk_ = durable_;
        on_disk_bytes_ = durable_bytes_;
    }
    return {};
}

Result<void> SimLog::truncate_to_durable() {
    tail_undefined_ = sync_failed_ = false;
    bytes_.resize(durable_bytes_);
    whole_bytes_ = durable_bytes_;
    offsets_.resize(durable_.next().value - first_.value);
    return {};
}

Result<void> SimLog::read(LogPosition from, Visit visit) const {
    if (from < first_) return fail(Code::truncated, "before the first record kept");
    for (std::size_t i = from.value - first_.value; i < offsets_.size(); ++i) {
        const auto frame = parse_frame(std::string_view(bytes_).substr(offsets_[i]));
        if (!frame || frame->position.value != first_.value + i)
            return fail(Code::corrupt, "a bad frame");
        if (!visit(frame->position, frame->body)) break;
    }
    return {};
}

Result<void> SimLog::drop_before(LogPosition position) {
    // As with files: what is not synced lies in a segment that stays.
    position = std::min(position, durable_.next());
    if (position <= first_) return {};
    const std::size_t count = std::min<std::size_t>(position.value - first_.value, offsets_.size());
    const std::size_t cut = count < offsets_.size() ? offsets_[count] : whole_bytes_;
    bytes_.erase(0, cut);
    offsets_.erase(offsets_.begin(), offsets_.begin() + static_cast<std::ptrdiff_t>(count));
    for (std::size_t& offset : offsets_) offset -= cut;
    durable_bytes_ -= std::min(cut, durable_bytes_);
    on_disk_bytes_ -= std::min(cut, on_disk_bytes_);
    whole_bytes_ -= cut;
    first_.value += count;
    on_disk_.value = std::max(on_disk_.value, first_.value - 1);
    return {};
}

bool SimLog::crash(Random& random) {
    const std::size_t written = bytes_.size();
    durable_ = on_disk_;
    durable_bytes_ = on_disk_bytes_;
    crash(random.between(0, written - durable_bytes_));
    return bytes_.size() < written;
}

void SimLog::crash(std::size_t unsynced_bytes_kept) {
    bytes_.resize(std::min(bytes_.size(), durable_bytes_ + unsynced_bytes_kept));
    sync_fails_ = false;
}

Result<void> SimLog::reopen() {
    const auto before = std::tuple(bytes_, std::exchange(offsets_, {}), whole_bytes_);
    tail_undefined_ = sync_failed_ = false;
    if (!index(0)) {
        std::tie(bytes_, offsets_, whole_bytes_) = before;
        return fail(Code::corrupt, "what had been durable is damaged");
    }
    // As opening does, before anything relies on it.
    durable_ = on_disk_ = last();
    durable_bytes_ = on_disk_bytes_ = whole_bytes_;
    return {};
}

std::optional<bool> SimLog::rot(Random& random) {
    if (durable_bytes_ == 0) return std::nullopt;
    const std::size_t at = random.below(durable_bytes_);
    const auto hit = std::prev(std::ranges::upper_bound(offsets_, at));
    const LogPosition position{first_.value + static_cast<std::uint64_t>(hit - offsets_.begin())};
    const bool proven = std::any_of(std::next(hit), offsets_.end(), [&](std::size_t offset) {
        if (offset >= bytes_.size()) return false;  // a crash has taken it
        const auto frame = parse_frame(std::string_view(bytes_).substr(offset));
        return frame && frame->durable_before >= position;
    });
    bytes_[at] ^= static_cast<char>(1 << random.below(8));
    return proven;
}

void SimLog::rot(LogPosition position) {
    ASSERT(position >= first_ && position <= last());
    bytes_[offsets_[position.value - first_.value] + kLogFrameHeaderBytes] ^= 1;
}

namespace {

class SimReader final : public KvReader {
  public:
    explicit SimReader(std::shared_ptr<const SimKv::Rows> rows) : rows_(std::move(rows)) {}

    Result<std::optional<std::string_view>> get(Table table, std::string_view key) override {
        const auto& rows = (*rows_)[static_cast<std::size_t>(table)];
        const auto found = rows.find(key);
        if (found == rows.end()) return std::nullopt;
        return std::string_view(found->second);
    }

    Result<void> scan(Table table, std::string_view from, std::string_view to,
                      Visit visit) override {
        const auto& rows = (*rows_)[static_cast<std::size_t>(table)];
        for (auto row = rows.lower_bound(from);
             row != rows.end() && (to.empty() || row->first < to); ++row)
            if (!visit(row->first, row->second)) break;
        return {};
    }

  private:
    std::shared_ptr<const SimKv::Rows> rows_;
};

}  // namespace

Result<std::unique_ptr<KvReader>> SimKv::reader() const {
    return std::make_unique<SimReader>(rows_);
}

Result<void> SimKv::write(const KvBatch& batch, KvRoom room) {
    if (auto fits = check_limits(batch); !fits) return fits;
    const Room needed = room == KvRoom::with_reserve ? Room::reserve : Room::plenty;
    if (room_ > needed) return fail(Code::out_of_space, "write");
    if (std::exchange(write_fails_, false)) return fail(Code::io_failed, "write");
    if (halves_ == Halves::together) {
        apply(batch);
        return {};
    }
    KvBatch first;
    for (const KvChange& change : batch) {
        const bool clock = change.table == Table::meta;
        (clock == (halves_ == Halves::clocks_first) ? first : second_half_).push_back(change);
    }
    apply(first);
    return {};
}

void SimKv::finish() { apply(std::exchange(second_half_, {})); }

void SimKv::apply(const KvBatch& batch) {
    auto rows = std::make_shared<Rows>(*rows_);
    for (const KvChange& change : batch) {
        auto& table = (*rows)[static_cast<std::size_t>(change.table)];
        if (change.value)
            table.insert_or_assign(change.key, *change.value);
        else
            table.erase(change.key);
    }
    rows_ = std::move(rows);
}

KvStats SimKv::stats() const {
    KvStats stats;
    for (const auto& table : *rows_)
        for (const auto& [key, value] : table) stats.bytes_used += key.size() + value.size();
    stats.bytes_on_disk = stats.bytes_used;
    return stats;
}

namespace {
using TableRows = std::map<std::string, std::string, std::less<>>;

template <class Tables>
const TableRows& meta_of(const Tables& tables) {
    return tables[static_cast<std::size_t>(Table::meta)];
}

// What clears have masked in the elements of the row's key.
VersionVector mask_in(const TableRows& rows, const RowKey& row) {
    const auto key = rows.find(key_row_key(row.address));
    return key == rows.end() ? VersionVector{} : decode_key_row(key->second)->sums.mask;
}

// And those of its database.
VersionVector mask_over(const TableRows& meta, const RowAddress& address) {
    const auto shard = meta.find(shard_meta_key(address.shard));
    if (shard == meta.end()) return {};
    return decode_shard_meta(shard->second)->databases[place_in_shard(address.database)].mask;
}

// One that can be seen.
bool has_live_entry(const TableRows& rows, const TableRows& meta, std::string_view row,
                    std::string_view value) {
    const RowKey place = *parse_row_key(row);
    const VersionVector mask = mask_over(meta, place.address);
    if (place.element) {
        Leaf leaf = decode_element_row(value)->leaf;
        if (clear::reaches(place.element->kind)) {
            clear::unmask(leaf, mask_in(rows, place));
            clear::unmask(leaf, mask);
        }
        return leaf.any_live();
    }
    const auto key = decode_key_row(value);
    return std::ranges::any_of(key->leaves, [&](const auto& pair) {
        Leaf leaf = pair.second;
        clear::unmask(leaf, mask);
        return leaf.any_live();
    });
}
}  // namespace

std::optional<std::pair<std::string, std::string>> SimKv::lose_row(Random& random) {
    auto rows = std::make_shared<Rows>(*rows_);
    auto& table = (*rows)[static_cast<std::size_t>(Table::rows)];
    if (table.empty()) return std::nullopt;
    const auto lost =
        std::next(table.begin(), static_cast<std::ptrdiff_t>(random.below(table.size())));
    if (!has_live_entry(table, meta_of(*rows), lost->first, lost->second)) return std::nullopt;
    std::pair<std::string, std::string> row = *lost;
    table.erase(lost);
    rows_ = std::move(rows);
    return row;
}

namespace {
// Without one live entry, or with one that is older. False: it has none.
bool change_leaf(Leaf& leaf, Random& random) {
    const auto live = static_cast<std::size_t>(std::ranges::count_if(leaf, &Entry::live));
    if (live == 0) return false;
    const std::size_t chosen = random.below(live);
    const bool drops = random.one_in(2);
    Leaf changed;
    std::size_t i = 0;
    for (Entry entry : leaf) {
        const bool is_chosen = entry.live() && i++ == chosen;
        if (is_chosen && drops) continue;
        if (is_chosen) entry.hlc.packed -= std::min<std::uint64_t>(entry.hlc.packed, 1);
        changed.put(std::move(entry));
    }
    leaf = std::move(changed);
    return true;
}
}  // namespace

bool SimKv::change_row(Random& random) {
    auto rows = std::make_shared<Rows>(*rows_);
    auto& table = (*rows)[static_cast<std::size_t>(Table::rows)];
    if (table.empty()) return false;
    const auto row =
        std::next(table.begin(), static_cast<std::ptrdiff_t>(random.below(table.size())));
    if (!has_live_entry(table, meta_of(*rows), row->first, row->second)) return false;
    if (parse_row_key(row->first)->element) {
        ElementRow element = *decode_element_row(row->second);
        if (!change_leaf(element.leaf, random)) return false;
        row->second = encode_element(element.sub, element.leaf);
    } else {
        KeyRow key = *decode_key_row(row->second);
        if (key.leaves.empty() ||
            !change_leaf(key.leaves[random.below(key.leaves.size())].second, random))
            return false;
        KeyLeaves leaves;
        for (const auto& [kind, leaf] : key.leaves)
            if (!leaf.empty()) leaves.emplace_back(kind, &leaf);
        row->second = encode_key_row(key.key, key.totals, key.sums, leaves);
    }
    rows_ = std::move(rows);
    return true;
}

}  // namespace skerry::sim
