// The part of store/store.hpp that takes what a pull stages, and makes it part of the state: at once, or by and by.
#include <algorithm>
#include <set>

#include "crdt/shortcut.hpp"
#include "crdt/types/clear.hpp"
#include "store/store.hpp"

namespace skerry {

namespace {
constexpr std::size_t kLeavesAtOnce = 256;  // read in one go: the reader is used for rows between
constexpr std::uint64_t kPlus = 1;
constexpr std::uint64_t kMinus = ~std::uint64_t{0};  // modulo 2^64

std::string behind(const std::string& place) { return place + '\0'; }

// What is staged and in no image yet, read as if it were in the table.
class StagingReader final : public KvReader {
  public:
    explicit StagingReader(const Staging& staging) : staging_(staging) {}

    Result<std::optional<std::string_view>> get(Table, std::string_view key) override {
        const auto found = staging_.rows.find(key);
        if (found == staging_.rows.end()) return std::nullopt;
        return std::string_view(found->second);
    }
    Result<void> scan(Table, std::string_view from, std::string_view to, Visit visit) override {
        for (auto row = staging_.rows.lower_bound(from);
             row != staging_.rows.end() && (to.empty() || row->first < to); ++row)
            if (!visit(row->first, row->second)) break;
        return {};
    }

  private:
    const Staging& staging_;
};
}  // namespace

// A key as it will be when its staged leaves have joined: its own leaves, and how many elements show.
struct Store::JoinedKey {
    std::unique_ptr<KeyRecord> record;  // without elements
    std::unique_ptr<KeyRecord> loaded;  // the key as it is here, if it is not in memory
    const KeyRecord* mine = nullptr;    // the same, wherever it is; nullptr: there is none
    bool existed = false;
    bool expired = false;       // it had a deadline
    std::uint64_t digest = 0;   // what the shard's gains,
    std::uint64_t flushed = 0;  // and that of what a clear of its database reaches

