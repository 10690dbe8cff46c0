// The part of store/check.hpp that walks the tables of the ordered store.
#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "crdt/types/clear.hpp"
#include "store/check.hpp"
#include "store/memtable.hpp"
#include "store/record.hpp"
#include "store/stage.hpp"

namespace skerry {
namespace {

constexpr std::size_t kSliceRows = 4096;
constexpr std::size_t kShownKeyBytes = 40;

std::string shown(std::string_view bytes) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text = "\"";
    for (const char byte : bytes.substr(0, kShownKeyBytes)) {
        const auto code = static_cast<unsigned char>(byte);
        if (code >= 0x20 && code < 0x7f && byte != '"' && byte != '\\')
            text += byte;
        else
            text.append("\\x").append(1, kDigits[code >> 4]).append(1, kDigits[code & 15]);
    }
    return text + (bytes.size() > kShownKeyBytes ? "...\"" : "\"");
}

std::string hex(std::string_view bytes) {
    std::string text;
    for (const char byte : bytes) {
        constexpr std::string_view kDigits = "0123456789abcdef";
        text += kDigits[static_cast<unsigned char>(byte) >> 4];
        text += kDigits[static_cast<unsigned char>(byte) & 15];
    }
    return text;
}

std::string number(std::uint64_t value) { return std::to_string(value); }

// Who may carry out each other's deadlines (node/identity.hpp).
bool same_directory(ReplicaId a, ReplicaId b) { return a.lineage() == b.lineage(); }

class StateCheck {
  public:
    StateCheck(KvReader& stored, std::optional<ReplicaId> self, FindingReport report,
               CheckProgress progress)
        : stored_(stored), self_(self), report_(report), progress_(progress) {}

    CheckedState run();

  private:
    // What the rows of a shard add up to.
    struct Sums {
        std::uint64_t digest = 0;
        std::array<std::uint64_t, kDatabaseCount> keys{};
        std::array<std::uint64_t, kDatabaseCount> deadlines{};
        std::array<DatabaseSums, kDatabaseCount> databases;
        std::uint64_t tombstones = 0;
        bool whole = true;  // every row could be read
    };
    struct Expected {
        Table table;
        std::string key;
        std::string value;
        std::string where;
    };

    void add(std::string where, std::string what) { report_({std::move(where), std::move(what)}); }
    // `behind_slice` may read, `visit` may not.
    void for_each_row(
        Table table, std::string_view name,
        absl::FunctionRef<void(std::string_view key, std::string_view value)> visit,
        absl::FunctionRef<void()> behind_slice = [] {});

    [[nodiscard]] bool read_meta();
    void look_at_meta_row(std::string_view key, std::string_view value);
    void look_at_row(std::string_view key, std::string_view value);
    void look_at_key(std::string_view row_key, const RowAddress& address, KeyRow row);
    void look_at_element(std::string_view row_key, const RowKey& place, const ElementRow& row);
    [[nodiscard]] bool sound(LeafKind kind, const Leaf& leaf, const std::string& where);
    void look_at_entries(std::string_view row_key, ShardId shard, const Leaf& leaf,
                         const std::string& where);
    [[nodiscard]] const VersionVector& mask_over(const RowAddress& address);
    Leaf add_up(const RowAddress& address, LeafKind kind, const ElementOrder& place, Leaf leaf);
    void end_key();
    void count_key(KeyRecord& key);
    void look_up_expected();
    void look_at_staged(std::uint64_t session);
    void compare_sums();
    void compare_database(ShardId shard, DatabaseId database);
    void look_at_index();
    void name_stray_index_rows();
    [[nodiscard]] bool below_the_floor(std::string_view key, const Dot& dot) const;
    [[nodiscard]] Result<bool> holds(std::string_view row_key, const Dot& dot);
    [[nodiscard]] bool has_number(ShardId shard) const {
        return state_.meta && shard.value < shard_number_count(state_.meta->shard_count);
    }
    void look_at_deadlines();
    void look_at_deadline(std::string_view key);

