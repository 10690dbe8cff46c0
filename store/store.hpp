// store/store.hpp — the storage engine: memtable, commits, replay, checkpoints, over a log and an ordered store.
//
// Round    commands and remote batches change the memtable and gather into an open commit; seal() closes it; the driver
//          makes it durable and says so with committed(). Only then may replies go out and batches be published.
// Reads    see what is applied, durable or not; KeyRecord::changed says which log position a reply must wait for.
// Image    freeze() fixes the state at a position; save_some() serialises it in slices, and a row that changes before it
//          is saved is saved first; the image is written in one transaction, once its position is durable.
// Flip     what a pull staged joins at once if it is little; else it is measured, the clocks advance, and the leaves join as
//          they are touched, or in the background (store/drain.cpp, docs/decisions/0010).
// Mask     what a clear covers is gone at once, from what is shown as from digests and counts; its rows go in the
//          background (store/reclaim.cpp, store/flush.cpp, docs/decisions/0011).
// Halt     an ordered store that cannot be read stops everything: halted() is set, nothing more is sealed.
// Thread   core thread; Checkpoint::write runs on any one thread beside it.
#pragma once

#include <absl/container/btree_set.h>
#include <absl/functional/function_ref.h>

#include <deque>
#include <map>
#include <optional>
#include <set>

#include "crdt/hlc.hpp"
#include "store/kv.hpp"
#include "store/log.hpp"
#include "store/memtable.hpp"
#include "store/reclaiming.hpp"
#include "store/record.hpp"
#include "store/stable_cut.hpp"
#include "store/staging.hpp"

namespace skerry {

struct StoreOptions {
    ReplicaId self;
    std::uint64_t nonce = 0;          // of this process: what it publishes is one stream
    std::uint16_t shard_count = 256;  // of main: what crdt/domain.hpp numbers shards by
    Holdings holds = {};              // what a directory has once held it goes on holding
    std::uint64_t hash_seed = 0;
    std::size_t memory_bytes = std::size_t{1} << 30;
    // A checkpoint is due after as much log as a quarter of the ordered store, within these and a quarter of memory:
    // a short one touches every page of a large store for a few rows in each.
    std::size_t checkpoint_log_bytes_min = std::size_t{256} << 20;
    std::size_t checkpoint_log_bytes_max = std::size_t{1} << 30;
    std::size_t flip_bytes_max = std::size_t{1} << 20;  // of staged leaves that may join at once
    std::uint64_t clear_above = 64;                     // elements: fewer are removed one by one
    WallTime drift_max = HlcClock::kDriftMax;
};

// A batch of ours, or one that is passed on, as it stands in the stream: after `previous`, under `foreign`, the entries of
// other writers that the clocks gained between the two. The first of a process carries the whole clock.
struct Published {
    LogPosition position;
    LogPosition previous;
    ShardClocks foreign;
    std::size_t body_at = 0;  // in Commit::frames
    std::size_t body_bytes = 0;
};

struct Commit {
    std::string frames;  // for Log::append
    LogPosition last;
    std::vector<Published> published;
    ShardClocks clocks;  // of the shards it changed, as they are with it
};

// One checkpoint on its way to the ordered store. Owns all it needs.
class Checkpoint {
  public:
    // All or nothing. May be called again after a failure.   Errors: those of Kv::write.   Thread:
    // any one.
    [[nodiscard]] Result<void> write(Kv& kv, KvRoom room);
    [[nodiscard]] LogPosition covered() const { return state_.covered; }
    // Rows that it has written.
    [[nodiscard]] std::size_t row_count() const { return row_count_; }

  private:
    friend class Store;
    struct Floor {
        ShardId shard;
        VersionVector before;
        VersionVector after;
    };
    Generation generation_ = 0;
    StateMeta state_;
    KvBatch changes_;
    std::vector<Floor> floors_;
    // Rows of sessions that are over go.
    [[nodiscard]] Result<void> sweep(KvReader& stored);

