// The part of store/store.hpp that opens a directory, replays the log, and takes in what other replicas wrote.
#include <algorithm>

#include "crdt/shortcut.hpp"
#include "crdt/types/clear.hpp"
#include "store/store.hpp"

namespace skerry {

namespace {
// Keys and elements stand where these two put them: nothing stored under others can be read.
Result<void> same_cluster(std::uint16_t shard_count, std::uint64_t hash_seed,
                          const StoreOptions& options) {
    if (shard_count != options.shard_count)
        return fail(Code::refused, "the data directory was made with " +
                                       std::to_string(shard_count) + " shards, not " +
                                       std::to_string(options.shard_count) +
                                       ": the number is fixed when a cluster is made");
    if (hash_seed != options.hash_seed)
        return fail(Code::refused, "the data directory belongs to a cluster of another name");
    return {};
}
}  // namespace

Result<std::unique_ptr<Store>> Store::open(Log& log, const Kv& kv, const StoreOptions& options,
                                           WallTime now) {
    std::unique_ptr<Store> store(new Store(log, kv, options, now));
    const auto meta = store->load();
    if (!meta) return std::unexpected(meta.error());
    StateMeta state;
    if (*meta) {
        state = **meta;
        if (auto same = same_cluster(state.shard_count, state.hash_seed, options); !same)
            return std::unexpected(same.error());
    } else if (log.first().value > 1) {
        return fail(Code::corrupt, "the log begins at " + std::to_string(log.first().value) +
                                       " but there is no checkpoint: the state file is missing");
    }
    if (auto replayed = store->replay(state); !replayed) return std::unexpected(replayed.error());
    if (store->halted_) return std::unexpected(*store->halted_);
    store->begin_stream();
    return store;
}

Result<std::optional<StateMeta>> Store::load() {
    KvReader* stored = reader();
    if (stored == nullptr) return std::unexpected(*halted_);
    const auto bytes = stored->get(Table::meta, kStateMetaKey);
    if (!bytes) return std::unexpected(bytes.error());
    if (!*bytes) return std::nullopt;
    const auto meta = decode_state_meta(**bytes);
    if (!meta) return std::unexpected(meta.error());
    std::map<ShardId, VersionVector> before;
    Result<void> loaded_all;
    const auto load_shard = [&](std::string_view key, std::string_view value) {
        const auto id = parse_shard_meta_key(key);
        const auto shard = decode_shard_meta(value);
        loaded_all = !id      ? fail(Code::corrupt, "shard meta: key")
                     : !shard ? Result<void>(std::unexpected(shard.error()))
                              : held_here({*id});
        if (!loaded_all) return false;
        ShardState& mine = state(*id);
        mine.clock = mine.durable_clock = shard->clock;
        mine.ix_floor = shard->ix_floor;
        mine.purge_floor = shard->purge_floor;
        mine.digest = shard->digest;
        mine.key_counts = shard->keys;
        mine.deadline_counts = shard->deadlines;
        mine.databases = shard->databases;
        mine.tombstones = shard->tombstones;
        mine.all_rows = false;
        if (meta->draining != 0) before.emplace(*id, shard->before);
        return true;
    };
    const auto scanned = stored->scan(Table::meta, kShardMetaPrefix,
                                      std::string(kShardMetaPrefix) + '\xff' + '\xff', load_shard);
    if (!scanned) return std::unexpected(scanned.error());
    if (!loaded_all) return std::unexpected(loaded_all.error());
    if (auto loaded = load_staged(*meta, std::move(before)); !loaded)
        return std::unexpected(loaded.error());
    if (auto loaded = load_masked(); !loaded) return std::unexpected(loaded.error());
    (void)hlc_.observe(meta->clock, now_);
    return *meta;
}

Result<void> Store::replay(const StateMeta& state) {
    stats_.covered = state.covered;
    last_ = state.covered;
    if (log_.last() < state.covered)
        return fail(Code::corrupt, "the log ends at " + std::to_string(log_.last().value) +
                                       " before the checkpoint at " +
                                       std::to_string(state.covered.value) +
                                       ": segment files are missing");
    Result<void> outcome;
    const LogPosition from = state.covered.next();
    const auto read = log_.read(from, [&](LogPosition position, std::string_view body) {
        outcome = replay_record(position, body);
        stats_.log_bytes_since_checkpoint += body.size();
        return outcome.has_value() && !halted_;
    });
    if (!outcome) return outcome;
    if (!read) return read;
    durable_ = last_ = std::max(last_, log_.last());
    for (ShardState& shard : shards_) shard.durable_clock = shard.clock;
    for (const ShardId shard : commit_shards_) in_commit_[place_of(shard)] = false;
    commit_shards_.clear();
    return {};
}

// Part of a domain is nothing that can be held: what a directory has of one is not left lying.
Result<void> Store::held_here(std::initializer_list<ShardId> shards) const {
    for (const ShardId shard : shards) {
        if (holds(shard)) continue;
        if (shard.value >= shard_number_count(options_.shard_count))
            return fail(Code::corrupt,
                        "shard " + std::to_string(shard.value) + ", which there is not");
        const std::string domain =
            shard.value < options_.shard_count
                ? "main"
                : "number " + std::to_string(domain_of(shard, options_.shard_count));
        return fail(Code::refused, "the data directory holds the domain " + domain +
                                       ", and this start does not: declare the domain, or begin "
                                       "with an empty directory");
    }
    return {};
}

Result<void> Store::held_here(const Record& record) const {
    Result<void> held;
    const auto check = [&](ShardId shard) {
        if (held) held = held_here({shard});
    };
    const auto check_batch = [&](const Batch& batch) {
        for (const ShardRange& range : batch.ranges) check(range.shard);
    };
    if (const Batch* batch = std::get_if<Batch>(&record)) check_batch(*batch);
    if (const Remote* remote = std::get_if<Remote>(&record)) check_batch(remote->batch);
    if (const Flip* flip = std::get_if<Flip>(&record)) {
        for (const auto& [shard, clock] : flip->clocks) check(shard);
        for (const auto& [shard, clock] : flip->floors) check(shard);
        for (const ShardGain& gain : flip->gains) check(gain.shard);
    }
    if (const Repair* repair = std::get_if<Repair>(&record)) check(repair->shard);
    if (const Stage* stage = std::get_if<Stage>(&record))
        for (const auto& [shard, clock] : stage->clocks) check(shard);
    return held;
}

Result<void> Store::replay_record(LogPosition position, std::string_view body) {
    Result<Record> record = decode_record(body);
    if (!record)
        return fail(record.error().code == Code::unsupported ? Code::unsupported : Code::corrupt,
                    "log record " + std::to_string(position.value) + ": " + record.error().where);
    if (const Boot* boot = std::get_if<Boot>(&*record))
        if (auto same = same_cluster(boot->shard_count, boot->hash_seed, options_); !same)
            return same;
    if (auto held = held_here(*record); !held) return held;
    if (const Batch* batch = std::get_if<Batch>(&*record)) apply_operations(*batch);
    if (const Remote* remote = std::get_if<Remote>(&*record)) apply_operations(remote->batch);
    if (const Stage* stage = std::get_if<Stage>(&*record)) take_stage(*stage, position);
    if (const Flip* flip = std::get_if<Flip>(&*record))
        if (auto flipped = replay_flip(*flip); !flipped) return flipped;
    if (const Repair* repair = std::get_if<Repair>(&*record)) replay_repair(*repair);
    last_ = position;
    return {};
}

Result<void> Store::replay_flip(const Flip& flip) {
    // A large flip is logged when a checkpoint holds all its leaves, and no other drains any more.
    if (!flip.gains.empty() &&
        (staging_.session != flip.session || !staging_.rows.empty() || draining()))
        return fail(Code::corrupt, "a flip without the leaves that were staged for it");
    if (flip.gains.empty() && staging_.session == flip.session && staging_.frozen_in)
        return fail(Code::corrupt, "a flip at once of leaves that were stored");
    apply_flip(flip);
    return {};
}

void Store::begin_stream() {
    foreign_.clear();
    for (const auto& [shard, clock] : clocks()) foreign_[shard] = clock;
    const std::size_t header_at = begin_record();
    append_boot(commit_.frames,
                Boot{options_.self, options_.nonce, options_.shard_count, options_.hash_seed});
    end_record(header_at);
}

// ---- remote

void Store::apply_operation(KeyRecord& record, const Operation& operation) {
    const Change change = begin_change(record, operation.key.kind, operation.key.sub);
    change.leaf->apply(operation.delta);
    end_change(record, change);
    if (!hlc_.observe(operation.delta.entry.hlc, now_)) ++stats_.clocks_ahead;
}

void Store::apply_operations(const Batch& batch) {
    KeyRecord* record = nullptr;
    for (const Operation& operation : batch.operations) {
        const LeafKey& key = operation.key;
        if (record == nullptr || record->address.database != key.database || record->key != key.key)
            record = &find_or_make(key.database, key.key);
        // A pull may have brought some shards of the batch already: what is covered is applied or
        // dead.
        if (!state(record->address.shard).clock.contains(operation.delta.entry.dot()))
            apply_operation(*record, operation);
    }
    for (const ShardRange& range : batch.ranges) advance(range.shard, {batch.writer, range.last});
}

void Store::apply_remote(std::string_view source, std::string_view batch_bytes, const Batch& batch,
                         Onward onward) {
    close_batch();
    ShardClocks before(foreign_.begin(), foreign_.end());  // without what this batch brings
    apply_operations(batch);
    const std::size_t header_at = begin_record();
    append_remote(commit_.frames, source, batch_bytes, onward);
    const std::size_t body_at = commit_.frames.size() - batch_bytes.size();
    end_record(header_at);
    if (onward == Onward::passed_on) publish(body_at, std::move(before));
}

bool Store::sound(const ShardClocks& clocks, const ShardClocks& floors,
                  const std::vector<StagedLeaf>& leaves) const {
    std::vector<const VersionVector*> by_place(shards_.size(), nullptr);
    for (const auto& [shard, clock] : clocks) {
        if (!holds(shard)) return false;
        by_place[place_of(shard)] = &clock;
    }
    const auto clock_of = [&](ShardId shard) {
        return holds(shard) ? by_place[place_of(shard)] : nullptr;
    };
    const bool known = std::ranges::all_of(floors, [&](const auto& pair) {
        const VersionVector* clock = clock_of(pair.first);
        return clock != nullptr && clock->covers(pair.second);
    });
    if (!known) return false;
    return std::ranges::all_of(leaves, [&](const StagedLeaf& staged) {
        const VersionVector* clock =
            clock_of(address_of(staged.key.database, staged.key.key).shard);
        if (clock == nullptr || staged.leaf.outside(*clock)) return false;
        // What is staged is logged, and no start reads a record with a payload that its type cannot.
        const LeafKind kind = staged.key.kind;
        if (!std::ranges::all_of(staged.leaf,
                                 [kind](const Entry& entry) { return sound_payload(kind, entry); }))
            return false;
        return !clear::is_clear(kind) ||
               (is_placed(staged.key) && clock->covers(clear::covered(staged.leaf)));
    });
}

}  // namespace skerry
