#include "store/store.hpp"

#include <algorithm>

#include "crdt/shortcut.hpp"
#include "crdt/types/clear.hpp"
#include "store/log_frame.hpp"

namespace skerry {

namespace {
constexpr std::size_t kRecordBytesAimed = std::size_t{1} << 20;
// The upper half of an id names the replica for good, the lower one its incarnation
// (node/identity.hpp).
}  // namespace

Store::Store(Log& log, const Kv& kv, const StoreOptions& options, WallTime now)
    : log_(log),
      kv_(kv),
      stored_bytes_(kv.stats().bytes_used),
      options_(options),
      now_(now),
      hlc_(options.drift_max),
      held_(options.holds.shards(options.shard_count)),
      places_(held_.back().value + 1u, kNowhere),
      numbered_(options.holds.main ? options.shard_count + 1u : 0u),
      shards_(held_.size()),
      flush_keys_(options.holds.main ? flush_keys(options.shard_count)
                                     : std::vector<std::string>{}),
      domain_flush_keys_(flush_keys(domain_shard_count(options.shard_count))),
      in_open_(shards_.size()),
      in_commit_(shards_.size()),
      cut_(shards_.size()),
      markers_(shards_.size()),
      looked_(shards_.size()) {
    for (std::size_t i = 0; i < held_.size(); ++i)
        places_[held_[i].value] = static_cast<std::uint16_t>(i);
}

void Store::halt(Error error) {
    if (!halted_) halted_ = std::move(error);
}

KvReader* Store::reader() {
    if (!reader_) {
        auto opened = kv_.reader();
        if (!opened) {
            halt(opened.error());
            return nullptr;
        }
        reader_ = std::move(*opened);
    }
    return reader_.get();
}

// ---- reading

RowAddress Store::address_of(DatabaseId database, std::string_view key) const {
    const KeyOrder order = key_order(key, options_.hash_seed);
    return {shard_of(database, order.slot(), options_.shard_count), database, order};
}

ElementOrder Store::order_of(LeafKind kind, std::string_view sub) const {
    return element_order(kind, sub, options_.hash_seed);
}

KeyRecord* Store::find(DatabaseId database, std::string_view key) {
    if (last_found_ != nullptr && last_found_->key == key &&
        last_found_->address.database == database)
        return last_found_;
    return find_at(address_of(database, key), key);
}

KeyRecord* Store::find_at(const RowAddress& address, std::string_view key) {
    if (state(address.shard).staged) [[unlikely]]
        touch(address, key);
    return lookup(address, key);
}

KeyRecord* Store::lookup(const RowAddress& address, std::string_view key) {
    const ShardState& shard = state(address.shard);
    KeyRecord* record = in_memory(address);
    if (record == nullptr && !shard.all_rows) {
        std::unique_ptr<KeyRecord> loaded = load_record(address);
        if (loaded) record = &insert(std::move(loaded));
    }
    if (record == nullptr) return nullptr;
    ASSERT(record->key == key);  // 114 bits of hash name a key
    settle(*record);
    record->touched = true;
    return last_found_ = record;
}

KeyRecord* Store::in_memory(const RowAddress& address) {
    return state(address.shard).keys_of(address.database).find(address.order);
}

KeyRecord& Store::find_or_make(DatabaseId database, std::string_view key) {
    if (last_found_ != nullptr && last_found_->key == key &&
        last_found_->address.database == database)
        return *last_found_;
    const RowAddress address = address_of(database, key);
    if (KeyRecord* record = find_at(address, key)) return *record;
    return make(address, key);
}

KeyRecord& Store::make(const RowAddress& address, std::string_view key) {
    auto record = std::make_unique<KeyRecord>();
    record->address = address;
    record->key = ShortBytes(key);
    return *(last_found_ = &insert(std::move(record)));
}

std::unique_ptr<KeyRecord> Store::load_record(const RowAddress& address) {
    KvReader* stored = reader();
    if (stored == nullptr) return nullptr;
    ++stats_.cache_misses;
    const auto row = stored->get(Table::rows, key_row_key(address));
    if (!row) halt(row.error());
    if (!row || !*row) return nullptr;
    Result<KeyRow> decoded = decode_key_row(**row);
    if (!decoded) {
        halt(decoded.error());
        return nullptr;
    }
    return record_of(address, std::move(*decoded));
}

KeyRecord& Store::insert(std::unique_ptr<KeyRecord> record) {
    record->touched = true;
    stats_.memory_bytes += bytes_of_key_row(*record);
    track_deadline(*record, true);
    KeyRecord& inserted =
        state(record->address.shard).keys_of(record->address.database).insert(std::move(record));
    settle(inserted);
    return inserted;
}

Element* Store::find_element(KeyRecord& record, const ElementOrder& order, std::string_view sub) {
    if (!record.extra) return nullptr;
    if (Element* found = record.extra->elements.find(order)) {
        ASSERT(found->sub == sub);
        if (!taken(Shortcut::masked_joins)) unmask(record, *found);
        return found;
    }
    KvReader* stored = record.extra->complete ? nullptr : reader();
    if (stored == nullptr) return nullptr;
    ++stats_.cache_misses;
    const auto row = stored->get(Table::rows, element_row_key(record.address, order));
    if (!row) halt(row.error());
    if (!row || !*row) return nullptr;
    Result<ElementRow> decoded = decode_element_row(**row);
    if (!decoded) {
        halt(decoded.error());
        return nullptr;
    }
    ASSERT(decoded->sub == sub);
    Element& element = record.extra->elements.insert(std::make_unique<Element>(
        Element{order, ShortBytes(decoded->sub), std::move(decoded->leaf), {}}));
    stats_.memory_bytes += bytes_of(element);
    if (!taken(Shortcut::masked_joins)) unmask(record, element);
    return &element;
}

const Leaf& Store::element(KeyRecord& record, LeafKind kind, std::string_view sub) {
    static const Leaf kNone;
    const Element* found = find_element(record, order_of(kind, sub), sub);
    return found == nullptr ? kNone : found->leaf;
}

void Store::for_each_element(const KeyRecord& record, LeafKind kind, Hash128 from,
                             VisitElement visit) {
    if (!record.extra) return;
    const VersionVector& mask = mask_of(record);
    for_each_element_row(record, kind, from, [&](const Element& element) {
        if (!clear::reaches(kind) || !clear::any_masked(element.leaf, mask)) return visit(element);
        Element rest{element.place, ShortBytes(element.sub.view()), element.leaf, {}};
        clear::unmask(rest.leaf, mask);
        return visit(rest);
    });
}

void Store::for_each_element_row(const KeyRecord& record, LeafKind kind, Hash128 from,
                                 VisitElement visit) {
    if (!record.extra) return;
    const auto& elements = record.extra->elements;
    auto next = elements.lower_bound(ElementOrder{kind, from});
    bool more = true;
    // Visits what is in memory before `end`; a stored row that is in memory too, and perhaps newer
    // there, is passed by.
    const auto visit_before = [&](const ElementOrder* end) {
        for (; more && next != elements.end() && next->place.kind == kind &&
               (!end || next->place < *end);
             ++next)
            more = visit(*next);
    };
    KvReader* stored = record.extra->complete ? nullptr : reader();
    if (stored != nullptr) {
        const auto scanned = stored->scan(
            Table::rows, elements_from(record.address, kind, from),
            elements_end(record.address, kind), [&](std::string_view key, std::string_view value) {
                const Result<RowKey> place = parse_row_key(key);
                Result<ElementRow> row = decode_element_row(value);
                if (!place || !row) {
                    halt(place ? row.error() : place.error());
                    return false;
                }
                visit_before(&*place->element);
                if (more && (next == elements.end() || next->place != *place->element))
                    more = visit(
                        Element{*place->element, ShortBytes(row->sub), std::move(row->leaf), {}});
                return more;
            });
        if (!scanned) halt(scanned.error());
    }
    visit_before(nullptr);
}

void Store::visit_stored_keys(ShardId shard, DatabaseId database, std::uint64_t from,
                              VisitRow visit) {
    KvReader* stored = reader();
    std::string at = rows_from(shard, database, from);
    const std::string end = rows_end(shard, database);
    // Under a mask a key may have to read its elements, and the reader is used for one thing at a time.
    const bool apart = !state(shard).sums_of(database).mask.empty();
    std::unique_ptr<KeyRecord> found;
    bool again = stored != nullptr;
    while (again) {
        again = false;
        const auto scanned =
            stored->scan(Table::rows, at, end, [&](std::string_view key, std::string_view value) {
                Result<RowKey> place = parse_row_key(key);
                Result<KeyRow> row =
                    place && !place->element ? decode_key_row(value) : Result<KeyRow>(KeyRow{});
                if (!place || !row) {
                    halt(place ? row.error() : place.error());
                    return false;
                }
                if (!place->element) {
                    found = record_of(place->address, std::move(*row));
                    if (!apart) return visit(*found, RowPlace::stored);
                    at.assign(key).push_back('\0');
                    again = true;
                    return false;
                }
                // Elements follow their key: go on behind them, however many there are.
                at = element_row_key(place->address, {static_cast<LeafKind>(0xff), {}});
                again = true;
                return false;
            });
        if (!scanned) halt(scanned.error());
        again = again && scanned.has_value();
        if (again && apart && found)
            again = visit(*std::exchange(found, nullptr), RowPlace::stored);
    }
}

bool Store::visit_rows(ShardId shard, DatabaseId database, std::uint64_t from, VisitRow visit) {
    bool more = true;
    Keys& keys = state(shard).keys_of(database);
    auto next = keys.lower_bound(KeyOrder{from, 0});
    const auto visit_before = [&](const KeyOrder* end) {
        for (; more && next != keys.end() && (!end || next->order() < *end); ++next)
            more = visit(*next, RowPlace::memory);
    };
    if (!state(shard).all_rows)
        visit_stored_keys(shard, database, from, [&](KeyRecord& record, RowPlace place) {
            visit_before(&record.address.order);
            if (more && (next == keys.end() || next->order() != record.address.order))
                more = visit(record, place);
            return more;
        });
    visit_before(nullptr);
    return more;
}

bool Store::visit_keys(ShardId shard, DatabaseId database, std::uint64_t from, VisitKey visit) {
    return visit_rows(shard, database, from, [&](KeyRecord& record, RowPlace place) {
        if (place == RowPlace::memory)
            settle(record);
        else
            put_under_mask(record);
        return visit(record);
    });
}

bool Store::for_each_key_of(ShardId shard, DatabaseId database, std::uint64_t from,
                            VisitKey visit) {
    return drains(shard) ? visit_undrained_keys(shard, database, from, visit)
                         : visit_keys(shard, database, from, visit);
}

void Store::for_each_key(DatabaseId database, std::uint64_t from, VisitKey visit) {
    const ShardRun run = run_of(database, options_.shard_count);
    if (!holds(run.first)) return;
    const std::uint16_t end = run.first.value + run.count;
    for (std::uint16_t i = run.at(KeyOrder{from, 0}.slot()).value; i < end; ++i)
        if (!for_each_key_of(ShardId{i}, database, from, visit)) return;
}

std::uint64_t Store::count_in(DatabaseId database, const Counts ShardState::* counts) const {
    const ShardRun run = run_of(database, options_.shard_count);
    if (!holds(run.first)) return 0;
    const auto first = shards_.begin() + static_cast<std::ptrdiff_t>(place_of(run.first));
    std::uint64_t count = 0;
    for (auto shard = first; shard != first + run.count; ++shard)
        count += ((*shard).*counts)[place_in_shard(database)];
    return count;
}

std::uint64_t Store::key_count(DatabaseId database) const {
    return count_in(database, &ShardState::key_counts);
}

std::uint64_t Store::deadline_count(DatabaseId database) const {
    return count_in(database, &ShardState::deadline_counts);
}

std::uint64_t Store::tombstone_count() const {
    std::uint64_t count = 0;
    for (const ShardState& shard : shards_) count += shard.tombstones;
    return count;
}

// ---- deadlines

bool Store::expires_here(const KeyRecord& record) const {
    return record.expires() && record.deadline_writer.lineage() == options_.self.lineage();
}

void Store::track_deadline(const KeyRecord& record, bool present) {
    if (!expires_here(record)) return;
    if (present)
        deadlines_.emplace(record.deadline, record.address);
    else
        deadlines_.erase({record.deadline, record.address});
}

std::vector<std::pair<DatabaseId, std::string>> Store::expired(std::size_t count) {
    std::vector<std::pair<DatabaseId, std::string>> keys;
    for (const auto& [at, address] : deadlines_) {
        if (at > now_ || keys.size() >= count) break;
        const KeyRecord* record =
            state(address.shard).keys_of(address.database).find(address.order);
        ASSERT(record != nullptr);
        keys.emplace_back(address.database, record->key);
    }
    const bool all_here = std::ranges::all_of(shards_, &ShardState::all_rows);
    if (keys.size() >= count || all_here) return keys;
    // Rows of what is done stay until a checkpoint: the cursor passes them by, and begins anew
    // every minute.
    constexpr std::chrono::minutes kWrap{1};
    if (now_ >= deadline_wrap_ + kWrap) {
        deadline_cursor_.clear();
        deadline_wrap_ = now_;
    }
    std::vector<std::string> rows;
    if (KvReader* stored = reader()) {
        const auto scanned =
            stored->scan(Table::deadlines, deadline_cursor_, deadline_key(now_ + WallTime(1), {}),
                         [&](std::string_view key, std::string_view) {
                             rows.emplace_back(key.substr(8));
                             deadline_cursor_ = std::string(key) + '\0';
                             return keys.size() + rows.size() < count;
                         });
        if (!scanned) halt(scanned.error());
    }
    for (const std::string& row : rows) {
        const Result<RowKey> place = parse_row_key(row);
        if (!place) continue;
        const Keys& here = state(place->address.shard).keys_of(place->address.database);
        if (here.find(place->address.order) != nullptr) continue;  // the set above knows better
        if (const auto record = load_record(place->address))
            keys.emplace_back(place->address.database, record->key);
    }
    return keys;
}

// ---- changing

Dot Store::next_dot(ShardId shard) {
    VersionVector& clock = state(shard).clock;
    const Seq before = clock.at(options_.self);
    if (!in_open_[place_of(shard)]) {
        in_open_[place_of(shard)] = true;
        open_ranges_.push_back({.shard = shard, .after = before, .last = before});
    }
    const Dot dot{options_.self, before.next()};
    advance(shard, dot);
    return dot;
}

void Store::advance(ShardId shard, const Dot& dot) {
    if (!state(shard).clock.advance(dot)) return;
    if (!in_commit_[place_of(shard)]) {
        in_commit_[place_of(shard)] = true;
        commit_shards_.push_back(shard);
    }
    if (dot.replica != options_.self) foreign_[shard].advance(dot);
}

Store::Change Store::begin_change(KeyRecord& record, LeafKind kind, std::string_view sub) {
    Change change{.leaf = nullptr,
                  .element = nullptr,
                  .kind = kind,
                  .was_live = false,
                  .was = {},
                  .was_counting = false,
                  .old_digest = 0,
                  .old_bytes = 0,
                  .old_clear = {}};
    settle(record);
    mark_dirty(record, nullptr);  // an element's change changes its sums
    if (is_key_level(kind)) {
        change.old_bytes = bytes_of_key_row(record);
        change.leaf = &record.leaf_to_change(kind);
        if (clear::is_clear(kind)) change.old_clear = clear::covered(*change.leaf);
    } else {
        const ElementOrder order = order_of(kind, sub);
        change.element = find_element(record, order, sub);
        if (change.element != nullptr) {
            change.old_bytes = bytes_of(*change.element);
        } else {
            const std::size_t bytes = bytes_of_key_row(record);
            change.element = &record.with_extra().elements.insert(
                std::make_unique<Element>(Element{order, ShortBytes(sub), {}, {}}));
            stats_.memory_bytes += bytes_of_key_row(record) - bytes;
        }
        mark_dirty(record, change.element);
        change.leaf = &change.element->leaf;
        note_old_element(change);
    }
    change.was_live = shows(kind, *change.leaf);
    change.was = Traces::of(*change.leaf);
    change.old_digest = digest_of(record, change);
    return change;
}

std::uint64_t Store::digest_of(const KeyRecord& record, const Change& change) {
    static constexpr ElementOrder kNoPlace{.kind = LeafKind::string, .hash = {}};
    return skerry::digest_of(record.address, change.kind,
                             change.element != nullptr ? change.element->place : kNoPlace,
                             *change.leaf);
}

void Store::end_change(KeyRecord& record, const Change& change) {
    const std::uint64_t digest_gained = digest_of(record, change) - change.old_digest;
    ShardState& shard = state(record.address.shard);
    shard.digest += digest_gained;
    if (clear::flushes(change.kind)) {
        DatabaseSums& sums = shard.sums_of(record.address.database);
        sums.digest += digest_gained;
        if (!sums.counts) sums.counts = counts(change.kind, *change.leaf);
    }
    record.changed = last_.next();
    count_traces(record, change.element, change.kind, change.was);
    if (change.element == nullptr) {
        if (change.kind == LeafKind::clear)
            if (const auto clock = clear::covered(*change.leaf); clock != change.old_clear)
                mask(record, clock);
        derive_and_count(record);
        stats_.memory_bytes += bytes_of_key_row(record) - change.old_bytes;
        if (change.leaf->empty()) note_vacated(record, nullptr);
        if (change.kind == LeafKind::flush)
            if (const auto clock = clear::covered(*change.leaf); clock != change.old_clear)
                mask_database(record.address, clock, clear::covered_with(*change.leaf));
        return;
    }
    stats_.memory_bytes += bytes_of(*change.element) - change.old_bytes;
    if (change.leaf->empty()) note_vacated(record, change.element);
    if (clear::reaches(change.kind)) count_element(record, change, digest_gained);
    const bool live = shows(change.kind, *change.leaf);
    if (live == change.was_live) return;
    std::uint64_t& count = record.extra->totals.live[element_index(change.kind)];
    count = live ? count + 1 : count - 1;
    if (count <= 1) derive_and_count(record);
}

// As it was, and as it is now: in its row, what is masked not left out.
void Store::count_traces(KeyRecord& record, Element* element, LeafKind kind, Traces was) {
    const Traces is = Traces::of(element != nullptr ? element->leaf : record.leaf(kind));
    if (is.removed != was.removed)
        state(record.address.shard).tombstones += is.removed ? 1 : ~std::uint64_t{0};
    if (is.removed)
        markers_[place_of(record.address.shard)].push_back({&record, element, kind, generation_});
    if (element != nullptr && is.empty != was.empty)
        record.extra->totals.elements += was.empty ? 1 : ~std::uint64_t{0};
}

void Store::derive_and_count(KeyRecord& record) {
    const bool existed = record.exists();
    const bool expired = record.expires();
    track_deadline(record, false);
    derive(record);
    track_deadline(record, true);
    ShardState& shard = state(record.address.shard);
    const auto count = [](std::uint64_t& counter, bool before, bool after) {
        counter += std::uint64_t{after} - std::uint64_t{before};
    };
    count(shard.key_counts[place_in_shard(record.address.database)], existed, record.exists());
    count(shard.deadline_counts[place_in_shard(record.address.database)], expired,
          record.expires());
}

// ---- commits

void Store::end_command() {
    if (open_batch_.bytes() >= kRecordBytesAimed) close_batch();
}

std::size_t Store::begin_record() {
    const std::size_t header_at = commit_.frames.size();
    commit_.frames.resize(header_at + kLogFrameHeaderBytes);
    return header_at;
}

void Store::end_record(std::size_t header_at) {
    last_ = last_.next();
    commit_.last = last_;
    seal_frame(commit_.frames, header_at, last_, durable_);
}

void Store::close_batch() {
    if (open_batch_.empty()) return;
    std::ranges::sort(open_ranges_, {}, &ShardRange::shard);
    for (ShardRange& range : open_ranges_) {
        range.last = state(range.shard).clock.at(options_.self);
        in_open_[place_of(range.shard)] = false;
    }
    const std::size_t header_at = begin_record();
    open_batch_.finish(commit_.frames, options_.self, open_ranges_);
    open_ranges_.clear();
    const std::size_t body_at = header_at + kLogFrameHeaderBytes;
    end_record(header_at);
    publish(body_at, {foreign_.begin(), foreign_.end()});
}

// The last record of the open commit, from `body_at` on.
void Store::publish(std::size_t body_at, ShardClocks foreign) {
    Published& published = commit_.published.emplace_back();
    published.position = last_;
    published.previous = last_published_;
    published.foreign = std::move(foreign);
    published.body_at = body_at;
    published.body_bytes = commit_.frames.size() - body_at;
    foreign_.clear();
    last_published_ = last_;
}

std::optional<Commit> Store::seal() {
    reader_.reset();
    if (halted_) return std::nullopt;
    close_batch();
    if (commit_.frames.empty()) return std::nullopt;
    for (const ShardId shard : commit_shards_) {
        commit_.clocks.emplace_back(shard, state(shard).clock);
        in_commit_[place_of(shard)] = false;
    }
    commit_shards_.clear();
    stats_.log_bytes_since_checkpoint += commit_.frames.size();
    return std::exchange(commit_, Commit{});
}

void Store::committed(const Commit& commit) {
    ASSERT(commit.last > durable_);
    durable_ = commit.last;
    for (const auto& [shard, clock] : commit.clocks) state(shard).durable_clock = clock;
}

// ---- clocks

ShardClocks Store::clocks() const {
    ShardClocks clocks;
    for (std::size_t i = 0; i < held_.size(); ++i)
        if (!shards_[i].clock.empty()) clocks.emplace_back(held_[i], shards_[i].clock);
    return clocks;
}

ShardClocks Store::durable_clocks() const {
    ShardClocks clocks;
    for (std::size_t i = 0; i < held_.size(); ++i)
        if (!shards_[i].durable_clock.empty())
            clocks.emplace_back(held_[i], shards_[i].durable_clock);
    return clocks;
}

bool Store::covers(const ShardClocks& clocks) const {
    return std::ranges::all_of(clocks, [&](const auto& pair) {
        return holds(pair.first) && shard(pair.first).clock.covers(pair.second);
    });
}

bool Store::durably_covers(const ShardClocks& clocks) const {
    return std::ranges::all_of(clocks, [&](const auto& pair) {
        return holds(pair.first) && shard(pair.first).durable_clock.covers(pair.second);
    });
}

}  // namespace skerry