    std::size_t row_count_ = 0;
    std::size_t staged_bytes_ = 0;
    bool sweeps_ = false;              // removes rows of sessions that are over,
    std::vector<std::uint64_t> kept_;  // which are all but these,
    bool sweeps_again_ = false;        // and has not come to the end
    bool sorted_ = false;
};

struct StoreStats {
    std::size_t memory_bytes = 0;
    std::uint64_t log_bytes_since_checkpoint = 0;
    std::uint64_t checkpoints = 0;
    std::uint64_t cache_misses = 0;
    std::uint64_t evicted = 0;
    std::uint64_t repaired_leaves = 0;  // that were changed to equal a peer's
    std::uint64_t recounted = 0;     // shards whose digest or counts were not those of their rows
    std::uint64_t clocks_ahead = 0;  // readings too far in the future to be absorbed
    std::uint64_t staged_bytes = 0;  // of memory_bytes: leaves staged since the last checkpoint
    std::uint64_t drains = 0;        // flips whose leaves join later
    bool draining = false;           // some of them have not
    std::uint64_t drained_by_touch = 0;       // leaves that joined because somebody asked,
    std::uint64_t drained_in_background = 0;  // and because nobody did
    std::uint64_t purged = 0;                 // leaves with nothing but stable markers
    std::uint64_t clears = 0;                 // that masked something
    std::uint64_t masks_measured =
        0;  // of these, which did not cover all: every element was looked at
    std::uint64_t masks_dropped = 0;  // nothing is left that they mask
    std::uint64_t masked_keys = 0;    // where something may be left
    std::uint64_t flushes = 0;        // clears of a database in a shard that masked something
    std::uint64_t flushes_measured =
        0;  // of these, which did not cover all: every key was looked at
    std::uint64_t masked_databases = 0;  // in shards, where something may be left
    std::uint64_t reclaimed = 0;         // rows that held something masked
    LogPosition covered;                 // by the last checkpoint
};

class Store {
  public:
    // Reads the clocks, replays the log, and begins the stream of this process.
    // Errors: corrupt, unsupported, io_failed; refused (another shard count or cluster than the
    // directory was made with).
    [[nodiscard]] static Result<std::unique_ptr<Store>> open(Log& log, const Kv& kv,
                                                             const StoreOptions& options,
                                                             WallTime now);

    void set_now(WallTime now) { now_ = now; }
    [[nodiscard]] WallTime now() const { return now_; }
    [[nodiscard]] ReplicaId self() const { return options_.self; }
    [[nodiscard]] const StoreOptions& options() const { return options_; }

    // ---- reading. Lifetime of what is returned: until the next call that changes or evicts.
    // The key's record; nullptr if no leaf was ever written there.
    [[nodiscard]] KeyRecord* find(DatabaseId database, std::string_view key);
    [[nodiscard]] KeyRecord& find_or_make(DatabaseId database, std::string_view key);
    // The leaf of an element; an empty one if there is none.
    [[nodiscard]] const Leaf& element(KeyRecord& record, LeafKind kind, std::string_view sub);
    // Elements of one kind with hash >= from, in order, removed and empty ones too, until `visit` returns
    // false.
    using VisitElement = absl::FunctionRef<bool(const Element& element)>;
    void for_each_element(const KeyRecord& record, LeafKind kind, Hash128 from, VisitElement visit);
    // The same, what is masked not left out: the leaves as their rows hold them.
    void for_each_element_row(const KeyRecord& record, LeafKind kind, Hash128 from,
                              VisitElement visit);
    // Keys of a database with order >= from, in order, removed ones too, until `visit` returns
    // false.
    using VisitKey = absl::FunctionRef<bool(const KeyRecord& record)>;
    void for_each_key(DatabaseId database, std::uint64_t from, VisitKey visit);
    // The same of one shard. False: `visit` has returned false.
    bool for_each_key_of(ShardId shard, DatabaseId database, std::uint64_t from, VisitKey visit);
    // 0: the database is not held, too.
    [[nodiscard]] std::uint64_t key_count(DatabaseId database) const;
    // Of these, those that have a deadline.
    [[nodiscard]] std::uint64_t deadline_count(DatabaseId database) const;
    [[nodiscard]] std::uint64_t tombstone_count() const;
    [[nodiscard]] ElementOrder order_of(LeafKind kind, std::string_view sub) const;
    [[nodiscard]] RowAddress address_of(DatabaseId database, std::string_view key) const;
    // Up to `count` keys whose deadline, written by this replica, has come. Each is offered until
    // it goes away.
    [[nodiscard]] std::vector<std::pair<DatabaseId, std::string>> expired(std::size_t count);

