// The part of store/store.hpp that opens a directory, replays the log, and takes in what other replicas wrote.
#include <algorithm>

#include "crdt/shortcut.hpp"
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
    for (std::uint16_t i = 0; i < options_.shard_count; ++i) {
        const auto row = stored->get(Table::meta, shard_meta_key(ShardId{i}));
        if (!row) return std::unexpected(row.error());
        if (!*row) continue;
        const auto shard = decode_shard_meta(**row);
        if (!shard) return std::unexpected(shard.error());
        shards_[i].clock = shards_[i].durable_clock = shard->clock;
        shards_[i].ix_floor = shard->ix_floor;
        shards_[i].digest = shard->digest;
        shards_[i].key_counts = shard->keys;
        shards_[i].all_rows = false;
    }
    (void)hlc_.observe(meta->clock, now_);
    return *meta;
}

Result<void> Store::replay(const StateMeta& state) {
    stats_.covered = state.covered;
    const LogPosition from =
        std::max(LogPosition{1}, std::min(state.replay_from, state.covered.next()));
    last_ = state.covered;
    if (log_.last() < state.covered)
        return fail(Code::corrupt, "the log ends at " + std::to_string(log_.last().value) +
                                       " before the checkpoint at " +
                                       std::to_string(state.covered.value) +
                                       ": segment files are missing");
    Result<void> outcome;
    const auto read = log_.read(from, [&](LogPosition position, std::string_view body) {
        outcome = replay_record(position, body, position <= state.covered);
        stats_.log_bytes_since_checkpoint += body.size();
        return outcome.has_value() && !halted_;
    });
    if (!outcome) return outcome;
    if (!read) return read;
    durable_ = last_ = std::max(last_, log_.last());
    for (ShardState& shard : shards_) shard.durable_clock = shard.clock;
    for (const ShardId shard : commit_shards_) in_commit_[shard.value] = false;
    commit_shards_.clear();
    sessions_.clear();  // a pull begins anew after a restart
    return {};
}

Result<void> Store::replay_record(LogPosition position, std::string_view body, bool covered) {
    Result<Record> record = decode_record(body);
    if (!record)
        return fail(record.error().code == Code::unsupported ? Code::unsupported : Code::corrupt,
                    "log record " + std::to_string(position.value) + ": " + record.error().where);
    if (const Stage* stage = std::get_if<Stage>(&*record))
        sessions_[stage->session].push_back(position);
    if (const Boot* boot = std::get_if<Boot>(&*record))
        if (auto same = same_cluster(boot->shard_count, boot->hash_seed, options_); !same)
            return same;
    const Flip* flip = std::get_if<Flip>(&*record);
    if (!covered) {
        if (const Batch* batch = std::get_if<Batch>(&*record)) apply_operations(*batch);
        if (const Remote* remote = std::get_if<Remote>(&*record)) apply_operations(remote->batch);
        if (flip != nullptr) {
            if (auto joined = join_session(flip->session); !joined) return joined;
            join_clocks(flip->clocks);
        }
        last_ = position;
    }
    if (flip != nullptr) sessions_.erase(flip->session);
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

void Store::apply_remote(std::string_view source, std::string_view batch_bytes,
                         const Batch& batch) {
    close_batch();
    apply_operations(batch);
    const std::size_t header_at = begin_record();
    append_remote(commit_.frames, source, batch_bytes);
    end_record(header_at);
}

bool Store::sound(const ShardClocks& clocks, const std::vector<StagedLeaf>& leaves) const {
    std::vector<const VersionVector*> by_shard(shard_count(), nullptr);
    for (const auto& [shard, clock] : clocks) {
        if (shard.value >= shard_count()) return false;
        by_shard[shard.value] = &clock;
    }
    return std::ranges::all_of(leaves, [&](const StagedLeaf& staged) {
        const VersionVector* clock =
            by_shard[address_of(staged.key.database, staged.key.key).shard.value];
        return clock != nullptr && !staged.leaf.outside(*clock);
    });
}

void Store::stage(const Stage& stage) {
    close_batch();
    const std::size_t header_at = begin_record();
    append_stage(commit_.frames, stage);
    end_record(header_at);
    sessions_[stage.session].push_back(last_);
    if (taken(Shortcut::join_on_arrival)) join_stage(stage, stage.clocks);
    if (taken(Shortcut::clock_per_chunk)) join_clocks(stage.clocks);
}

Result<void> Store::flip(const Flip& flip) {
    close_batch();
    if (auto joined = join_session(flip.session); !joined) return joined;
    join_clocks(flip.clocks);
    if (taken(Shortcut::flip_unnamed)) foreign_.clear();
    const std::size_t header_at = begin_record();
    append_flip(commit_.frames, flip);
    end_record(header_at);
    sessions_.erase(flip.session);
    return {};
}

// All stages of a session come from one server, whose clocks only grow: so joining a leaf's later
// stage at V, not at V with the earlier stage's clock, drops nothing and revives nothing.
Result<void> Store::join_session(std::uint64_t session) {
    std::vector<Stage> stages;
    for (const LogPosition position : sessions_[session]) {
        Result<void> outcome = fail(Code::corrupt, "a staged record is missing from the log");
        const auto read = log_.read(position, [&](LogPosition, std::string_view body) {
            Result<Record> record = decode_record(body);
            Stage* stage = record ? std::get_if<Stage>(&*record) : nullptr;
            if (stage != nullptr) {
                stages.push_back(std::move(*stage));
                outcome = {};
            }
            return false;
        });
        if (!read) return read;
        if (!outcome) return outcome;
    }
    for (const Stage& stage : stages)
        join_stage(stage, taken(Shortcut::chunk_at_final) ? stages.back().clocks : stage.clocks);
    return {};
}

void Store::join_stage(const Stage& stage, const ShardClocks& at) {
    const std::map<ShardId, VersionVector> clocks(at.begin(), at.end());
    for (const StagedLeaf& staged : stage.leaves) {
        const auto clock = clocks.find(address_of(staged.key.database, staged.key.key).shard);
        if (clock != clocks.end()) join_leaf_at(staged, clock->second);
    }
}

void Store::join_leaf_at(const StagedLeaf& staged, const VersionVector& clock) {
    KeyRecord& record = find_or_make(staged.key.database, staged.key.key);
    const Change change = begin_change(record, staged.key.kind, staged.key.sub);
    join_leaf(*change.leaf, state(record.address.shard).clock, staged.leaf, clock);
    end_change(record, change);
    for (const Entry& entry : staged.leaf)
        if (!hlc_.observe(entry.hlc, now_)) ++stats_.clocks_ahead;
}

void Store::join_clocks(const ShardClocks& clocks) {
    for (const auto& [shard, clock] : clocks)
        for (const auto& [replica, seq] : clock) advance(shard, {replica, seq});
}

}  // namespace skerry
