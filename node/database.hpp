// node/database.hpp — keys and their types over leaves: what a command reads and changes, without its protocol.
//
// Visible  a key shows one type, that of the later birth; the others' leaves stay until something has seen and removed
//          them. A key is hidden from its deadline on; whoever writes to it then first removes what it had observed.
// Reads    raise observed() to the log position that a reply must wait for.
// Lifetime views and records: until the next call that changes something.   Thread: core thread.
// Source   docs/SEMANTICS.md says what wins in each conflict.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/domain_rules.hpp"
#include "store/store.hpp"

namespace skerry {

inline constexpr WallTime kNoDeadline = value::kNoDeadline;

// What a command is about to write, an upper bound of it. One command lies in one log record: what
// would not fit is refused before anything is changed. Removals are not weighed, since nothing
// that makes room may be refused; one that fills a record goes on in the next.
class WriteWeight {
  public:
    static constexpr std::uint64_t kElementsMax = 2'000'000;
    static constexpr std::uint64_t kBytesMax = std::uint64_t{400} << 20;
    // Beside sub-key and value: kinds, dot, clock reading, and some dots that are superseded.
    static constexpr std::uint64_t kElementBytes = 128;

    // One element: its sub-key and value.
    void add(std::size_t bytes) {
        ++elements_;
        bytes_ += bytes + kElementBytes;
    }
    [[nodiscard]] bool fits() const { return elements_ <= kElementsMax && bytes_ <= kBytesMax; }

  private:
    std::uint64_t elements_ = 0;
    std::uint64_t bytes_ = 0;
};

// What FLUSHDB and FLUSHALL still have to remove. A shard without leaves that count goes by one clear; else these are
// removed first, a part at a time, so that nobody else waits for all of it.
struct Flush {
    static constexpr std::size_t kKeysAtOnce = 1000;  // about a millisecond

    std::vector<DatabaseId> stored;  // what is left: Database::stored_for()
    std::uint16_t shard = 0;         // of those of the first, the one that goes on
    std::uint64_t from = 0;          // the order of its first key that was not looked at
};

class Database {
  public:
    explicit Database(Store& store) : Database(store, {}) {}
    Database(Store& store, DomainRules rules) : store_(store) { set_rules(std::move(rules)); }

    [[nodiscard]] Store& store() { return store_; }
    // The log position that everything read since reset_observed() must be durable at.
    [[nodiscard]] LogPosition observed() const { return observed_; }
    void reset_observed() { observed_ = {}; }

    // ---- domains. A key that was written to main before a rule named it is not reached any more.
    void set_rules(DomainRules rules);
    [[nodiscard]] const DomainRules& rules() const { return rules_; }
    // Is there a domain that this node knows, and does not hold?
    [[nodiscard]] bool lacks_domains() const { return lacks_domains_; }
    [[nodiscard]] bool holds(DatabaseId db, std::string_view key) const {
        return !lacks_domains_ || store_.options().holds.holds_database(rules_.stored_in(db, key));
    }
    // The domain of the key, for people.
    [[nodiscard]] std::string domain_of(DatabaseId db, std::string_view key) const;
    // What of a database is held here.
    [[nodiscard]] std::vector<DatabaseId> stored_for(DatabaseId db) const;

    // ---- keys. `db` is 0..15 everywhere, or a stored database beyond those of SELECT.
    [[nodiscard]] KeyType type(DatabaseId db, std::string_view key);  // none: absent or expired
    [[nodiscard]] bool exists(DatabaseId db, std::string_view key) {
        return type(db, key) != KeyType::none;
    }
    // Removes everything observed under the key, of every type. False: there was no visible key.
    bool remove(DatabaseId db, std::string_view key);
    [[nodiscard]] WallTime deadline(DatabaseId db,
                                    std::string_view key);  // kNoDeadline: none, or no key
    // Requires: the key exists, at is in the future or kNoDeadline (= PERSIST).
    void set_deadline(DatabaseId db, std::string_view key, WallTime at);
    [[nodiscard]] std::uint64_t key_count(DatabaseId db);
    // Of these, those that have a deadline.
    [[nodiscard]] std::uint64_t deadline_count(DatabaseId db);
    // Visible keys with order >= from, in order, until `visit` returns false; of all domains that are held.
    using VisitKey = absl::FunctionRef<bool(const KeyRecord& record)>;
    void for_each_key(DatabaseId db, std::uint64_t from, VisitKey visit);
    // May what the key shows be written at once, by copy()?
    [[nodiscard]] bool copy_fits(DatabaseId db, std::string_view key);
    // Writes what the key shows to another place, which is removed first. Requires: the source
    // exists, copy_fits().
    void copy(DatabaseId from_db, std::string_view from, DatabaseId to_db, std::string_view to);
    // Goes on with a flush, about `keys` further; true: it has come to its end. What counts in a shard goes key by key, and
    // then all else at once.
    [[nodiscard]] bool flush_some(Flush& flush, std::size_t keys);
    // Removes up to `count` keys of which this replica wrote the deadline that has come.
    std::size_t expire_some(std::size_t count);