    // ---- changing. The mutator maps (leaf seen, dot, hlc) to a LeafDelta.
    template <class Mutator>
    void change(KeyRecord& record, LeafKind kind, std::string_view sub, Mutator&& mutator) {
        if (open_batch_.full()) [[unlikely]]
            close_batch();
        const Change change = begin_change(record, kind, sub);
        const Dot dot = next_dot(record.address.shard);
        LeafDelta delta = mutator(std::as_const(*change.leaf), dot, hlc_.next(now_));
        open_batch_.add(record.address.database, record.key, kind, sub, delta);
        change.leaf->apply(std::move(delta));
        end_change(record, change);
    }
    // Removes all that the database holds in the shard: one operation. Requires: it has held something, and none of it counts.
    void clear_database(ShardId shard, DatabaseId database);
    // What clears of the database are known to have removed there.
    [[nodiscard]] VersionVector cleared_of_database(ShardId shard, DatabaseId database);
    // The key that the leaf of such clears is of. Requires: not of the configuration.
    [[nodiscard]] const std::string& flush_key_of(ShardId shard) const;
    // Does the leaf lie where those of its kind do? What comes from outside is asked.
    [[nodiscard]] bool is_placed(const LeafKey& key) const;
    // May some leaf of the database in the shard count, so that no clear can say what of it has been seen?
    [[nodiscard]] bool may_count(ShardId shard, DatabaseId database) const {
        return drains(shard) || this->shard(shard).sums_of(database).counts;
    }
    // The record of the last clear of a database: what is seen behind it waits for it, as for a change of the key.
    [[nodiscard]] LogPosition flushed() const { return flushed_; }
    // Ends a command: a long batch is closed here, and inside a command only when it is full.
    void end_command();

    // ---- remote.
    // Applies what of the batch is new; passed on, it is published as a batch of ours is. Requires: every dependency is
    // covered.
    void apply_remote(std::string_view source, std::string_view batch_bytes, const Batch& batch,
                      Onward onward = Onward::stays);
    // Is every entry within the clock of its shard, and every purge floor, and every payload what its type reads? What joining
    // and the next start rely on; what a peer sends is checked before stage().
    [[nodiscard]] bool sound(const ShardClocks& clocks, const ShardClocks& floors,
                             const std::vector<StagedLeaf>& leaves) const;
    // One session is open at a time: a stage of another one drops what was staged before.
    void stage(const Stage& stage);
    // Is as much staged as may be until the next checkpoint? Then the pull must wait.
    [[nodiscard]] bool staging_full() const;
    struct OpenSession {
        std::uint64_t session;
        std::string_view cursor;
    };
    // The session that is staged and not flipped, from before a restart perhaps.
    [[nodiscard]] std::optional<OpenSession> open_session() const;
    void drop_session(std::uint64_t session);
    // The server has sent all its leaves: what it lacks and this store has is staged, too, as an empty leaf at `clocks`,
    // so that the flip joins over the union of both. Looks at `key_count` keys from `from` on. True: that was all. False:
    // call again, after the next commit or checkpoint. Requires: until the flip nothing of other writers is applied.
    bool stage_absent(std::uint64_t session, const ShardClocks& clocks, RowAddress& from,
                      std::size_t key_count);
    // Can stages() be asked, and more be staged? If not, after the next checkpoint.
    [[nodiscard]] bool can_compare_staged() const {
        return !halted_ && !image_ && !draining() && !staging_full();
    }
    // Is the leaf staged under the session? Requires: can_compare_staged().
    [[nodiscard]] bool stages(std::uint64_t session, const LeafKey& key);
    // Of all that is staged under the session, by shard: the join of the clocks it came with.
    // Requires: can_compare_staged().
    [[nodiscard]] ShardClocks staged_clocks(std::uint64_t session);
    // Joins all that is staged under the session, each leaf at its own clocks, and the clocks; purge floors join `floors`,
    // the server's. True: done. False: there is much; step_staged() goes on until flipping() is false.
    bool flip(std::uint64_t session, const ShardClocks& clocks, const ShardClocks& floors);
    [[nodiscard]] bool flipping() const { return measure_.has_value(); }
    // Do leaves of a flip remain that have not joined?
    [[nodiscard]] bool draining() const { return drain_ && !drain_->finished_in; }
    // Are there leaves of the shard that have not joined, though its digest counts them?
    [[nodiscard]] bool drains(ShardId shard) const {
        return this->shard(shard).staged && draining();
    }
    // A step of a flip, or of a drain: looks at `leaf_count` staged leaves. Call it every round. False: there is
    // nothing to do, or nothing before a checkpoint.
    bool step_staged(std::size_t leaf_count);
    // Takes what clears have masked out of up to `row_count` rows, or looks at them. Call it every round. False:
    // there is nothing to do, or nothing before a checkpoint.
    bool reclaim_some(std::size_t row_count);

