#include "node/database.hpp"

#include <cmath>
#include <limits>

#include "crdt/shortcut.hpp"
#include "crdt/types/clear.hpp"
#include "crdt/types/deadline.hpp"
#include "crdt/types/presence.hpp"

namespace skerry {

namespace {
constexpr LeafKind birth_of(LeafKind element) {
    return element == LeafKind::member ? LeafKind::set_birth : LeafKind::hash_birth;
}
constexpr KeyType type_of(LeafKind element) {
    return element == LeafKind::member ? KeyType::set : KeyType::hash;
}
}  // namespace

// ---- domains

void Database::set_rules(DomainRules rules) {
    rules_ = std::move(rules);
    const Holdings& holds = store_.options().holds;
    lacks_domains_ = !holds.main || std::ranges::any_of(rules_.all(), [&](const DomainRule& rule) {
        return !holds.holds_domain(rule.number);
    });
}

std::string Database::domain_of(DatabaseId db, std::string_view key) const {
    const DatabaseId stored = rules_.stored_in(db, key);
    if (stored <= kConfigurationDatabase) return "main";
    const auto number = static_cast<DomainNumber>(stored - kConfigurationDatabase);
    const DomainRule* rule = rules_.find(number);
    return rule != nullptr ? rule->name : std::to_string(number);
}

std::vector<DatabaseId> Database::stored_for(DatabaseId db) const {
    std::vector<DatabaseId> stored = rules_.stored_for(db);
    std::erase_if(stored,
                  [&](DatabaseId id) { return !store_.options().holds.holds_database(id); });
    return stored;
}

// ---- finding

KeyRecord* Database::seen(DatabaseId db, std::string_view key) {
    return seen_in(rules_.stored_in(db, key), key);
}

KeyRecord* Database::seen_in(DatabaseId stored, std::string_view key) {
    KeyRecord* record = store_.find(stored, key);
    if (record != nullptr && !taken(Shortcut::read_not_observed))
        observed_ = std::max({observed_, record->changed, store_.flushed()});
    return record;
}

KeyRecord* Database::visible(DatabaseId db, std::string_view key) {
    KeyRecord* record = seen(db, key);
    return record != nullptr && record->exists() && !expired(*record) ? record : nullptr;
}

KeyRecord& Database::to_write(DatabaseId db, std::string_view key) {
    KeyRecord& record = store_.find_or_make(rules_.stored_in(db, key), key);
    observed_ = std::max({observed_, record.changed, store_.flushed()});
    if (record.exists() && expired(record)) remove_all(record);
    return record;
}

KeyType Database::type(DatabaseId db, std::string_view key) {
    const KeyRecord* record = visible(db, key);
    return record == nullptr ? KeyType::none : record->type;
}

// ---- removing

void Database::remove_leaf(KeyRecord& record, LeafKind kind) {
    if (!record.leaf(kind).any_live()) return;
    store_.change(record, kind, {}, [kind](const Leaf& leaf, const Dot& dot, Hlc now) {
        if (kind == LeafKind::string) return value::remove(leaf, dot, now);
        return kind == LeafKind::deadline ? deadline::remove(leaf, dot, now)
                                          : presence::remove(leaf, dot, now);
    });
}

void Database::remove_each(KeyRecord& record, LeafKind kind, LeafTest test) {
    std::vector<std::string> subs;
    store_.for_each_element(record, kind, {}, [&](const Element& element) {
        if (test(element.leaf)) subs.emplace_back(element.sub);
        return true;
    });
    for (const std::string& sub : subs)
        store_.change(record, kind, sub, [kind](const Leaf& leaf, const Dot& dot, Hlc now) {
            return kind == LeafKind::field ? value::remove(leaf, dot, now)
                                           : presence::remove(leaf, dot, now);
        });
}

// Many elements go by one clear. Those that count are beyond it, and go one by one.
void Database::clear_elements(KeyRecord& record) {
    if (record.extra->sums.counting > 0 && !taken(Shortcut::clear_over_counters))
        remove_each(record, LeafKind::field, value::counts);
    const VersionVector clock = store_.shard(record.address.shard).clock;
    store_.change(record, LeafKind::clear, {}, [&](const Leaf& leaf, const Dot& dot, Hlc now) {
        return clear::all(leaf, dot, now, clock);
    });
}

void Database::remove_collections(KeyRecord& record) {
    if (!record.extra) return;
    const std::uint64_t live = record.live(LeafKind::member) + record.live(LeafKind::field);
    const std::uint64_t counting = record.extra->sums.counting;
    if (live > counting + store_.options().clear_above) {
        clear_elements(record);
    } else if (live > 0) {
        for (const LeafKind kind : {LeafKind::member, LeafKind::field})
            remove_each(record, kind, [](const Leaf& leaf) { return leaf.any_live(); });
    }
    remove_leaf(record, LeafKind::set_birth);
    remove_leaf(record, LeafKind::hash_birth);
}

void Database::remove_all(KeyRecord& record) {
    remove_leaf(record, LeafKind::string);
    remove_collections(record);
    remove_leaf(record, LeafKind::deadline);
}

bool Database::remove(DatabaseId db, std::string_view key) { return remove_seen(seen(db, key)); }

bool Database::remove_seen(KeyRecord* record) {
    if (record == nullptr || !record->exists()) return false;
    const bool was_visible = !expired(*record);
    remove_all(*record);
    return was_visible;
}

bool Database::flush_some(Flush& flush, std::size_t keys) {
    for (; !flush.stored.empty(); flush.stored.erase(flush.stored.begin()), flush.shard = 0) {
        const ShardRun run = run_of(flush.stored.front(), store_.slot_shard_count());
        for (; flush.shard < run.count; ++flush.shard, flush.from = 0) {
            const auto shard = static_cast<std::uint16_t>(run.first.value + flush.shard);
            if (keys == 0 || !flush_shard(flush, ShardId{shard}, keys)) return false;
        }
    }
    return true;
}

// True: nothing of it is left.
bool Database::flush_shard(Flush& flush, ShardId shard, std::size_t& keys) {
    const DatabaseId stored = flush.stored.front();
    if (store_.shard(shard).key_counts[place_in_shard(stored)] == 0) return true;
    if (store_.may_count(shard, stored) && !taken(Shortcut::flush_over_counters)) {
        const bool goes_on = flush.from != 0;
        if (!remove_counting(flush, shard, keys)) return false;
        // What others have made to count behind the place that was reached.
        std::size_t all = ~std::size_t{0};
        if (goes_on) (void)remove_counting(flush, shard, all);
    }
    store_.clear_database(shard, stored);
    store_.end_command();
    keys -= std::min<std::size_t>(keys, 1);
    return true;
}

// True: every key of the shard has been looked at.
bool Database::remove_counting(Flush& flush, ShardId shard, std::size_t& keys) {
    const DatabaseId stored = flush.stored.front();
    std::vector<std::string> found;
    std::optional<std::uint64_t> next;
    const auto look = [&](const KeyRecord& record) {
        const std::uint64_t order = record.address.order.order;
        if (keys == 0 && order != flush.from) {  // keys of one order go together
            next = order;
            return false;
        }
        flush.from = order;
        keys -= std::min<std::size_t>(keys, 1);
        if (counts(LeafKind::string, record.string) ||
            (record.extra && record.extra->sums.counting > 0))
            found.emplace_back(record.key);
        return true;
    };
    store_.for_each_key_of(shard, stored, flush.from, look);
    for (const std::string& key : found) {
        KeyRecord& record = *seen_in(stored, key);
        remove_all(record);
        if (record.extra && record.extra->sums.counting > 0)  // of fields that show nothing
            remove_each(record, LeafKind::field, value::counts);
        store_.end_command();  // a database may not fit one log record
    }
    flush.from = next.value_or(0);
    return !next;
}

std::size_t Database::expire_some(std::size_t count) {
    std::size_t removed = 0;
    for (const auto& [db, key] : store_.expired(count)) {
        KeyRecord* record = store_.find(db, key);
        if (record == nullptr || !record->exists() || !expired(*record)) continue;
        remove_all(*record);
        store_.end_command();
        ++removed;
    }
    return removed;
}

// ---- deadlines

WallTime Database::deadline(DatabaseId db, std::string_view key) {
    const KeyRecord* record = visible(db, key);
    return record == nullptr ? kNoDeadline : record->deadline;
}

void Database::set_deadline(DatabaseId db, std::string_view key, WallTime at) {
    KeyRecord& record = to_write(db, key);
    ASSERT(record.exists());
    store_.change(record, LeafKind::deadline, {}, [&](const Leaf& leaf, const Dot& dot, Hlc now) {
        return deadline::set(leaf, record.string, dot, now, at);
    });
}

void Database::drop_stale_deadline(KeyRecord& record) {
    if (!record.exists()) remove_leaf(record, LeafKind::deadline);
}

// ---- walking

std::uint64_t Database::key_count(DatabaseId db) {
    observed_ = store_.applied();
    std::uint64_t count = 0;
    for (const DatabaseId stored : rules_.stored_for(db)) count += store_.key_count(stored);
    return count;
}

std::uint64_t Database::deadline_count(DatabaseId db) {
    observed_ = store_.applied();
    std::uint64_t count = 0;
    for (const DatabaseId stored : rules_.stored_for(db)) count += store_.deadline_count(stored);
    return count;
}

void Database::for_each_key(DatabaseId db, std::uint64_t from, VisitKey visit) {
    observed_ = store_.applied();
    for_each_stored_key(stored_for(db), from, [&](const KeyRecord& record) {
        if (!record.exists() || expired(record)) return true;
        const bool reached = rules_.stored_in(db, record.key) == record.address.database ||
                             record.address.database >= kDatabaseCount;
        return !reached || visit(record);
    });
}

// Where no key exists, rows may be left of very many that a clear has removed.
void Database::visit_shards(DatabaseId stored, std::uint64_t from, VisitKey visit) {
    const ShardRun run = run_of(stored, store_.slot_shard_count());
    const std::uint16_t end = run.first.value + run.count;
    for (std::uint16_t i = run.at(KeyOrder{from, 0}.slot()).value; i < end; ++i)
        if (store_.shard(ShardId{i}).key_counts[place_in_shard(stored)] != 0 &&
            !store_.for_each_key_of(ShardId{i}, stored, from, visit))
            return;
}

// Each database by itself is in order: whichever has the least key goes on until another one has it.
void Database::for_each_stored_key(const std::vector<DatabaseId>& stored, std::uint64_t from,
                                   VisitKey visit) {
    if (stored.size() == 1) return visit_shards(stored.front(), from, visit);
    struct Run {
        DatabaseId stored;
        std::optional<std::uint64_t> next;  // the order of its next key
    };
    bool more = true;
    // Visits keys of the run up to the order `last`.
    const auto go_on = [&](Run& run, std::uint64_t at, std::optional<std::uint64_t> last) {
        run.next.reset();
        visit_shards(run.stored, at, [&](const KeyRecord& record) {
            const std::uint64_t order = record.address.order.order;
            if (last && order <= *last) {
                more = visit(record);
                return more;
            }
            run.next = order;
            return false;
        });
    };
    std::vector<Run> runs;
    for (const DatabaseId id : stored) {
        go_on(runs.emplace_back(Run{id, {}}), from, std::nullopt);
        if (!runs.back().next) runs.pop_back();
    }
    while (more && !runs.empty()) {
        std::ranges::partial_sort(
            runs, runs.begin() + std::min<std::ptrdiff_t>(2, std::ssize(runs)), {}, &Run::next);
        Run& run = runs.front();
        go_on(run, *run.next, runs.size() > 1 ? *runs[1].next : ~std::uint64_t{0});
        if (!run.next) runs.erase(runs.begin());
    }
}

std::uint64_t Database::count(DatabaseId db, std::string_view key, LeafKind kind) {
    const KeyRecord* record = visible(db, key);
    return record == nullptr || record->type != type_of(kind) ? 0 : record->live(kind);
}

void Database::for_each(DatabaseId db, std::string_view key, LeafKind kind, Hash128 from,
                        VisitElement visit) {
    KeyRecord* record = visible(db, key);
    if (record == nullptr || record->type != type_of(kind)) return;
    store_.for_each_element(*record, kind, from, [&](const Element& element) {
        return !shows(kind, element.leaf) || visit(element);
    });
}

// ---- strings

std::optional<std::string_view> Database::get_view(DatabaseId db, std::string_view key,
                                                   std::string& out) {
    const KeyRecord* record = visible(db, key);
    if (record == nullptr || record->type != KeyType::string) return std::nullopt;
    if (const auto plain = value::plain(record->string)) return plain;
    out = *value::text(value::read(record->string));
    return out;
}

std::optional<std::string> Database::get(DatabaseId db, std::string_view key) {
    std::string out;
    const auto view = get_view(db, key, out);
    if (!view) return std::nullopt;
    return std::string(*view);
}

void Database::write_string(KeyRecord& record, std::string_view bytes, WallTime at) {
    store_.change(record, LeafKind::string, {}, [&](const Leaf& leaf, const Dot& dot, Hlc now) {
        return value::set(leaf, dot, now, {.bytes = bytes, .deadline = at});
    });
}

void Database::set(DatabaseId db, std::string_view key, std::string_view bytes, WallTime at) {
    KeyRecord& record = to_write(db, key);
    if (record.extra) {
        remove_collections(record);
        remove_leaf(record, LeafKind::deadline);
    }
    write_string(record, bytes, at);
}

void Database::set_keep_deadline(DatabaseId db, std::string_view key, std::string_view bytes) {
    KeyRecord& record = to_write(db, key);
    drop_stale_deadline(record);
    const WallTime at = record.exists() ? record.deadline : kNoDeadline;
    write_string(record, bytes, at);
    // An EXPIRE leaf goes on counting beside the new base, whose own deadline is the same.
}

Result<std::int64_t> Database::add_integer(KeyRecord& record, LeafKind kind, std::string_view sub,
                                           const Leaf& seen, std::int64_t increment) {
    const value::Reading reading = value::read(seen);
    const auto before = value::integer(reading);
    if (!before) return std::unexpected(before.error());
    std::int64_t sum = 0;
    if (__builtin_add_overflow(*before, increment, &sum))
        return fail(Code::out_of_range, "increment or decrement would overflow");
    // An increment by nothing leaves no trace in the sum; the key it makes is a plain zero.
    store_.change(record, kind, sub, [&](const Leaf& leaf, const Dot& dot, Hlc now) {
        return !reading.exists && increment == 0
                   ? value::set(leaf, dot, now, {.bytes = "0", .deadline = kNoDeadline})
                   : value::add(leaf, dot, now, value::amount_of(increment));
    });
    return sum;
}

Result<std::string> Database::add_real(KeyRecord& record, LeafKind kind, std::string_view sub,
                                       const Leaf& seen, long double increment) {
    const auto before = value::real(value::read(seen));
    if (!before) return std::unexpected(before.error());
    const long double after = *before + increment;
    const value::Amount amount = value::amount_of_real(increment);
    if (!std::isfinite(after) || !value::can_add(seen, store_.self(), amount))
        return fail(Code::out_of_range, "increment would produce NaN or Infinity");
    store_.change(record, kind, sub, [&](const Leaf& leaf, const Dot& dot, Hlc now) {
        return value::add(leaf, dot, now, amount);
    });
    return value::format_real(after);
}

Result<std::int64_t> Database::add(DatabaseId db, std::string_view key, std::int64_t increment) {
    KeyRecord& record = to_write(db, key);
    drop_stale_deadline(record);
    return add_integer(record, LeafKind::string, {}, record.string, increment);
}

Result<std::string> Database::add_real(DatabaseId db, std::string_view key, long double increment) {
    KeyRecord& record = to_write(db, key);
    drop_stale_deadline(record);
    return add_real(record, LeafKind::string, {}, record.string, increment);
}

// ---- collections

void Database::begin_collection(KeyRecord& record, LeafKind kind, LeafKind birth) {
    if (record.live(kind) > 0 && record.leaf(birth).any_live()) return;
    drop_stale_deadline(record);
    store_.change(record, birth, {}, [](const Leaf& leaf, const Dot& dot, Hlc now) {
        return presence::add(leaf, dot, now);
    });
}

void Database::end_collection(KeyRecord& record, LeafKind kind, LeafKind birth) {
    if (record.live(kind) > 0) return;
    remove_leaf(record, birth);
    drop_stale_deadline(record);
}

bool Database::set_add(DatabaseId db, std::string_view key, std::string_view member) {
    KeyRecord& record = to_write(db, key);
    begin_collection(record, LeafKind::member, birth_of(LeafKind::member));
    bool absent = true;
    // An add of what is present takes a dot all the same: it wins over a concurrent remove.
    store_.change(record, LeafKind::member, member, [&](const Leaf& leaf, const Dot& dot, Hlc now) {
        absent = !leaf.any_live();
        return presence::add(leaf, dot, now);
    });
    return absent;
}

bool Database::set_remove(DatabaseId db, std::string_view key, std::string_view member) {
    KeyRecord* record = visible(db, key);
    if (record == nullptr || !store_.element(*record, LeafKind::member, member).any_live())
        return false;
    store_.change(*record, LeafKind::member, member, [](const Leaf& leaf, const Dot& dot, Hlc now) {
        return presence::remove(leaf, dot, now);
    });
    end_collection(*record, LeafKind::member, birth_of(LeafKind::member));
    return true;
}

bool Database::set_contains(DatabaseId db, std::string_view key, std::string_view member) {
    KeyRecord* record = visible(db, key);
    return record != nullptr && store_.element(*record, LeafKind::member, member).any_live();
}

bool Database::hash_set(DatabaseId db, std::string_view key, std::string_view field,
                        std::string_view bytes) {
    KeyRecord& record = to_write(db, key);
    begin_collection(record, LeafKind::field, birth_of(LeafKind::field));
    bool absent = true;
    store_.change(record, LeafKind::field, field, [&](const Leaf& leaf, const Dot& dot, Hlc now) {
        absent = !shows(LeafKind::field, leaf);
        return value::set(leaf, dot, now, {.bytes = bytes, .deadline = kNoDeadline});
    });
    return absent;
}

bool Database::hash_remove(DatabaseId db, std::string_view key, std::string_view field) {
    KeyRecord* record = visible(db, key);
    if (record == nullptr ||
        !shows(LeafKind::field, store_.element(*record, LeafKind::field, field)))
        return false;
    store_.change(*record, LeafKind::field, field, [](const Leaf& leaf, const Dot& dot, Hlc now) {
        return value::remove(leaf, dot, now);
    });
    end_collection(*record, LeafKind::field, birth_of(LeafKind::field));
    return true;
}

std::optional<std::string> Database::hash_get(DatabaseId db, std::string_view key,
                                              std::string_view field) {
    KeyRecord* record = visible(db, key);
    if (record == nullptr || record->type != KeyType::hash) return std::nullopt;
    const Leaf& leaf = store_.element(*record, LeafKind::field, field);
    if (const auto plain = value::plain(leaf)) return std::string(*plain);
    return value::text(value::read(leaf));
}

Result<std::int64_t> Database::hash_add(DatabaseId db, std::string_view key, std::string_view field,
                                        std::int64_t increment) {
    KeyRecord& record = to_write(db, key);
    begin_collection(record, LeafKind::field, birth_of(LeafKind::field));
    const Leaf& seen = store_.element(record, LeafKind::field, field);
    const auto sum = add_integer(record, LeafKind::field, field, seen, increment);
    if (!sum) end_collection(record, LeafKind::field, birth_of(LeafKind::field));
    return sum;
}

Result<std::string> Database::hash_add_real(DatabaseId db, std::string_view key,
                                            std::string_view field, long double increment) {
    KeyRecord& record = to_write(db, key);
    begin_collection(record, LeafKind::field, birth_of(LeafKind::field));
    const Leaf& seen = store_.element(record, LeafKind::field, field);
    const auto sum = add_real(record, LeafKind::field, field, seen, increment);
    if (!sum) end_collection(record, LeafKind::field, birth_of(LeafKind::field));
    return sum;
}

// ---- copying

static_assert(WriteWeight::kElementsMax < kBatchOperationsMax &&
              WriteWeight::kBytesMax < kBatchBytesMax);

bool Database::copy_fits(DatabaseId db, std::string_view key) {
    const KeyRecord* record = visible(db, key);
    if (record == nullptr || record->type == KeyType::string) return true;
    const LeafKind kind = record->type == KeyType::set ? LeafKind::member : LeafKind::field;
    WriteWeight weight;
    for_each(db, key, kind, {}, [&](const Element& element) {
        std::size_t bytes = element.sub.view().size();
        for (const Entry& entry : element.leaf) bytes += entry.payload.size();
        weight.add(bytes);
        return weight.fits();
    });
    return weight.fits();
}

void Database::copy(DatabaseId from_db, std::string_view from, DatabaseId to_db,
                    std::string_view to) {
    const KeyRecord* source = visible(from_db, from);
    ASSERT(source != nullptr);
    const KeyType kind = source->type;
    const WallTime at = source->deadline;
    remove(to_db, to);
    if (kind == KeyType::string) {
        const std::string bytes = *get(from_db, from);
        set(to_db, to, bytes, at);
        return;
    }
    std::vector<std::pair<std::string, std::string>> parts;
    const LeafKind element_kind = kind == KeyType::set ? LeafKind::member : LeafKind::field;
    for_each(from_db, from, element_kind, {}, [&](const Element& element) {
        parts.emplace_back(element.sub, kind == KeyType::hash ? value_of(element) : std::string());
        return true;
    });
    for (const auto& [sub, bytes] : parts) {
        if (kind == KeyType::set)
            set_add(to_db, to, sub);
        else
            hash_set(to_db, to, sub, bytes);
    }
    if (at != kNoDeadline) set_deadline(to_db, to, at);
}

}  // namespace skerry