    KvReader& stored_;
    const std::optional<ReplicaId> self_;
    FindingReport report_;
    CheckProgress progress_;

    CheckedState state_;
    std::map<ShardId, Sums> sums_;
    bool all_read_ = true;
    std::uint64_t matched_ = 0;  // entries whose index row is there
    std::vector<Expected> expected_;
    // The key whose elements follow.
    std::unique_ptr<KeyRecord> key_;
    ElementTotals seen_;
    ElementSums found_;
    ElementCounts shown_{};  // of these live elements, those that no clear of their database covers
    std::set<RowAddress> masked_;  // as the meta table says
};

std::string place_of(ShardId shard, DatabaseId database) {
    return "state.mdb, shard " + number(shard.value) + ", database " + number(database);
}

void StateCheck::for_each_row(
    Table table, std::string_view name,
    absl::FunctionRef<void(std::string_view key, std::string_view value)> visit,
    absl::FunctionRef<void()> behind_slice) {
    std::string from;
    for (bool more = true; std::exchange(more, false);) {
        std::size_t count = 0;
        const Result<void> scanned =
            stored_.scan(table, from, {}, [&](std::string_view key, std::string_view value) {
                visit(key, value);
                from.assign(key).push_back('\0');
                more = ++count == kSliceRows;
                return !more;
            });
        if (!scanned) {
            add("state.mdb, table " + std::string(name),
                "cannot be read on behind row " + hex(from) + ": " + scanned.error().text());
            all_read_ = false;
        }
        behind_slice();
    }
}

CheckedState StateCheck::run() {
    if (!read_meta()) return std::move(state_);
    for_each_row(
        Table::rows, "rows",
        [&](std::string_view key, std::string_view value) { look_at_row(key, value); },
        [&] { look_up_expected(); });
    end_key();
    look_up_expected();
    if (state_.meta) {
        look_at_staged(state_.meta->staging);
        if (state_.meta->draining != state_.meta->staging) look_at_staged(state_.meta->draining);
    }
    compare_sums();
    for (const RowAddress& address : masked_)
        add(place_of(address.shard, address.database), "a key is listed as masked and has no row");
    look_at_index();
    look_at_deadlines();
    return std::move(state_);
}

bool StateCheck::read_meta() {
    const auto bytes = stored_.get(Table::meta, kStateMetaKey);
    if (!bytes) {
        add("state.mdb, table meta", bytes.error().text());
        return false;
    }
    if (!*bytes) return true;
    const auto meta = decode_state_meta(**bytes);
    if (!meta) {
        add("state.mdb, table meta, row state", meta.error().text());
        return false;
    }
    state_.meta = *meta;
    for_each_row(Table::meta, "meta", [&](std::string_view key, std::string_view value) {
        look_at_meta_row(key, value);
    });
    return true;
}

void StateCheck::look_at_meta_row(std::string_view key, std::string_view value) {
    if (key == kStateMetaKey) return;
    if (const auto id = parse_shard_meta_key(key); id && has_number(*id)) {
        const std::string where = "state.mdb, table meta, shard " + number(id->value);
        Sums& sums = sums_[*id];
        const auto shard = decode_shard_meta(value);
        if (!shard) {
            sums.whole = false;
            return add(where, shard.error().text());
        }
        if (!shard->clock.covers(shard->ix_floor))
            add(where, "the index floor is beyond the clock");
        if (!shard->clock.covers(shard->purge_floor))
            add(where, "the purge floor is beyond the clock");
        state_.shards[*id] = *shard;
        return;
    }
    if (const auto masked = parse_masked_key(key)) {
        masked_.insert(*masked);
        return;
    }
    add("state.mdb, table meta", "a row that this version does not know: " + shown(key));
}

void StateCheck::look_at_row(std::string_view key, std::string_view value) {
    const auto place = parse_row_key(key);
    const auto known = [&](const RowAddress& address) {
        const std::uint16_t slot_shards = state_.meta ? state_.meta->shard_count : 0;
        if (!has_number(address.shard)) return false;
        const ShardRun run = run_of(address.shard, slot_shards);
        return address.database >= run.database_first && address.database <= run.database_last;
    };
    if (!place || !known(place->address))
        return add("state.mdb, table rows, row " + hex(key), "stands where no row of ours stands");
    const RowAddress& address = place->address;
    if (address.shard.value % 16 == 0 && !place->element && state_.key_rows % 1024 == 0)
        progress_("rows", address.shard.value, sums_.rbegin()->first.value + 1u);
    const auto undecodable = [&](const Error& error) {
        sums_[address.shard].whole = false;
        add(place_of(address.shard, address.database) + ", row " + hex(key), error.text());
    };
    if (!place->element) {
        end_key();
        auto row = decode_key_row(value);
        if (!row) return undecodable(row.error());
        return look_at_key(key, address, std::move(*row));
    }
    const auto row = decode_element_row(value);
    if (!row) return undecodable(row.error());
    look_at_element(key, *place, *row);
}

void StateCheck::look_at_key(std::string_view row_key, const RowAddress& address, KeyRow row) {
    const std::string where = place_of(address.shard, address.database) + ", key " + shown(row.key);
    ++state_.key_rows;
    const KeyOrder order = key_order(row.key, state_.meta->hash_seed);
    if (order != address.order ||
        shard_of(address.database, order.slot(), state_.meta->shard_count) != address.shard) {
        sums_[address.shard].whole = false;
        return add(where, "stands in the row of another key");
    }
    bool whole = true;
    for (const auto& [kind, leaf] : row.leaves) {
        if (!is_key_level(kind)) add(where, "has an element's leaf in the row of the key");
        whole = is_key_level(kind) && sound(kind, leaf, where) && whole;
        look_at_entries(row_key, address.shard, leaf, where);
    }
    if (!whole) {
        sums_[address.shard].whole = false;
        return;
    }
    static constexpr ElementOrder kNoPlace{.kind = LeafKind::string, .hash = {}};
    for (const auto& [kind, leaf] : row.leaves) add_up(address, kind, kNoPlace, leaf);
    seen_ = {};
    found_ = {};
    shown_ = {};
    if (!state_.shards[address.shard].clock.covers(row.sums.mask))
        add(where, "has a mask beyond the shard's clock");
    if (row.sums.mask.empty() ? masked_.contains(address) : masked_.erase(address) == 0)
        add(where, row.sums.mask.empty() ? "has no mask, and is listed as masked"
                                         : "has a mask, and is not listed");
    key_ = record_of(address, std::move(row));
}

void StateCheck::look_at_element(std::string_view row_key, const RowKey& place,
                                 const ElementRow& row) {
    const RowAddress& address = place.address;
    const std::string where = place_of(address.shard, address.database) + ", element " +
                              shown(row.sub) + (key_ ? " of key " + shown(key_->key) : "");
    ++state_.elements;
    const bool has_key = key_ && key_->address == address;
    if (!has_key) {
        // A key that could not be read has been reported itself.
        if (sums_[address.shard].whole) add(where, "belongs to no key");
        sums_[address.shard].whole = false;
        return;
    }
    if (element_order(place.element->kind, row.sub, state_.meta->hash_seed) != *place.element) {
        sums_[address.shard].whole = false;
        return add(where, "stands in the row of another element");
    }
    look_at_entries(row_key, address.shard, row.leaf, where);
    if (!sound(place.element->kind, row.leaf, where)) {
        sums_[address.shard].whole = false;
        return;
    }
    ++seen_.elements;
    Leaf leaf = row.leaf;
    const LeafKind kind = place.element->kind;
    if (clear::reaches(kind)) clear::unmask(leaf, mask_of(*key_));
    if (shows(kind, leaf)) ++seen_.live[element_index(kind)];
    if (clear::reaches(kind)) {
        found_.digest += digest_of(address, kind, *place.element, leaf);
        if (counts(kind, leaf)) ++found_.counting;
        for (const Entry& entry : leaf)
            if (entry.live()) found_.highest.advance(entry.dot());
    }
    if (shows(kind, add_up(address, kind, *place.element, std::move(leaf))))
        ++shown_[element_index(kind)];
}

const VersionVector& StateCheck::mask_over(const RowAddress& address) {
    const ShardMeta& meta = state_.shards[address.shard];
    return meta.databases[place_in_shard(address.database)].mask;
}

// To the sums of the shard and the database, without what a clear of the database covers; gives what is left.
Leaf StateCheck::add_up(const RowAddress& address, LeafKind kind, const ElementOrder& place,
                        Leaf leaf) {
    if (clear::flushes(kind)) clear::unmask(leaf, mask_over(address));
    const std::uint64_t digest = digest_of(address, kind, place, leaf);
    Sums& sums = sums_[address.shard];
    sums.digest += digest;
    if (!clear::flushes(kind)) return leaf;
    DatabaseSums& database = sums.databases[place_in_shard(address.database)];
    database.digest += digest;
    database.counts = database.counts || counts(kind, leaf);
    return leaf;
}

bool StateCheck::sound(LeafKind kind, const Leaf& leaf, const std::string& where) {
    for (const Entry& entry : leaf) {
        if (sound_payload(kind, entry)) continue;
        add(where, "the payload of entry " + entry.dot().text() + " cannot be read");
        return false;
    }
    return true;
}

void StateCheck::look_at_entries(std::string_view row_key, ShardId shard, const Leaf& leaf,
                                 const std::string& where) {
    const ShardMeta& meta = state_.shards[shard];
    const bool removed = only_removed(leaf);
    state_.tombstones += removed ? 1 : 0;
    sums_[shard].tombstones += removed ? 1 : 0;
    for (const Entry& entry : leaf) {
        ++state_.entries;
        if (!meta.clock.contains(entry.dot()))
            add(where, "entry " + entry.dot().text() + " is beyond the shard's clock");
        if (!removed && meta.ix_floor.contains(entry.dot())) continue;
        expected_.push_back({Table::ix, ix_key(shard, entry.dot()),
                             ix_value(row_key, removed ? Indexed::removed : Indexed::live), where});
    }
}

// All elements of the key have been seen.
void StateCheck::end_key() {
    const auto key = std::exchange(key_, nullptr);
    if (!key) return;
    const std::string where =
        place_of(key->address.shard, key->address.database) + ", key " + shown(key->key);
    for (const LeafKind kind : {LeafKind::member, LeafKind::field, LeafKind::remove_wins_member})
        if (key->live(kind) != seen_.live[element_index(kind)])
            add(where, "says that it has " + number(key->live(kind)) + " live elements of kind " +
                           number(static_cast<std::uint8_t>(kind)) + " and has " +
                           number(seen_.live[element_index(kind)]));
    const std::uint64_t elements = key->extra ? key->extra->totals.elements : 0;
    if (elements != seen_.elements)
        add(where, "says that it has " + number(elements) + " rows of elements and has " +
                       number(seen_.elements));
    if (key->vacant()) add(where, "has nothing left, and a row");
    const ElementSums kept = key->extra ? key->extra->sums : ElementSums{};
    if (kept.digest != found_.digest) add(where, "its digest is not that of its elements");
    if (kept.counting != found_.counting)
        add(where, "says that " + number(kept.counting) + " of its fields count, and " +
                       number(found_.counting) + " do");
    if (!kept.highest.covers(found_.highest))
        add(where, "has a live element beyond what it says is the last");
    if (key->expires() && self_ && same_directory(key->deadline_writer, *self_))
        expected_.push_back(
            {Table::deadlines, deadline_key(key->deadline, key->address), {}, where});
    count_key(*key);
}

// As it is seen: under the mask of its database.
void StateCheck::count_key(KeyRecord& key) {
    const VersionVector& mask = mask_over(key.address);
    clear::unmask(key.string, mask);
    if (key.extra) {
        key.extra->totals.live = shown_;
        for (auto& [kind, leaf] : key.extra->leaves)
            if (clear::flushes(kind)) clear::unmask(leaf, mask);
    }
    derive(key);
    if (!key.exists()) return;
    ++state_.keys;
    Sums& sums = sums_[key.address.shard];
    const std::size_t database = place_in_shard(key.address.database);
    ++sums.keys[database];
    if (key.expires()) ++sums.deadlines[database];
}

void StateCheck::look_up_expected() {
    for (const Expected& row : std::exchange(expected_, {})) {
        const bool is_index = row.table == Table::ix;
        const auto found = stored_.get(row.table, row.key);
        if (!found)
            add(row.where, found.error().text());
        else if (!*found)
            add(row.where, std::string(is_index ? "an entry has no row in the index: "
                                                : "its deadline is not in the table: ") +
                               hex(row.key));
        else if (**found != row.value)
            add(row.where, "the index leads to another row: " + hex(row.key));
        else if (is_index)
            ++matched_;
    }
}

// Rows of other sessions are left over: checkpoints sweep them away.
void StateCheck::look_at_staged(std::uint64_t session) {
    const std::string where = "state.mdb, table stage, session " + number(session);
    std::string from;
    for (bool more = session != 0; std::exchange(more, false);) {
        progress_("staged leaves", 0, 1);
        const auto rows = read_staged(stored_, session, from, {}, kSliceRows);
        if (!rows) return add(where, rows.error().text());
        for (const StagedRow& row : *rows) {
            ++state_.staged;
            const std::string leaf = where + ", key " + shown(row.staged.key.key);
            if (!has_number(row.address.shard)) return add(leaf, "is of no shard of ours");
            if (session == state_.meta->draining) sums_[row.address.shard].whole = false;
            if (row.staged.leaf.outside(row.clock))
                add(leaf, "has an entry beyond the clock that it came with");
            (void)sound(row.staged.key.kind, row.staged.leaf, leaf);
        }
        if (rows->empty()) return;
        from = rows->back().place + '\0';
        more = true;
    }
}

void StateCheck::compare_database(ShardId shard, DatabaseId database) {
    const std::string where = place_of(shard, database);
    const ShardMeta& meta = state_.shards[shard];
    const DatabaseSums& kept = meta.databases[place_in_shard(database)];
    const DatabaseSums& found = sums_[shard].databases[place_in_shard(database)];
    if (!meta.clock.covers(kept.mask)) add(where, "has a mask beyond the shard's clock");
    const bool whole = sums_[shard].digest == meta.digest;  // else it is reported
    if (whole && kept.digest != found.digest) add(where, "its digest is not that of its rows");
    if (found.counts && !kept.counts)
        add(where, "says that none of its leaves counts, and some do");
}

void StateCheck::compare_sums() {
    if (!all_read_) return;
    for (const auto& [shard, found] : sums_) {
        if (!found.whole) continue;  // the reason has been reported
        const std::string where = "state.mdb, shard " + number(shard.value);
        const ShardMeta& kept = state_.shards[shard];
        if (found.digest != kept.digest)
            add(where, "its digest is not that of its rows: something in them has changed");
        const ShardRun run = run_of(shard, state_.meta->shard_count);
        for (DatabaseId database = run.database_first; database <= run.database_last; ++database) {
            compare_database(shard, database);
            const std::size_t i = place_in_shard(database);
            if (found.keys[i] != kept.keys[i])
                add(where, "says that it has " + number(kept.keys[i]) + " keys in database " +
                               number(database) + " and has " + number(found.keys[i]));
            else if (found.deadlines[i] != kept.deadlines[i])
                add(where, "says that " + number(kept.deadlines[i]) + " keys in database " +
                               number(database) + " expire, and " + number(found.deadlines[i]) +
                               " do");
        }
        if (found.tombstones != kept.tombstones)
            add(where, "says that it has " + number(kept.tombstones) + " tombstones and has " +
                           number(found.tombstones));
    }
}

void StateCheck::look_at_index() {
    progress_("index", 0, 1);
    for_each_row(Table::ix, "ix", [&](std::string_view key, std::string_view) {
        ++state_.index_rows;
        if (!parse_ix_key(key)) add("state.mdb, table ix, row " + hex(key), "has no form of ours");
    });
    if (state_.index_rows != matched_) name_stray_index_rows();
}

// There are more rows than entries above the floor, or not all of them were found where they should.
void StateCheck::name_stray_index_rows() {
    std::vector<std::pair<std::string, std::string>> rows;
    for_each_row(
        Table::ix, "ix",
        [&](std::string_view key, std::string_view value) { rows.emplace_back(key, value); },
        [&] {
            for (const auto& [key, value] : std::exchange(rows, {})) {
                const auto [row_key, indexed] = parse_ix_value(value);
                const auto dot = parse_ix_key(key);
                if (!dot) continue;
                const std::string where = "state.mdb, table ix, row " + hex(key);
                const auto held = holds(row_key, *dot);
                if (!held)
                    add(where, held.error().text());
                else if (!*held)
                    add(where, "no entry has the dot " + dot->text());
                else if (indexed == Indexed::live && below_the_floor(key, *dot))
                    add(where, "lies below the index floor");
            }
        });
}

bool StateCheck::below_the_floor(std::string_view key, const Dot& dot) const {
    const ShardId shard{static_cast<std::uint16_t>(static_cast<unsigned char>(key[0]) << 8 |
                                                   static_cast<unsigned char>(key[1]))};
    const auto found = state_.shards.find(shard);
    return found == state_.shards.end() || found->second.ix_floor.contains(dot);
}

// Does the row hold an entry of this dot?
Result<bool> StateCheck::holds(std::string_view row_key, const Dot& dot) {
    const auto place = parse_row_key(row_key);
    if (!place) return std::unexpected(place.error());
    const auto bytes = stored_.get(Table::rows, row_key);
    if (!bytes) return std::unexpected(bytes.error());
    if (!*bytes) return false;
    const auto in = [&](const Leaf& leaf) {
        const Entry* entry = leaf.of(dot.replica);
        return entry != nullptr && entry->seq == dot.seq;
    };
    if (place->element) {
        const auto row = decode_element_row(**bytes);
        if (!row) return true;  // reported with its table
        return in(row->leaf);
    }
    const auto row = decode_key_row(**bytes);
    if (!row) return true;
    return std::ranges::any_of(row->leaves, [&](const auto& pair) { return in(pair.second); });
}

void StateCheck::look_at_deadlines() {
    progress_("deadlines", 0, 1);
    std::vector<std::string> keys;
    for_each_row(
        Table::deadlines, "deadlines",
        [&](std::string_view key, std::string_view) {
            ++state_.deadlines;
            keys.emplace_back(key);
        },
        [&] {
            for (const std::string& key : std::exchange(keys, {})) look_at_deadline(key);
        });
}

void StateCheck::look_at_deadline(std::string_view key) {
    const std::string where = "state.mdb, table deadlines, row " + hex(key);
    const auto place =
        key.size() == 8 + kKeyRowKeyBytes ? parse_row_key(key.substr(8)) : Result<RowKey>(RowKey{});
    if (key.size() != 8 + kKeyRowKeyBytes || !place || place->element)
        return add(where, "has no form of ours");
    const auto bytes = stored_.get(Table::rows, key.substr(8));
    if (!bytes) return add(where, bytes.error().text());
    if (!*bytes) return add(where, "leads to no key");
    auto row = decode_key_row(**bytes);
    if (!row || !self_) return;
    for (const auto& [kind, leaf] : row->leaves)
        if (!std::ranges::all_of(leaf, [&](const Entry& e) { return sound_payload(kind, e); }))
            return;
    const auto record = record_of(place->address, std::move(*row));
    // Rows of deadlines that another directory wrote stay behind: they do nothing.
    const bool ours = record->exists() && record->deadline != value::kNoDeadline &&
                      same_directory(record->deadline_writer, *self_);
    if (ours && deadline_key(record->deadline, place->address) != key)
        add(where, "is not the deadline of key " + shown(record->key));
}

}  // namespace

CheckedState check_state(KvReader& stored, std::optional<ReplicaId> self, FindingReport report,
                         CheckProgress progress) {
    return StateCheck(stored, self, report, progress).run();
}

}  // namespace skerry