    // Unites leaves with those of a peer at the clock that the shard has here; at the end digest and counts become those of
    // the rows.
    // Requires: all leaves and masks are of the shard, and within its clock; nothing of it is staged.   Cost: O(leaves), and
    // O(rows of the shard) at the end.
    void repair(Repair repair);

    // ---- commits.
    // Ends a round: the snapshot that reads have used is given back.
    void end_round() { reader_.reset(); }
    [[nodiscard]] std::optional<Commit> seal();
    // Is nothing open? What is applied is then the state at the last record.
    [[nodiscard]] bool sealed() const { return open_batch_.empty() && commit_.frames.empty(); }
    void committed(const Commit& commit);
    // The position that what is applied now will have.
    [[nodiscard]] LogPosition applied() const { return open_batch_.empty() ? last_ : last_.next(); }
    [[nodiscard]] LogPosition durable() const { return durable_; }
    [[nodiscard]] LogPosition last_published() const { return last_published_; }

    // ---- clocks.
    // All shards that are held here, by number.
    [[nodiscard]] const std::vector<ShardId>& held() const { return held_; }
    [[nodiscard]] bool holds(ShardId shard) const { return place_of(shard) < shards_.size(); }
    // Of main; what shards are numbered by.
    [[nodiscard]] std::uint16_t slot_shard_count() const { return options_.shard_count; }
    [[nodiscard]] ShardId configuration_shard() const {
        return skerry::configuration_shard(options_.shard_count);
    }
    // Requires: holds(shard).
    [[nodiscard]] const ShardState& shard(ShardId shard) const {
        return shards_[held_place_of(shard)];
    }
    [[nodiscard]] ShardClocks clocks() const;
    [[nodiscard]] ShardClocks durable_clocks() const;
    [[nodiscard]] bool covers(const ShardClocks& clocks) const;
    [[nodiscard]] bool durably_covers(const ShardClocks& clocks) const;

    // ---- checkpoints.
    // Dots below the cut need no index row, and markers below it may go. nullopt: not known now.
    void set_stable_cut(std::optional<StableCut> cut);
    [[nodiscard]] const std::optional<StableCut>& stable_cut() const { return stable_cut_; }
    // Purges stable markers, looking at `leaf_count` of them at most (store/purge.cpp). Call it every round. False: there
    // is nothing to do, or nothing before a checkpoint.
    bool step_purge(std::size_t leaf_count);
    [[nodiscard]] bool wants_checkpoint() const;
    [[nodiscard]] bool has_changes() const {
        return !dirty_.empty() || !old_rows_.empty() || last_ > stats_.covered;
    }
    [[nodiscard]] bool freezing() const { return image_ != nullptr; }
    // Requires: sealed, and no image under way.
    void freeze();
    // True once the image is whole and may be written. `row_count` bounds the work.
    bool save_some(std::size_t row_count);
    [[nodiscard]] std::shared_ptr<Checkpoint> image() const { return image_; }
    // The image has been written. Positions before the result are needed no more for recovery.
    LogPosition checkpointed();
    // Drops clean rows until memory is within its limit or `row_count` rows were looked at.
    void evict(std::size_t row_count);
    // More in memory than may be: clients must be slowed until a checkpoint and eviction have made
    // room.
    [[nodiscard]] bool overloaded() const;

    [[nodiscard]] const std::optional<Error>& halted() const { return halted_; }
    [[nodiscard]] const StoreStats& stats() const { return stats_; }
    // Keys, and databases of shards, of which rows may still hold what clears have removed.
    [[nodiscard]] std::size_t masked() const {
        return stats_.masked_keys + stats_.masked_databases;
    }

