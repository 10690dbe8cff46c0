// The part of store/check.hpp that goes through the log, and replays it.
#include "store/check.hpp"
#include "store/record.hpp"
#include "store/store.hpp"

namespace skerry {
namespace {

class LogCheck {
  public:
    LogCheck(const Log& log, const CheckedState& state, FindingReport report,
             CheckProgress progress)
        : log_(log), state_(state), report_(report), progress_(progress) {
        if (state.meta) set_cluster(state.meta->shard_count, state.meta->hash_seed);
        for (const auto& [shard, meta] : state.shards) checked_.clocks[shard] = meta.clock;
        checked_.first = log.first();
        checked_.last = log.last();
        covered_ = state.meta ? state.meta->covered : LogPosition{};
        checked_.newest = state.meta ? state.meta->clock : Hlc{};
    }

    CheckedLog run();

  private:
    void add(LogPosition position, std::string what) {
        report_({"log, record " + std::to_string(position.value), std::move(what)});
    }
    void set_cluster(std::uint16_t shard_count, std::uint64_t hash_seed) {
        checked_.shard_count = shard_count;
        checked_.hash_seed = hash_seed;
    }
    void meet_the_checkpoint();
    void look_at(LogPosition position, const Record& record);
    void look_at_boot(LogPosition position, const Boot& boot);
    void look_at_batch(LogPosition position, const Batch& batch);
    void look_at_flip(LogPosition position, const Flip& flip);

    const Log& log_;
    const CheckedState& state_;
    FindingReport report_;
    CheckProgress progress_;
    CheckedLog checked_;
    LogPosition covered_;
};

void LogCheck::meet_the_checkpoint() {
    const std::string ends = std::to_string(checked_.last.value);
    if (checked_.last < covered_)
        report_({"log", "ends at record " + ends + ", before the checkpoint at " +
                            std::to_string(covered_.value) + ": segments are missing"});
    const LogPosition needed = covered_.next();
    if (needed < checked_.first)
        report_({"log", "begins at record " + std::to_string(checked_.first.value) +
                            ", and record " + std::to_string(needed.value) + " is needed" +
                            (state_.meta ? "" : ": state.mdb is missing")});
}

CheckedLog LogCheck::run() {
    meet_the_checkpoint();
    if (checked_.last < checked_.first) return std::move(checked_);
    const auto read = log_.read(checked_.first, [&](LogPosition position, std::string_view body) {
        if (position.value % 4096 == 0)
            progress_("records", position.value - checked_.first.value,
                      checked_.last.value - checked_.first.value);
        if (position > covered_) ++checked_.to_replay;
        const auto record = decode_record(body);
        if (record)
            look_at(position, *record);
        else
            add(position, record.error().text());
        return true;
    });
    if (!read) report_({"log", read.error().text()});
    return std::move(checked_);
}

void LogCheck::look_at(LogPosition position, const Record& record) {
    if (const Boot* boot = std::get_if<Boot>(&record)) look_at_boot(position, *boot);
    if (const Batch* batch = std::get_if<Batch>(&record)) look_at_batch(position, *batch);
    if (const Remote* remote = std::get_if<Remote>(&record)) look_at_batch(position, remote->batch);
    if (const Flip* flip = std::get_if<Flip>(&record)) look_at_flip(position, *flip);
    if (const Stage* stage = std::get_if<Stage>(&record))
        for (const auto& [shard, clock] : stage->clocks) checked_.clocks.try_emplace(shard);
}

void LogCheck::look_at_boot(LogPosition position, const Boot& boot) {
    if (checked_.shard_count == 0) set_cluster(boot.shard_count, boot.hash_seed);
    if (boot.shard_count != checked_.shard_count)
        add(position, "was written with " + std::to_string(boot.shard_count) + " shards, not " +
                          std::to_string(checked_.shard_count));
    if (boot.hash_seed != checked_.hash_seed)
        add(position, "was written in a cluster of another name");
}

void LogCheck::look_at_batch(LogPosition position, const Batch& batch) {
    for (const Operation& operation : batch.operations)
        checked_.newest = std::max(checked_.newest, operation.delta.entry.hlc);
    for (const ShardRange& range : batch.ranges) {
        if (range.shard.value >= shard_number_count(checked_.shard_count))
            return add(position, "changes shard " + std::to_string(range.shard.value) +
                                     ", which this cluster does not have");
        VersionVector& clock = checked_.clocks[range.shard];
        const Dot last{batch.writer, range.last};
        if (position <= covered_ && !clock.contains(last))
            add(position,
                "the checkpoint says that it has this record, and its clock lacks " + last.text());
        if (position > covered_ && clock.at(batch.writer) < range.after)
            add(position, "continues " + Dot{batch.writer, range.after}.text() +
                              ", which nothing before it has brought");
        if (position > covered_) clock.advance(last);
    }
}

void LogCheck::look_at_flip(LogPosition position, const Flip& flip) {
    if (position <= covered_) return;
    for (const auto& [shard, clock] : flip.clocks) {
        if (shard.value >= shard_number_count(checked_.shard_count))
            return add(position, "flips shard " + std::to_string(shard.value) +
                                     ", which this cluster does not have");
        checked_.clocks[shard].join(clock);
    }
}

// The store sees the snapshot that has been checked, not a later one.
class OneSnapshot final : public Kv {
  public:
    explicit OneSnapshot(KvReader* stored) : stored_(stored) {}
    [[nodiscard]] Result<std::unique_ptr<KvReader>> reader() const override {
        return std::make_unique<Reader>(stored_);
    }
    [[nodiscard]] Result<void> write(const KvBatch&, KvRoom) override {
        return fail(Code::refused, "a snapshot is for reading alone");
    }
    [[nodiscard]] KvStats stats() const override { return {}; }