    void gain(LeafKind kind, std::uint64_t gained) {
        digest += gained;
        if (clear::flushes(kind)) flushed += gained;
    }
};

// ---- staging

void Store::stage(const Stage& stage) {
    close_batch();
    const std::size_t header_at = begin_record();
    append_stage(commit_.frames, stage);
    end_record(header_at);
    take_stage(stage, last_);
    if (taken(Shortcut::join_on_arrival)) join_at_once([](LeafKind) { return true; });
    if (taken(Shortcut::clock_per_chunk)) join_clocks(stage.clocks);
}

void Store::take_stage(const Stage& stage, LogPosition position) {
    if (taken(Shortcut::chunk_at_final)) position = LogPosition{1};  // one clock for all, the last
    if (staging_.session != stage.session) drop_session(staging_.session);
    staging_.session = stage.session;
    if (!stage.cursor.empty()) staging_.cursor = stage.cursor;
    const std::map<ShardId, VersionVector> clocks(stage.clocks.begin(), stage.clocks.end());
    std::set<ShardId> named;  // whose clock is there
    for (const StagedLeaf& staged : stage.leaves) {
        const LeafKey& key = staged.key;
        const RowAddress address = address_of(key.database, key.key);
        const auto clock = clocks.find(address.shard);
        if (clock == clocks.end()) continue;
        staging_.flushes = staging_.flushes || key.kind == LeafKind::flush;
        if (named.insert(address.shard).second)
            put_staged(stage_clock_key(stage.session, address.shard, position),
                       encode_stage_clock(clock->second));
        const ElementOrder order =
            is_key_level(key.kind) ? ElementOrder{} : order_of(key.kind, key.sub);
        put_staged(stage_key(stage.session, stage_place(address, key.kind, order)),
                   encode_staged(position, staged));
        for (const Entry& entry : staged.leaf)
            if (!hlc_.observe(entry.hlc, now_)) ++stats_.clocks_ahead;
    }
}

void Store::put_staged(std::string key, std::string value) {
    constexpr std::size_t kSlot = 2 * sizeof(std::string) + 16;
    std::size_t bytes = kSlot + key.size() + value.size();
    const auto [place, fresh] = staging_.rows.try_emplace(std::move(key));
    if (!fresh) bytes -= kSlot + place->first.size() + place->second.size();  // may be below 0
    place->second = std::move(value);
    staging_.bytes += bytes;
    stats_.staged_bytes += bytes;
    stats_.memory_bytes += bytes;
}

bool Store::staging_full() const { return stats_.staged_bytes >= options_.memory_bytes / 8; }

std::optional<Store::OpenSession> Store::open_session() const {
    if (staging_.session == 0) return std::nullopt;
    return OpenSession{staging_.session, staging_.cursor};
}

void Store::drop_session(std::uint64_t session) {
    if (session == 0 || staging_.session != session) return;
    // While a drain lasts nothing has been measured, and the marks are the drain's.
    if (measure_ && !draining()) {
        for (ShardState& shard : shards_) shard.staged = false;
        look_for_markers();
    }
    measure_.reset();
    sweep_ = sweep_ || staging_.frozen_in;
    forget_staging();
}

void Store::forget_staging() {
    stats_.staged_bytes -= staging_.bytes;
    stats_.memory_bytes -= staging_.bytes;
    staging_ = {};
}

// ---- images

bool Store::staged_want_image() const {
    return (measure_ && !staging_.rows.empty()) || staging_full() || sweep_ ||
           (drain_ && (drain_->bytes >= options_.memory_bytes / 8 || (measure_ && !draining())));
}

void Store::freeze_staged() {
    for (auto& [key, value] : staging_.rows)
        image_->changes_.push_back({Table::stage, key, std::move(value)});
    if (!staging_.rows.empty()) staging_.frozen_in = image_->generation_;
    staging_.rows.clear();
    image_->staged_bytes_ = std::exchange(staging_.bytes, 0);
    if (drain_) drain_->bytes = 0;
    image_->sweeps_ = std::exchange(sweep_, false);
    image_->kept_ = {staging_.session};
    if (draining()) image_->kept_.push_back(drain_->session);
}

void Store::staged_in_image() {
    stats_.staged_bytes -= image_->staged_bytes_;
    stats_.memory_bytes -= image_->staged_bytes_;
    sweep_ = sweep_ || image_->sweeps_again_;
    if (!drain_ || draining() || *drain_->finished_in > image_->generation_) return;
    drain_.reset();
    sweep_ = true;  // its clocks are left
}

// ---- after a start

Result<void> Store::load_staged(const StateMeta& meta, std::map<ShardId, VersionVector> before) {
    staging_.session = meta.staging;
    staging_.cursor = meta.cursor;
    const auto stored = read_staged(*reader(), meta.staging, {}, {}, 1);
    if (!stored) return std::unexpected(stored.error());
    if (!stored->empty()) staging_.frozen_in = completed_;
    const auto others = keys_of_other_sessions(*reader(), {meta.staging, meta.draining}, 1);
    if (!others) return std::unexpected(others.error());
    sweep_ = !others->empty();
    if (meta.draining == 0) return {};
    drain_.emplace();
    stats_.draining = true;
    drain_->session = meta.draining;
    drain_->flipped = meta.covered;
    drain_->before = std::move(before);
    for (const auto& [shard, clock] : drain_->before) {
        const auto any = any_staged(*reader(), meta.draining, shard);
        if (!any) return std::unexpected(any.error());
        state(shard).staged = *any;
    }
    return {};
}

// ---- the flip

bool Store::flip(std::uint64_t session, const ShardClocks& clocks, const ShardClocks& floors) {
    ASSERT(!measure_);
    const bool little = !staging_.frozen_in && staging_.bytes <= options_.flip_bytes_max;
    if (staging_.session == session && !little) {
        measure_.emplace();
        measure_->clocks = clocks;
        measure_->floors = floors;
        return false;
    }
    close_batch();
    const Flip flip{session, clocks, {}, floors};
    apply_flip(flip);
    log_flip(flip);
    return true;
}

void Store::log_flip(const Flip& flip) {
    if (taken(Shortcut::flip_unnamed)) foreign_.clear();
    const std::size_t header_at = begin_record();
    append_flip(commit_.frames, flip);
    end_record(header_at);
}

void Store::apply_flip(const Flip& flip) {
    last_found_ = nullptr;  // it was touched before the flip
    if (flip.gains.empty() && staging_.session == flip.session) {
        // Everything else comes under the masks of these.
        if (staging_.flushes) join_at_once([](LeafKind kind) { return kind == LeafKind::flush; });
        join_at_once([](LeafKind kind) { return kind != LeafKind::flush; });
    }
    if (!flip.gains.empty()) begin_drain(flip);
    join_clocks(flip.clocks);
    for (const auto& [shard, floor] : flip.floors)
        if (!taken(Shortcut::floor_not_joined)) state(shard).purge_floor.join(floor);
    if (staging_.session == flip.session) forget_staging();
}

void Store::join_at_once(absl::FunctionRef<bool(LeafKind)> joins) {
    StagingReader staged(staging_);
    std::string at;
    while (true) {
        const auto rows = read_staged(staged, staging_.session, at, {}, kLeavesAtOnce);
        ASSERT(rows.has_value());  // it was encoded here
        if (rows->empty()) return;
        for (const StagedRow& row : *rows) {
            const LeafKey& key = row.staged.key;
            if (!joins(key.kind)) continue;
            KeyRecord& record = find_or_make(key.database, key.key);
            const Change change = begin_change(record, key.kind, key.sub);
            join_leaf(*change.leaf, state(row.address.shard).clock, row.staged.leaf, row.clock);
            unmask_joined(record, key.kind, *change.leaf);
            end_change(record, change);
        }
        at = behind(rows->back().place);
    }
}

void Store::join_clocks(const ShardClocks& clocks) {
    for (const auto& [shard, clock] : clocks)
        for (const auto& [replica, seq] : clock) advance(shard, {replica, seq});
}

std::vector<StagedRow> Store::staged_rows(std::uint64_t session, std::string_view from,
                                          std::string_view to, std::size_t count) {
    KvReader* stored = reader();
    if (stored == nullptr) return {};
    auto rows = read_staged(*stored, session, from, to, count);
    if (rows) return std::move(*rows);
    halt(rows.error());
    return {};
}

bool Store::step_staged(std::size_t leaf_count) {
    if (halted_) return false;
    bool stepped = false;
    // Not before the flip is durable: a reader waits for it only where a touch has joined.
    if (draining() && durable_ >= drain_->flipped) stepped = drain_some(leaf_count);
    if (measure_) stepped |= measure_some(leaf_count);
    if (stepped) last_found_ = nullptr;  // it must be touched before it is found again
    return stepped && !halted_;
}

// A command is about to look at the key.
void Store::touch(const RowAddress& address, std::string_view key) {
    if (draining()) return drain_key(address, key);
    if (!measure_ || stage_places_from(address) >= measure_->at ||
        measure_->touched.contains(address))
        return;
    const auto joined = joined_key(address, staging_.session, {}, state(address.shard).clock);
    if (!joined) return;
    count_gain(*joined, kMinus);
    measure_->touched.insert(address);
}

// ---- a key as it will be

Store::JoinedKey Store::begin_joined(const RowAddress& address, std::string_view key) {
    JoinedKey joined;
    if (KeyRecord* record = in_memory(address)) {
        settle(*record);
        joined.mine = record;
    } else if (!state(address.shard).all_rows) {
        joined.loaded = load_record(address);
        if (joined.loaded) put_under_mask(*joined.loaded);
        joined.mine = joined.loaded.get();
    }
    joined.record = std::make_unique<KeyRecord>();
    KeyRecord& record = *joined.record;
    record.address = address;
    record.key = ShortBytes(key);
    if (joined.mine == nullptr) return joined;
    record.string = joined.mine->string;
    if (joined.mine->extra) {
        record.with_extra().leaves = joined.mine->extra->leaves;
        record.extra->totals = joined.mine->extra->totals;
        record.extra->sums = joined.mine->extra->sums;
    }
    // What is masked when the flip comes is not gained by what joins behind it.
    if (const VersionVector& to_come = mask_to_come(address); !to_come.empty()) {
        unmask_own_leaves(record, to_come);
        if (record.extra && !mask_of(record).covers(to_come)) remains_of(joined, to_come);
    }
    derive(record);
    joined.existed = record.exists();
    joined.expired = record.expires();
    return joined;
}

// The elements that are here, under one mask more.
void Store::remains_of(JoinedKey& joined, const VersionVector& clock) {
    Extra& extra = *joined.record->extra;
    VersionVector mask = clock;
    mask.join(extra.sums.mask);
    Remains left = remains_under(*joined.mine, mask);
    extra.totals.live = left.live;
    extra.sums = std::move(left.sums);
    extra.sums.mask = std::move(mask);
}

// Of the database, by clears that are staged for the flip that is measured.
const VersionVector& Store::mask_to_come(const RowAddress& address) {
    static const VersionVector kNothing;
    if (!measure_ || draining() || taken(Shortcut::flush_unmeasured)) return kNothing;
    const auto [known, fresh] = measure_->flushes.try_emplace({address.shard, address.database});
    if (fresh)
        if (const auto row = staged_flush(staging_.session, address.shard, address.database))
            known->second = clear::covered(row->staged.leaf);
    return known->second;
}

std::optional<StagedRow> Store::staged_flush(std::uint64_t session, ShardId shard,
                                             DatabaseId database) {
    if (database == kConfigurationDatabase) return std::nullopt;
    const RowAddress address = address_of(database, flush_key_of(shard));
    const std::string place = stage_place(address, LeafKind::flush, {});
    auto rows = staged_rows(session, place, behind(place), 1);
    if (rows.empty()) return std::nullopt;
    return std::move(rows.front());
}

// A database has been masked: all that was measured of it is something else now.
void Store::measure_again() {
    measure_->at.clear();
    measure_->gains.clear();
    measure_->touched.clear();
}

Leaf Store::leaf_of(const JoinedKey& joined, const ElementOrder& order) {
    if (joined.mine == nullptr || !joined.mine->extra) return {};
    if (const Element* found = joined.mine->extra->elements.find(order)) return found->leaf;
    KvReader* stored = joined.mine->extra->complete ? nullptr : reader();
    if (stored == nullptr) return {};
    const auto row = stored->get(Table::rows, element_row_key(joined.mine->address, order));
    if (!row) halt(row.error());
    if (!row || !*row) return {};
    Result<ElementRow> decoded = decode_element_row(**row);
    if (!decoded) halt(decoded.error());
    return decoded ? std::move(decoded->leaf) : Leaf{};
}

void Store::join_virtually(JoinedKey& joined, const StagedRow& row, const VersionVector& mine) {
    const LeafKind kind = row.staged.key.kind;
    if (kind == LeafKind::flush) return;  // it joins at the flip: mask_to_come()
    const bool element = !is_key_level(kind);
    const ElementOrder order =
        element ? order_of(kind, row.staged.key.sub) : ElementOrder{kind, {}};
    Leaf apart = element ? leaf_of(joined, order) : Leaf{};
    const auto unmask = [&](Leaf& leaf) {
        unmask_joined(*joined.record, kind, leaf);
        if (clear::flushes(kind)) clear::unmask(leaf, mask_to_come(row.address));
    };
    unmask(apart);
    Leaf& leaf = element ? apart : joined.record->leaf_to_change(kind);
    const bool showed = shows(kind, leaf);
    const bool counted = counts(kind, leaf);
    joined.gain(kind, -skerry::digest_of(row.address, kind, order, leaf));
    join_leaf(leaf, mine, row.staged.leaf, row.clock);
    unmask(leaf);
    if (kind == LeafKind::clear) mask_virtually(joined, clear::covered(leaf));
    joined.gain(kind, skerry::digest_of(row.address, kind, order, leaf));
    if (!element) return;
    joined.record->with_extra().sums.counting +=
        std::uint64_t{counts(kind, leaf)} - std::uint64_t{counted};
    if (showed == shows(kind, leaf)) return;
    std::uint64_t& live = joined.record->with_extra().totals.live[element_index(kind)];
    live = showed ? live - 1 : live + 1;
}

// Before any element joins: a key's own leaves come first.
void Store::mask_virtually(JoinedKey& joined, const VersionVector& clock) {
    Extra& extra = joined.record->with_extra();
    const std::uint64_t digest = extra.sums.digest;
    if (joined.mine != nullptr && joined.mine->extra && !extra.sums.mask.covers(clock))
        remains_of(joined, clock);
    joined.gain(LeafKind::member, extra.sums.digest - digest);
    extra.sums.mask.join(clock);
}

std::optional<Store::JoinedKey> Store::joined_key(const RowAddress& address, std::uint64_t session,
                                                  std::string_view from,
                                                  const VersionVector& mine) {
    std::optional<JoinedKey> joined;
    std::string at = std::max(std::string(from), stage_places_from(address));
    const std::string end = stage_places_end(address);
    while (at < end) {
        const auto rows = staged_rows(session, at, end, kLeavesAtOnce);
        if (rows.empty()) break;
        if (!joined) joined = begin_joined(address, rows.front().staged.key.key);
        for (const StagedRow& row : rows) join_virtually(*joined, row, mine);
        at = behind(rows.back().place);
    }
    if (joined) derive(*joined->record);
    return joined;
}

// ---- measuring

void Store::count_gain(const JoinedKey& joined, std::uint64_t sign) {
    const RowAddress& address = joined.record->address;
    ShardGain& gain = measure_->gains[address.shard];
    gain.shard = address.shard;
    gain.digest += sign * joined.digest;
    gain.digests[place_in_shard(address.database)] += sign * joined.flushed;
    std::uint64_t& keys = gain.keys[place_in_shard(address.database)];
    if (joined.record->exists() && !joined.existed) keys += sign;
    if (!joined.record->exists() && joined.existed) keys -= sign;
    std::uint64_t& deadlines = gain.deadlines[place_in_shard(address.database)];
    if (joined.record->expires() && !joined.expired) deadlines += sign;
    if (!joined.record->expires() && joined.expired) deadlines -= sign;
}

bool Store::measure_some(std::size_t leaf_count) {
    const bool stored =
        staging_.rows.empty() && (!staging_.frozen_in || *staging_.frozen_in <= completed_);
    if (drain_ || !stored) return false;  // a checkpoint comes first
    const std::uint64_t session = staging_.session;
    for (const RowAddress& address : std::exchange(measure_->touched, {}))
        if (const auto joined = joined_key(address, session, {}, state(address.shard).clock))
            count_gain(*joined, kPlus);
    while (leaf_count > 0) {
        const auto rows =
            staged_rows(session, measure_->at, {}, std::min(leaf_count, kLeavesAtOnce));
        if (halted_) return true;
        if (rows.empty()) {
            finish_flip();
            return true;
        }
        leaf_count -= rows.size();
        measure_rows(rows);
    }
    return true;
}

void Store::measure_rows(const std::vector<StagedRow>& rows) {
    for (auto first = rows.begin(); first != rows.end();) {
        const RowAddress& address = first->address;
        const auto next = std::find_if(
            first, rows.end(), [&](const StagedRow& row) { return row.address != address; });
        // The last key may have more leaves: then it is the first one of the next rows, or read apart.
        if (next == rows.end() && first != rows.begin()) return;
        ShardState& shard = state(address.shard);
        shard.staged = true;
        if (next == rows.end()) {
            const auto joined = joined_key(address, staging_.session, {}, shard.clock);
            if (!joined) return;  // halted
            count_gain(*joined, kPlus);
        } else {
            JoinedKey joined = begin_joined(address, first->staged.key.key);
            std::for_each(first, next,
                          [&](const StagedRow& row) { join_virtually(joined, row, shard.clock); });
            derive(*joined.record);
            count_gain(joined, kPlus);
        }
        measure_->at = stage_places_end(address);
        first = next;
    }
}

void Store::finish_flip() {
    close_batch();
    Flip flip{staging_.session, std::move(measure_->clocks), {}, std::move(measure_->floors)};
    for (const auto& [shard, gain] : measure_->gains) flip.gains.push_back(gain);
    measure_.reset();
    apply_flip(flip);
    log_flip(flip);
}

// ---- draining

void Store::begin_drain(const Flip& flip) {
    ASSERT(!draining());
    // Clears of databases join at once: everything else is under their masks from here on.
    for (const ShardGain& gain : flip.gains) {
        const ShardRun run = run_of(gain.shard, options_.shard_count);
        for (DatabaseId db = run.database_first; db <= run.database_last; ++db)
            if (const auto row = staged_flush(flip.session, gain.shard, db))
                join_flush(flip.session, *row);
    }
    ++stats_.drains;
    stats_.draining = true;
    drain_.emplace();
    drain_->session = flip.session;
    drain_->flipped = last_.next();
    for (const ShardGain& gain : flip.gains) {
        ShardState& shard = state(gain.shard);
        shard.digest += gain.digest;
        for (std::size_t i = 0; i < kDatabaseCount; ++i) {
            shard.databases[i].digest += gain.digests[i];
            shard.key_counts[i] += gain.keys[i];
            shard.deadline_counts[i] += gain.deadlines[i];
        }
        shard.staged = true;
        drain_->before.emplace(gain.shard, shard.clock);
    }
}

// Other leaves of a key with that name join later.
void Store::join_flush(std::uint64_t session, const StagedRow& row) {
    KeyRecord& record = find_or_make(row.address.database, row.staged.key.key);
    const LogPosition changed = record.changed;
    const Change change = begin_change(record, LeafKind::flush, {});
    join_leaf(*change.leaf, state(row.address.shard).clock, row.staged.leaf, row.clock);
    end_change(record, change);
    record.changed = changed;
    old_rows_.push_back({Table::stage, stage_key(session, row.place), std::nullopt});
}

// The shard's digest and counts have the leaf already, and a reader waits for the flip alone.
void Store::drain_row(KeyRecord& record, const StagedRow& row) {
    if (row.staged.key.kind == LeafKind::flush) return;  // it has joined
    ShardState& shard = state(row.address.shard);
    std::uint64_t& keys = shard.key_counts[place_in_shard(row.address.database)];
    std::uint64_t& deadlines = shard.deadline_counts[place_in_shard(row.address.database)];
    std::uint64_t& digest = shard.sums_of(row.address.database).digest;
    settle(record);
    const auto kept = std::tuple(shard.digest, digest, keys, deadlines, record.changed);
    const std::size_t bytes = stats_.memory_bytes;
    const Change change = begin_change(record, row.staged.key.kind, row.staged.key.sub);
    join_leaf(*change.leaf, drain_->before.at(row.address.shard), row.staged.leaf, row.clock);
    unmask_joined(record, row.staged.key.kind, *change.leaf);
    end_change(record, change);
    std::tie(shard.digest, digest, keys, deadlines, record.changed) = kept;
    old_rows_.push_back({Table::stage, stage_key(drain_->session, row.place), std::nullopt});
    drain_->bytes += std::max(stats_.memory_bytes, bytes) - bytes + row.place.size();
}

// All that is staged of the key: its counts and what it shows are right only then.
void Store::drain_key(const RowAddress& address, std::string_view key) {
    KeyRecord* record = in_memory(address);
    if (record != nullptr && record->changed >= drain_->flipped) return;
    std::string at = std::max(drain_->at, stage_places_from(address));
    const std::string end = stage_places_end(address);
    while (at < end) {
        const auto rows = staged_rows(drain_->session, at, end, kLeavesAtOnce);
        if (rows.empty()) break;
        if (record == nullptr) record = lookup(address, key);
        if (record == nullptr) record = &make(address, key);
        for (const StagedRow& row : rows) drain_row(*record, row);
        stats_.drained_by_touch += rows.size();
        at = behind(rows.back().place);
    }
    if (record != nullptr) record->changed = std::max(record->changed, drain_->flipped);
}

// Keys within these bounds of their rows.
void Store::drain_between(std::string_view from, std::string_view to) {
    std::string at = std::max(drain_->at, std::string(from));
    while (at < to) {
        const auto rows = staged_rows(drain_->session, at, to, 1);
        if (rows.empty()) break;
        drain_key(rows.front().address, rows.front().staged.key.key);
        at = stage_places_end(rows.front().address);
    }
}

bool Store::drain_some(std::size_t leaf_count) {
    if (drain_->bytes >= options_.memory_bytes / 8 || overloaded()) return false;
    while (leaf_count > 0 && draining()) {
        const auto rows =
            staged_rows(drain_->session, drain_->at, {}, std::min(leaf_count, kLeavesAtOnce));
        if (halted_) return true;
        if (rows.empty()) {
            end_drain();
            return true;
        }
        leaf_count -= rows.size();
        drain_rows(rows);
    }
    return true;
}

void Store::drain_rows(const std::vector<StagedRow>& rows) {
    KeyRecord* record = nullptr;
    for (const StagedRow& row : rows) {
        if (record == nullptr || record->address != row.address) {
            if (record != nullptr) record->changed = std::max(record->changed, drain_->flipped);
            record = record_to_drain(row);
        }
        if (record->changed < drain_->flipped) {
            drain_row(*record, row);
            ++stats_.drained_in_background;
        }
        drain_->at = behind(row.place);
    }
}

// Shards before that of the row are done.
KeyRecord* Store::record_to_drain(const StagedRow& row) {
    auto& before = drain_->before;
    for (; before.begin()->first < row.address.shard; before.erase(before.begin()))
        state(before.begin()->first).staged = false;
    KeyRecord* record = in_memory(row.address);
    if (record != nullptr) return record;
    record = lookup(row.address, row.staged.key.key);
    if (record == nullptr) record = &make(row.address, row.staged.key.key);
    record->touched = false;  // nobody has asked for it
    return record;
}

void Store::end_drain() {
    for (const auto& [shard, clock] : drain_->before) state(shard).staged = false;
    drain_->before.clear();
    drain_->finished_in = generation_;
    stats_.draining = false;
    look_for_markers();
}

// ---- walking over keys that are not drained

bool Store::visit_undrained_keys(ShardId shard, DatabaseId database, std::uint64_t from,
                                 VisitKey visit) {
    const std::string end = rows_end(shard, database);
    const VersionVector& before = drain_->before.at(shard);
    bool more = true;
    for (bool rest = true; more && rest;) {
        // The next keys that have staged leaves, as they will be.
        std::map<KeyOrder, JoinedKey> joined;
        std::string at = std::max(drain_->at, rows_from(shard, database, from));
        while (rest && joined.size() < kLeavesAtOnce) {
            const auto rows = staged_rows(drain_->session, at, end, 1);
            rest = !rows.empty();
            if (!rest) break;
            const RowAddress& address = rows.front().address;
            const KeyRecord* mine = in_memory(address);
            if (mine == nullptr || mine->changed < drain_->flipped)
                if (auto key = joined_key(address, drain_->session, at, before))
                    joined.emplace(address.order, std::move(*key));
            at = stage_places_end(address);
        }
        auto next = joined.begin();
        const auto last = rest ? joined.rbegin()->first.order : ~std::uint64_t{0};
        visit_keys(shard, database, from, [&](const KeyRecord& record) {
            const KeyOrder& order = record.address.order;
            if (order.order > last) return false;
            for (; more && next != joined.end() && next->first < order; ++next)
                more = visit(*next->second.record);
            if (!more) return false;
            const bool is_joined = next != joined.end() && next->first == order;
            more = visit(is_joined ? *next++->second.record : record);
            return more;
        });
        for (; more && next != joined.end(); ++next) more = visit(*next->second.record);
        from = last + 1;
    }
    return more;
}

}  // namespace skerry