  private:
    // What a leaf counts for, beyond what it shows.
    struct Traces {
        bool empty = true;
        bool removed = false;  // only_removed()
        [[nodiscard]] static Traces of(const Leaf& leaf) {
            return {leaf.empty(), only_removed(leaf)};
        }
    };
    struct Change {
        Leaf* leaf;
        Element* element;  // nullptr: a leaf of the key itself
        LeafKind kind;
        bool was_live;
        Traces was;
        bool was_counting;
        std::uint64_t old_digest;
        std::size_t old_bytes;
        VersionVector old_clear;
    };
    // Dirty rows are not evicted, so that both stay where they are.
    struct DirtyRow {
        KeyRecord* record;
        Element* element;  // nullptr: the key's own row
    };

    // A leaf that has come to hold only REMOVED markers. Its row is there while the generation is not completed.
    struct Marker {
        KeyRecord* record;
        Element* element;  // nullptr: a leaf of the key itself
        LeafKind kind;
        Generation generation;
    };
    // A row without leaves: gone from the ordered store with the image of the generation, then from memory.
    struct Vacated {
        RowAddress address;
        std::optional<ElementOrder> element;
        Generation generation;
    };

    using Counts = std::array<std::uint64_t, kDatabaseCount>;
    [[nodiscard]] std::uint64_t count_in(DatabaseId database,
                                         const Counts ShardState::* counts) const;

    struct JoinedKey;
    // Of a key under a mask; in `sums` without the mask.
    struct Remains {
        ElementSums sums;
        ElementCounts live{};
    };

    // Of the rows of a shard.
    struct ShardSums {
        std::uint64_t digest = 0;
        std::uint64_t tombstones = 0;
        std::array<std::uint64_t, kDatabaseCount> keys{};
        std::array<std::uint64_t, kDatabaseCount> deadlines{};
        std::array<DatabaseSums, kDatabaseCount> databases;
    };

    Store(Log& log, const Kv& kv, const StoreOptions& options, WallTime now);
    // What the meta table says; nullopt: a new directory.
    [[nodiscard]] Result<std::optional<StateMeta>> load();
    [[nodiscard]] Result<void> replay(const StateMeta& state);
    [[nodiscard]] Result<void> replay_record(LogPosition position, std::string_view body);
    [[nodiscard]] Result<void> replay_flip(const Flip& flip);
    void begin_stream();

    // Those of main and the configuration stand where their number says, if main is held. Not held: beyond the last.
    [[nodiscard]] std::size_t place_of(ShardId shard) const {
        if (shard.value < numbered_) [[likely]]
            return shard.value;
        return shard.value < places_.size() ? places_[shard.value] : kNowhere;
    }
    [[nodiscard]] std::size_t held_place_of(ShardId shard) const {
        const std::size_t place = place_of(shard);
        ASSERT(place < shards_.size());
        return place;
    }
    [[nodiscard]] ShardState& state(ShardId shard) { return shards_[held_place_of(shard)]; }
    [[nodiscard]] Result<void> held_here(std::initializer_list<ShardId> shards) const;
    [[nodiscard]] Result<void> held_here(const Record& record) const;
    [[nodiscard]] KvReader* reader();
    [[nodiscard]] KeyRecord* find_at(const RowAddress& address, std::string_view key);
    [[nodiscard]] std::unique_ptr<KeyRecord> load_record(const RowAddress& address);
    // The key's record as it is here, staged leaves or not.
    [[nodiscard]] KeyRecord* lookup(const RowAddress& address, std::string_view key);
    KeyRecord& make(const RowAddress& address, std::string_view key);
    [[nodiscard]] KeyRecord* in_memory(const RowAddress& address);
    // nullptr: there is none, in memory or beyond.
    [[nodiscard]] Element* find_element(KeyRecord& record, const ElementOrder& order,
                                        std::string_view sub);
    // A record in memory may change, one beyond it is a copy; as they are, whatever masks them.
    enum class RowPlace : std::uint8_t { memory, stored };
    using VisitRow = absl::FunctionRef<bool(KeyRecord& record, RowPlace place)>;
    void visit_stored_keys(ShardId shard, DatabaseId database, std::uint64_t from, VisitRow visit);
    // False: `visit` wants no more.
    bool visit_rows(ShardId shard, DatabaseId database, std::uint64_t from, VisitRow visit);
    // The same, what is masked left out.
    bool visit_keys(ShardId shard, DatabaseId database, std::uint64_t from, VisitKey visit);
    // The same, each key as it is with its staged leaves.
    bool visit_undrained_keys(ShardId shard, DatabaseId database, std::uint64_t from,
                              VisitKey visit);
    KeyRecord& insert(std::unique_ptr<KeyRecord> record);
    // Drops what is clean; true: all of it, so that the record may go.
    bool evict_elements(KeyRecord& record);