  private:
    class Reader final : public KvReader {
      public:
        explicit Reader(KvReader* stored) : stored_(stored) {}
        [[nodiscard]] Result<std::optional<std::string_view>> get(Table table,
                                                                  std::string_view key) override {
            if (stored_ == nullptr) return std::nullopt;
            return stored_->get(table, key);
        }
        [[nodiscard]] Result<void> scan(Table table, std::string_view from, std::string_view to,
                                        Visit visit) override {
            if (stored_ == nullptr) return {};
            return stored_->scan(table, from, to, visit);
        }

      private:
        KvReader* stored_;
    };
    KvReader* stored_;
};

}  // namespace

namespace {
// Of all that it has something of.
Holdings holdings_of(const CheckedLog& checked) {
    Holdings holds;
    for (const auto& [shard, clock] : checked.clocks)
        if (shard.value > checked.shard_count)
            if (const auto domain = domain_of(shard, checked.shard_count);
                !holds.holds_domain(domain))
                holds.domains.push_back(domain);
    return holds;
}
}  // namespace

CheckedLog check_log(const Log& log, const CheckedState& state, FindingReport report,
                     CheckProgress progress) {
    return LogCheck(log, state, report, progress).run();
}

Result<std::uint64_t> check_replay(Log& log, KvReader* stored, const CheckedLog& checked,
                                   WallTime now) {
    const OneSnapshot snapshot(stored);
    // Nobody: nothing is written, and no deadline is ours.
    const StoreOptions options{.self = ReplicaId{},
                               .nonce = 1,
                               .shard_count = checked.shard_count,
                               .holds = holdings_of(checked),
                               .hash_seed = checked.hash_seed};
    const auto store = Store::open(log, snapshot, options, now);
    if (!store) return std::unexpected(store.error());
    for (const auto& [shard, clock] : checked.clocks)
        if ((*store)->shard(shard).clock != clock)
            return fail(Code::corrupt, "shard " + std::to_string(shard.value) +
                                           ": the replay ends at another clock than the log");
    std::uint64_t keys = 0;
    for (const ShardId shard : (*store)->held())
        for (const std::uint64_t count : (*store)->shard(shard).key_counts) keys += count;
    return keys;
}

}  // namespace skerry