    // ---- strings. Requires: type() is string or none (setting may replace any type).
    // The value as text. nullopt: absent.
    [[nodiscard]] std::optional<std::string> get(DatabaseId db, std::string_view key);
    // The same without a copy when it can; `out` backs the view otherwise.
    [[nodiscard]] std::optional<std::string_view> get_view(DatabaseId db, std::string_view key,
                                                           std::string& out);
    // Replaces the key whatever it holds.
    void set(DatabaseId db, std::string_view key, std::string_view bytes,
             WallTime deadline = kNoDeadline);
    // Replaces the value and leaves the deadline as it is (SET KEEPTTL, APPEND, SETRANGE).
    void set_keep_deadline(DatabaseId db, std::string_view key, std::string_view bytes);
    // Adds, and gives the sum. Errors: not_a_number, out_of_range (nothing changes).
    [[nodiscard]] Result<std::int64_t> add(DatabaseId db, std::string_view key,
                                           std::int64_t increment);
    [[nodiscard]] Result<std::string> add_real(DatabaseId db, std::string_view key,
                                               long double increment);

    // ---- sets. Requires: type() is set or none.
    bool set_add(DatabaseId db, std::string_view key,
                 std::string_view member);  // true: it was absent
    bool set_remove(DatabaseId db, std::string_view key,
                    std::string_view member);  // true: it was present
    [[nodiscard]] bool set_contains(DatabaseId db, std::string_view key, std::string_view member);

    // ---- hashes. Requires: type() is hash or none.
    bool hash_set(DatabaseId db, std::string_view key, std::string_view field,
                  std::string_view bytes);  // true: new
    bool hash_remove(DatabaseId db, std::string_view key, std::string_view field);
    [[nodiscard]] std::optional<std::string> hash_get(DatabaseId db, std::string_view key,
                                                      std::string_view field);
    [[nodiscard]] Result<std::int64_t> hash_add(DatabaseId db, std::string_view key,
                                                std::string_view field, std::int64_t increment);
    [[nodiscard]] Result<std::string> hash_add_real(DatabaseId db, std::string_view key,
                                                    std::string_view field, long double increment);

    // ---- both: members (kind member) or fields (kind field).
    [[nodiscard]] std::uint64_t count(DatabaseId db, std::string_view key, LeafKind kind);
    // Live elements with hash >= from, in order of hash, until `visit` returns false. A field's
    // value is text of its leaf: value_of(element).
    using VisitElement = Store::VisitElement;
    void for_each(DatabaseId db, std::string_view key, LeafKind kind, Hash128 from,
                  VisitElement visit);
    [[nodiscard]] static std::string value_of(const Element& field) {
        return *value::text(value::read(field.leaf));
    }

    // The record for CRDT.INFO and CRDT.CONFLICTS, visible or not; nullptr: never written.
    [[nodiscard]] KeyRecord* record(DatabaseId db, std::string_view key) { return seen(db, key); }

  private:
    // The same of a stored database.
    KeyRecord* seen_in(DatabaseId stored, std::string_view key);
    bool remove_seen(KeyRecord* record);
    void for_each_stored_key(const std::vector<DatabaseId>& stored, std::uint64_t from,
                             VisitKey visit);
    // The record, noted as observed; nullptr: never written.
    KeyRecord* seen(DatabaseId db, std::string_view key);
    // The record if it shows a key now; else nullptr.
    KeyRecord* visible(DatabaseId db, std::string_view key);
    // The record to write to: what had expired there is removed first.
    KeyRecord& to_write(DatabaseId db, std::string_view key);
    [[nodiscard]] bool expired(const KeyRecord& record) const {
        return record.deadline <= store_.now();
    }
    void remove_all(KeyRecord& record);
    bool flush_shard(Flush& flush, ShardId shard, std::size_t& keys);
    bool remove_counting(Flush& flush, ShardId shard, std::size_t& keys);
    void visit_shards(DatabaseId stored, std::uint64_t from, VisitKey visit);
    void remove_leaf(KeyRecord& record, LeafKind kind);
    void remove_collections(KeyRecord& record);
    void clear_elements(KeyRecord& record);
    using LeafTest = absl::FunctionRef<bool(const Leaf& leaf)>;
    void remove_each(KeyRecord& record, LeafKind kind, LeafTest test);
    // A collection comes into being with its birth mark, free of an old deadline, and goes with
    // both.
    void begin_collection(KeyRecord& record, LeafKind kind, LeafKind birth);
    void end_collection(KeyRecord& record, LeafKind kind, LeafKind birth);
    void drop_stale_deadline(KeyRecord& record);
    void write_string(KeyRecord& record, std::string_view bytes, WallTime deadline);
    Result<std::int64_t> add_integer(KeyRecord& record, LeafKind kind, std::string_view sub,
                                     const Leaf& seen, std::int64_t increment);
    Result<std::string> add_real(KeyRecord& record, LeafKind kind, std::string_view sub,
                                 const Leaf& seen, long double increment);

    Store& store_;
    DomainRules rules_;
    bool lacks_domains_ = false;
    LogPosition observed_;
};

}  // namespace skerry