    [[nodiscard]] Change begin_change(KeyRecord& record, LeafKind kind, std::string_view sub);
    void end_change(KeyRecord& record, const Change& change);
    [[nodiscard]] static std::uint64_t digest_of(const KeyRecord& record, const Change& change);
    // Of the key's own row, or an element's.
    void mark_dirty(KeyRecord& record, Element* element);
    void save_row(KeyRecord& record, Element* element);
    void note_old_rows(const KeyRecord& record, const Element* element);
    void count_traces(KeyRecord& record, Element* element, LeafKind kind, Traces was);
    void derive_and_count(KeyRecord& record);
    void track_deadline(const KeyRecord& record, bool present);
    [[nodiscard]] bool expires_here(const KeyRecord& record) const;
    [[nodiscard]] Dot next_dot(ShardId shard);

    void close_batch();
    void publish(std::size_t body_at, ShardClocks foreign);
    // Room for a frame's header at the end of the commit; the body follows; end_record() numbers
    // and seals it.
    [[nodiscard]] std::size_t begin_record();
    void end_record(std::size_t header_at);
    void apply_operations(const Batch& batch);
    void apply_operation(KeyRecord& record, const Operation& operation);

    // ---- clears: store/reclaim.cpp
    void note_old_element(Change& change);
    void count_element(KeyRecord& record, const Change& change, std::uint64_t digest_gained);
    // Requires: record.extra.
    [[nodiscard]] Remains remains_under(const KeyRecord& record, const VersionVector& mask);
    static void add_to(ElementSums& sums, LeafKind kind, const Leaf& leaf, std::uint64_t digest);
    void mask(KeyRecord& record, const VersionVector& clock);
    // What the key keeps of its elements becomes what remains of them. Requires: record.extra.
    void narrow(KeyRecord& record, VersionVector mask);
    void note_masked(const KeyRecord& record);
    void unmask(KeyRecord& record, Element& element);
    // Takes out what is masked in the key and in its database.
    void unmask_joined(const KeyRecord& record, LeafKind kind, Leaf& leaf) const;
    // ---- clears of databases: store/flush.cpp
    // `seen`: a shard whose clock is within has nothing that the clear does not cover.
    void mask_database(const RowAddress& at, const VersionVector& clock, const VersionVector& seen);
    void count_remains(ShardId shard, DatabaseId database, const VersionVector& clock);
    [[nodiscard]] std::optional<std::set<RowAddress>> stored_beyond(ShardId shard,
                                                                    DatabaseId database,
                                                                    const VersionVector& clock);
    static void add_key(DatabaseSums& sums, const KeyRecord& record);
    // Before anything else happens to a key in memory: it is put under the mask of its database.
    void settle(KeyRecord& record) {
        if (stats_.masked_databases != 0) [[unlikely]]
            settle_under(record, state(record.address.shard).sums_of(record.address.database).mask);
    }
    void settle_under(KeyRecord& record, const VersionVector& mask);
    // The same of a copy.
    void put_under(KeyRecord& record, const VersionVector& mask);
    void put_under_mask(KeyRecord& record) {
        put_under(record, state(record.address.shard).sums_of(record.address.database).mask);
    }
    static void unmask_own_leaves(KeyRecord& record, const VersionVector& mask);
    // All keys of a database: their rows are then as they are seen.
    void settle_all(ShardId shard, DatabaseId database);
    void settle_at(const RowAddress& address);
    [[nodiscard]] bool reclaim_database(std::size_t& row_count);
    void drop_masks_of_databases();
    // ---- reclaiming: store/reclaim.cpp
    void count_masked();
    [[nodiscard]] Result<void> load_masked();
    [[nodiscard]] std::size_t reclaimed_rows_max() const;
    [[nodiscard]] bool reclaim_wants_image() const;
    void freeze_reclaimed();
    void reclaimed_in_image();
    [[nodiscard]] KeyRecord* record_to_reclaim();
    [[nodiscard]] bool walk_in_memory(KeyRecord& record, std::size_t& row_count);
    [[nodiscard]] bool walk_in_store(KeyRecord& record, std::size_t& row_count);
    [[nodiscard]] bool reclaim(KeyRecord& record, Element& element);
    void end_walk(KeyRecord& record);
    // ---- store/repair.cpp
    void replay_repair(const Repair& repair);
    KeyRecord& record_to_repair(DatabaseId database, std::string_view key);
    // True: more is masked than was.
    bool mask_as_there(const KeyMask& theirs);
    bool mask_database_as_there(const KeyMask& theirs);
    void unmask_united(const KeyRecord& record, LeafKind kind, Leaf& leaf);
    // True: it has changed; `leaf` is what it has become.
    bool unite(StagedLeaf& leaf);
    void adopt(const StagedLeaf& united);
    // Digest and counts become those of the rows. True: they were.
    bool recount(ShardId shard);
    void look_for_strays(ShardId shard);
    void take_in_strays(const RowAddress& address, bool has_row);
    [[nodiscard]] bool recount_elements(const RowAddress& address, ShardSums& sums);
    [[nodiscard]] bool has_stored_elements(const RowAddress& address);

    // ---- staged leaves: store/drain.cpp
    [[nodiscard]] Result<void> load_staged(const StateMeta& meta,
                                           std::map<ShardId, VersionVector> before);
    void take_stage(const Stage& stage, LogPosition position);
    void put_staged(std::string key, std::string value);
    void forget_staging();
    void freeze_staged();
    void staged_in_image();
    [[nodiscard]] bool staged_want_image() const;
    void join_at_once(absl::FunctionRef<bool(LeafKind)> joins);
    void apply_flip(const Flip& flip);
    void log_flip(const Flip& flip);
    void begin_drain(const Flip& flip);
    void end_drain();
    [[nodiscard]] std::vector<StagedRow> staged_rows(std::uint64_t session, std::string_view from,
                                                     std::string_view to, std::size_t count);
    bool measure_some(std::size_t leaf_count);
    void measure_rows(const std::vector<StagedRow>& rows);
    void finish_flip();
    bool drain_some(std::size_t leaf_count);
    [[nodiscard]] KeyRecord* record_to_drain(const StagedRow& row);
    void drain_rows(const std::vector<StagedRow>& rows);
    void drain_row(KeyRecord& record, const StagedRow& row);
    void drain_key(const RowAddress& address, std::string_view key);
    void drain_between(std::string_view from, std::string_view to);
    // Before a key of a shard with staged leaves is looked up: its leaves join, or what was measured
    // of it is taken back.
    void touch(const RowAddress& address, std::string_view key);
    [[nodiscard]] JoinedKey begin_joined(const RowAddress& address, std::string_view key);
    void join_virtually(JoinedKey& joined, const StagedRow& row, const VersionVector& mine);
    void mask_virtually(JoinedKey& joined, const VersionVector& clock);
    void remains_of(JoinedKey& joined, const VersionVector& clock);
    [[nodiscard]] const VersionVector& mask_to_come(const RowAddress& address);
    [[nodiscard]] std::optional<StagedRow> staged_flush(std::uint64_t session, ShardId shard,
                                                        DatabaseId database);
    void measure_again();
    void join_flush(std::uint64_t session, const StagedRow& row);
    // The key of `address` with all its staged leaves from a place on; nullopt: none is staged.
    [[nodiscard]] std::optional<JoinedKey> joined_key(const RowAddress& address,
                                                      std::uint64_t session, std::string_view from,
                                                      const VersionVector& mine);
    void count_gain(const JoinedKey& joined, std::uint64_t sign);
    [[nodiscard]] Leaf leaf_of(const JoinedKey& joined, const ElementOrder& order);
    // ---- store/absent.cpp
    [[nodiscard]] bool is_staged(std::uint64_t session, std::string_view place);
    [[nodiscard]] std::vector<LeafKey> leaves_within(const RowAddress& address,
                                                     const VersionVector& clock);
    [[nodiscard]] std::vector<RowAddress> next_keys(const ShardClocks& clocks, RowAddress& from,
                                                    std::size_t count);

    // ---- store/purge.cpp
    void look_for_markers();
    bool purge_in_memory(std::size_t& leaf_count);
    void purge_markers(ShardId shard, std::size_t& leaf_count);
    bool purge_stored(std::size_t& leaf_count);
    bool purge_indexed(ShardId shard, std::size_t& leaf_count);
    void purge_row(std::string_view row_key);
    [[nodiscard]] std::optional<ElementRow> stored_element(const KeyRecord& record,
                                                           const ElementOrder& order);
    [[nodiscard]] const VersionVector& cut_of(ShardId shard) const;
    [[nodiscard]] bool still_speaks(ShardId shard, LeafKind kind, const Leaf& leaf) const;
    [[nodiscard]] bool purgeable(ShardId shard, LeafKind kind, const Leaf& leaf) const;
    void purge_leaf(KeyRecord& record, LeafKind kind, std::string_view sub);
    void note_vacated(const KeyRecord& record, const Element* element);
    bool drop_vacated(std::size_t& row_count);
    void purged_in_image();
    [[nodiscard]] bool purge_is_full() const;
    [[nodiscard]] bool purge_wants_image() const;

    void advance(ShardId shard, const Dot& dot);
    void join_clocks(const ShardClocks& clocks);
    [[nodiscard]] StateMeta state_meta() const;
    void halt(Error error);

    Log& log_;
    const Kv& kv_;
    std::uint64_t stored_bytes_;  // in the ordered store, as the last checkpoint left it
    StoreOptions options_;
    WallTime now_;
    HlcClock hlc_;
    static constexpr std::uint16_t kNowhere = 0xffff;
    std::vector<ShardId> held_;
    std::vector<std::uint16_t> places_;  // by number: where it is in held_, or kNowhere
    std::uint16_t numbered_ = 0;         // shards that need no look there
    std::vector<ShardState> shards_;     // as held_
    std::unique_ptr<KvReader> reader_;
    std::optional<Error> halted_;
    StoreStats stats_;

    KeyRecord* last_found_ = nullptr;             // a command asks for its key more than once
    std::vector<std::string> flush_keys_;         // of the shards of main,
    std::vector<std::string> domain_flush_keys_;  // and of every other domain
    LogPosition flushed_;

    // The open commit.
    BatchBuilder open_batch_;
    std::vector<ShardRange>
        open_ranges_;            // of the shards with own dots in the open batch; no `last` yet
    std::vector<bool> in_open_;  // by place of the shard
    Commit commit_;
    std::vector<ShardId> commit_shards_;
    std::vector<bool> in_commit_;  // the same
    LogPosition last_;             // the last record closed
    LogPosition durable_;
    LogPosition last_published_;
    std::map<ShardId, VersionVector> foreign_;  // gained since the last published record

    Staging staging_;  // what follows is in store/staging.hpp
    std::optional<Measure> measure_;
    std::optional<Drain> drain_;
    Reclaiming reclaiming_;
    bool sweep_ = false;  // the table of staged leaves has rows of sessions that are over

    // The image being made, and what the next one will hold.
    Generation generation_ = 1;
    Generation completed_ = 0;
    std::vector<DirtyRow> dirty_;
    KvBatch old_rows_;  // index and deadline rows that the next image replaces
    std::vector<DirtyRow> frozen_;
    std::size_t saved_count_ = 0;
    std::shared_ptr<Checkpoint> image_;
    std::optional<StableCut> stable_cut_;

    // ---- store/purge.cpp
    std::vector<VersionVector> cut_;                    // by place of the shard: stable_cut_
    std::vector<std::deque<Marker>> markers_;           // the same, in the order they came to be
    std::vector<std::pair<ShardId, Marker>> speaking_;  // still_speaks(): until the members change
    bool purge_due_ = false;                            // some of them may be stable
    std::size_t purge_shard_ = 0;                       // whose turn it is
    std::vector<VersionVector> looked_;  // by place, too: dots whose index rows were looked at
    std::size_t shards_to_look_at_ = 0;  // the first ones
    std::size_t purged_bytes_ = 0;       // that the next image takes because of the purge
    std::deque<Vacated> vacated_;
    WallTime vacated_at_{};  // since when something waits for an image

    absl::btree_set<std::pair<WallTime, RowAddress>> deadlines_;  // of records in memory
    std::string deadline_cursor_;                                 // in the table of deadlines
    WallTime deadline_wrap_{};
    // Where eviction goes on: the place of a shard, and a key there.
    std::size_t hand_shard_ = 0;
    DatabaseId hand_database_ = 0;
    KeyOrder hand_order_;
};

}  // namespace skerry
