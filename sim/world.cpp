#include "sim/world.hpp"

#include "crdt/hash.hpp"

namespace skerry::sim {

namespace {
constexpr Millis kTick = 50;
constexpr Millis kDiskCheckEvery = 1000;
constexpr Millis kCheckpointRetry = 1000;
constexpr Millis kSyncEvery = 1000;
constexpr WallTime kEpoch{1'700'000'000'000};
constexpr Millis kDeadlinesMax =
    3600;  // then what was to expire soon has, however fast its writer's clock
}  // namespace

World::World(std::uint64_t seed, Sabotage sabotage, std::string* story, Shape shape)
    : seed_(seed),
      sabotage_(sabotage),
      shape_(shape),
      story_(story),
      random_(seed),
      fleet_random_(~seed),
      break_random_(seed ^ 0x5eed),
      network_(
          random_,
          [this](Millis delay, std::function<void()> action) {
              schedule(delay, std::move(action));
          },
          [this](NodeIndex to, Incoming incoming) { receive(to, std::move(incoming)); }) {}

World::~World() = default;

void World::fail(const std::string& why) {
    if (outcome_.failure) return;
    outcome_.failure = "at " + std::to_string(now_) + " ms: " + why;
    tell("FAILED " + why);
}

void World::tell(const std::string& line) {
    if (story_ != nullptr) *story_ += std::to_string(now_) + " " + line + "\n";
}

// ---- time

void World::schedule(Millis delay, std::function<void()> action) {
    events_.push({now_ + delay, ++scheduled_, std::move(action)});
}

void World::on_node(Node& node, Millis delay, std::function<void()> action) {
    schedule(delay, [this, &node, boot = node.boot, action = std::move(action)] {
        if (!node.running() || node.boot != boot) return;
        set_now(node);
        action();
        if (node.running() && node.boot == boot) end_of_event(node);
    });
}

void World::run_until(Millis end) {
    while (!outcome_.failure && !events_.empty() && events_.top().at <= end) {
        const Event event = events_.top();
        events_.pop();
        now_ = event.at;
        network_.set_now(now_);
        event.action();
    }
    now_ = std::max(now_, end);
}

Outcome World::run() {
    make_plan();
    for (NodeIndex i = 0; i < plan_.node_count; ++i) {
        nodes_.push_back(std::make_unique<Node>());
        nodes_.back()->index = i;
        nodes_.back()->writer = ReplicaId{++lineages_ << 32};
        nodes_.back()->reached.resize(plan_.shards());
    }
    for (NodeIndex i = 0; i < plan_.node_count - plan_.late_count; ++i) start(*nodes_[i]);
    outcome_.coverage.late_nodes = plan_.late_count;
    schedule_all();
    run_until(plan_.duration);
    heal();
    // What edges have goes by their hubs: one pull after another.
    const Millis limit = now_ + (plan_.roles.empty() ? kQuietMax : 2 * kQuietMax);
    run_until(now_ + kDeadlinesMax);
    while (!outcome_.failure && !quiet() && now_ < limit) run_until(now_ + 200);
    if (!outcome_.failure && !quiet())
        fail("no convergence in time, though without faults: " + state_of_peers());
    if (!outcome_.failure) check_purged();
    if (!outcome_.failure) compare_healthy();
    if (!outcome_.failure && sabotage_.rot_at_end != Sabotage::Rot::none) mend_rot();
    if (!outcome_.failure) sabotage_.lose_row_at_end ? compare_damaged() : check_end();
    for (const auto& node : nodes_)
        if (node->running()) stop_process(*node);
    mix(static_cast<std::uint64_t>(now_));
    return outcome_;
}

// ---- processes

void World::set_now(Node& node) { node.store->set_now(kEpoch + WallTime(now_ + node.skew)); }

// As FileLog::open, and as an operator who reads what a refusal says (docs/STORAGE.md).
void World::start(Node& node) {
    SimLog& log = node.disk.log;
    if (plan_.durability == Durability::none) log.ignore_syncs();
    const LogPosition durable = log.durable();
    const auto reopened = log.reopen();
    if (!reopened && reopened.error().code == Code::io_failed) return start_later(node);
    const bool cut = reopened && log.last() < durable;
    if (!node.rotten && (!reopened || cut)) return fail("a sound log loses what had been durable");
    if (node.rotten) {
        if (reopened && !cut) return fail("a rotten log is taken for sound");
        if (cut && *node.rotten) return fail("a rotten log is cut, though damage can be proved");
        tell(cut ? "the rotten end of a log is cut"
                 : "a log is refused: " + reopened.error().text());
        if (!cut) {
            ++outcome_.coverage.rot_reported;
            lose_disk(node);
        } else {
            ++outcome_.coverage.rot_cut;
            excuse(node);
        }
    }
    if (!node.ended_cleanly && !sabotage_.reuse_writer)
        node.writer = ReplicaId{(node.writer.value & ~std::uint64_t{0xffffffff}) |
                                (random_.next() & 0xffffffff)};
    open(node);
}

void World::open(Node& node) {
    ++node.boot;
    const StoreOptions options{.self = node.writer,
                               .nonce = random_.next() | 1,
                               .shard_count = plan_.shard_count,
                               .holds = holdings_of(node),
                               .hash_seed = 7,
                               .memory_bytes = plan_.memory_bytes,
                               .flip_bytes_max = plan_.flip_bytes_max,
                               .clear_above = plan_.clear_above,
                               .drift_max = plan_.drift_max};
    auto opened =
        Store::open(node.disk.log, node.disk.kv, options, kEpoch + WallTime(now_ + node.skew));
    if (!opened && std::exchange(node.rotten, {})) {
        // What was cut at the end is missed by the checkpoint: a refusal, too.
        ++outcome_.coverage.rot_reported;
        lose_disk(node);
        return start(node);
    }
    if (!opened && std::exchange(node.unsynced, false)) {
        ++outcome_.coverage.ahead_of_log;
        lose_disk(node);
        return start(node);
    }
    if (!opened)
        return fail("node " + std::to_string(node.index) +
                    " does not open: " + opened.error().text());
    node.rotten.reset();
    node.unsynced = false;
    node.joined = true;
    homes_[node.writer] = node.index;
    node.store = std::move(*opened);
    node.database = std::make_unique<Database>(*node.store);
    node.transport = network_.boot(node.index);
    ReplicationOptions replication{.cluster = "sim",
                                   .name = "node" + std::to_string(node.index),
                                   .region = "r",
                                   .gossip_address = gossip_address(node.index),
                                   .publish_address = publish_address(node.index),
                                   .client_address = "c:1",
                                   .seeds = {gossip_address(0)},
                                   .aside = {},
                                   .found = {},
                                   .random_seed = random_.next(),
                                   .pull_credit_bytes = plan_.pull_credit_bytes,
                                   .full_percent = plan_.full_percent,
                                   .all_percent = plan_.all_percent};
    if (node.index == 0) replication.seeds.push_back(gossip_address(1));
    for (NodeIndex i = 0; plan_.knows_all && i < plan_.node_count; ++i)
        replication.seeds.push_back(gossip_address(i));
    if (plan_.silent_max != 0) replication.member_silent_max = MonoTime(plan_.silent_max);
    add_roles(node, replication);
    node.replication = std::make_unique<Replication>(*node.store, node.disk.log, node.disk.kv,
                                                     *node.transport, replication);
    node.seen_clocks.assign(plan_.shards(), {});
    node.seen_floors.assign(plan_.shards(), {});
    tell("node " + std::to_string(node.index) + " starts as " + node.writer.text() + " at " +
         std::to_string(node.store->durable().value));
    check_reopened(node);
    on_node(node, 0, [this, &node] {
        check_disk(node);
        node.replication->start(mono(node));
        tick(node);
    });
}

void World::start_later(Node& node) {
    schedule(static_cast<Millis>(random_.between(1, 1500)), [this, &node] {
        if (!node.running() && !node.dead) start(node);
    });
}

void World::stop_process(Node& node) {
    network_.stopped(node.index);
    const ReplicationCounters& counters = node.replication->counters();
    Coverage& coverage = outcome_.coverage;
    coverage.fetches += counters.fetches;
    coverage.pulls += counters.pulls;
    coverage.flips += counters.flips;
    coverage.chunks += counters.pulled_chunks - std::min(counters.pulled_chunks, counters.pulls);
    coverage.parked += counters.batches_parked;
    coverage.malformed += counters.malformed;
    coverage.applied += counters.batches_applied;
    coverage.repairs += counters.repairs;
    coverage.repaired_leaves += counters.repaired_leaves;
    coverage.alarms += counters.divergence_alarms;
    coverage.passed_on += counters.passed_on;
    coverage.hubs_left += counters.hubs_left;
    coverage.cuts_told += counters.cuts_told;
    const StoreStats& stats = node.store->stats();
    coverage.edges_purged += role_of(node.index) == Role::edge ? stats.purged : 0;
    coverage.evicted += stats.evicted;
    coverage.clocks_ahead += stats.clocks_ahead;
    coverage.checkpoints += stats.checkpoints;
    coverage.resumed += counters.pulls_resumed;
    coverage.pulls_full += counters.pulls_full;
    coverage.compared += counters.compared;
    coverage.reconciled_leaves += counters.reconciled_leaves;
    coverage.fulls_resumed += counters.fulls_resumed;
    coverage.compares_resumed += counters.compares_resumed;
    coverage.compared_by_key += counters.compared_by_key;
    coverage.purged += stats.purged;
    coverage.moved += counters.pulls_moved;
    coverage.drains += stats.drains;
    coverage.drained_by_touch += stats.drained_by_touch;
    coverage.drained_in_background += stats.drained_in_background;
    coverage.clears += stats.clears;
    coverage.flushes += stats.flushes;
    coverage.flushes_measured += stats.flushes_measured;
    coverage.masks_measured += stats.masks_measured;
    coverage.masks_dropped += stats.masks_dropped;
    coverage.reclaimed += stats.reclaimed;
    coverage.ends_while_masked += node.store->masked() > 0 ? 1 : 0;
    coverage.ends_while_staging += node.store->open_session() ? 1 : 0;
    coverage.ends_while_draining += node.store->draining() ? 1 : 0;
    coverage.lost_commits += node.commits.size();
    node.durable_at_crash = node.store->durable_clocks();
    node.ended_cleanly = false;
    node.replication.reset();
    node.database.reset();
    node.store.reset();
    node.transport.reset();
    node.commits.clear();
    node.reads.clear();
    node.waits.clear();
    node.full = false;
    node.told_gone = false;
    node.known_edges.clear();
    node.leaving.reset();
    node.writing_checkpoint = false;
    node.checkpoint_retry_at = 0;
    node.disk.kv.crash();
}

void World::crash(Node& node) {
    ++outcome_.coverage.crashes;
    tell("node " + std::to_string(node.index) + " crashes");
    stop_process(node);
    lose_tail(node);
}

// Unless `always` peers may have what is lost here: it was published when it was written.
void World::lose_tail(Node& node) {
    const bool published = plan_.durability != Durability::always;
    if (published) excuse(node);
    const bool lost = node.disk.log.crash(random_);
    outcome_.coverage.taken_back += lost && published ? 1 : 0;
    node.unsynced = lost && plan_.durability == Durability::none;
}

// As Node::finish(): what is under way is written, nothing is published any more.
void World::stop_cleanly(Node& node) {
    ++outcome_.coverage.clean_stops;
    tell("node " + std::to_string(node.index) + " stops");
    Log& log = node.disk.log;
    while (auto sealed = node.store->seal()) node.commits.push_back(std::move(*sealed));
    Result<void> written;
    for (Commit& waiting : node.commits)
        if (written && waiting.last > log.last())
            written = log.append(waiting.frames, waiting.last);
    if (written) written = log.sync();
    stop_process(node);
    node.ended_cleanly = written.has_value();
    if (!written) lose_tail(node);
}

// As Node::log_failed(): the process ends, and somebody starts it again.
void World::log_failed(Node& node) {
    tell("node " + std::to_string(node.index) + " ends: its log failed");
    stop_process(node);
    lose_tail(node);
    start_later(node);
}

void World::check_disk(Node& node) {
    node.disk_checked_at = now_;
    const bool full = node.disk.room != Room::plenty;
    if (std::exchange(node.full, full) == full) return;
    outcome_.coverage.pauses += full ? 1 : 0;
    node.replication->pause(full, mono(node));
}

void World::receive(NodeIndex to, Incoming incoming) {
    Node& node = *nodes_[to];
    if (!node.running()) return;
    mix(static_cast<std::uint64_t>(now_) * 31 + to * 7 + static_cast<std::uint64_t>(incoming.kind));
    mix(hash64(incoming.bytes));
    if (incoming.kind == IncomingKind::request && node.store->draining())
        ++outcome_.coverage.asked_while_draining;
    if (incoming.kind == IncomingKind::request && node.store->masked() > 0)
        ++outcome_.coverage.asked_while_masked;
    set_now(node);
    node.replication->receive(std::move(incoming), mono(node));
    end_of_event(node);
}

void World::tick(Node& node) {
    node.replication->tick(mono(node));
    node.database->expire_some(10);
    const std::size_t leaves = random_.between(1, plan_.step_leaves);
    node.store->step_staged(leaves);
    node.store->reclaim_some(healing_ ? 1000 : leaves);
    node.store->step_purge(healing_ ? 1000 : random_.between(1, plan_.step_leaves));
    const auto& cut = node.store->stable_cut();
    outcome_.coverage.left_out += cut && !cut->everybody ? 1 : 0;
    if (now_ >= node.disk_checked_at + kDiskCheckEvery) check_disk(node);
    if (plan_.durability == Durability::interval && now_ >= node.synced_at + kSyncEvery)
        (void)sync(node);
    note_known_edges(node);
    serve_waits(node);
    serve_leave(node);
    serve_gone(node);
    step_checkpoint(node);
    node.store->evict(50);
    on_node(node, kTick, [this, &node] { tick(node); });
    break_off(node);
}

// ---- commits and checkpoints, as node/node.cpp orders them

void World::end_of_event(Node& node) {
    commit(node, false);
    node.store->end_round();
    check_event(node);
}

void World::commit(Node& node, bool even_if_busy) {
    if (!node.commits.empty() && !even_if_busy) return;
    auto sealed = node.store->seal();
    if (!sealed) return;
    if (sabotage_.acknowledge_before_durable) acknowledge(node, sealed->clocks);
    node.commits.push_back(std::move(*sealed));
    if (sabotage_.publish_before_durable || sabotage_.reuse_writer)
        node.replication->committed(node.commits.back(), mono(node));
    if (node.commits.size() == 1) write_commit(node);
}

void World::write_commit(Node& node) {
    const Commit& commit = node.commits.front();
    if (auto appended = node.disk.log.append(commit.frames, commit.last); !appended) {
        if (appended.error().code == Code::corrupt) return fail(appended.error().text());
        ++outcome_.coverage.failed_appends;
        return on_node(node, 0, [this, &node] { log_failed(node); });
    }
    // As node/committer.hpp: on the spot, or beside.
    const bool awaited = plan_.durability == Durability::always;
    if (!awaited || random_.percent(plan_.quick_percent)) {
        if (awaited && !sync(node)) return;
        ++outcome_.coverage.quick_commits;
        return commit_done(node);
    }
    on_node(node, static_cast<Millis>(random_.between(0, plan_.sync_max)), [this, &node] {
        if (!sync(node)) return;
        on_node(node, static_cast<Millis>(random_.below(2)), [this, &node] { commit_done(node); });
    });
}

// False: the process is about to end.
bool World::sync(Node& node) {
    node.synced_at = now_;
    if (node.disk.log.sync()) return true;
    ++outcome_.coverage.failed_syncs;
    on_node(node, 0, [this, &node] { log_failed(node); });
    return false;
}

void World::commit_done(Node& node) {
    const Commit commit = std::move(node.commits.front());
    node.commits.pop_front();
    node.store->committed(commit);
    acknowledge(node, commit.clocks);
    release_reads(node);
    const bool published = sabotage_.publish_before_durable || sabotage_.reuse_writer;
    node.replication->committed(published ? Commit{} : commit, mono(node));
    if (!node.commits.empty()) write_commit(node);
}

void World::step_checkpoint(Node& node) {
    Store& store = *node.store;
    const bool asked =
        random_.percent(plan_.checkpoint_percent) || node.replication->wants_checkpoint();
    if (!store.freezing()) {
        if (!store.wants_checkpoint() && !(asked && store.has_changes())) return;
        commit(node, true);
        if (!store.sealed()) return;
        store.freeze();
        outcome_.coverage.images_while_draining += store.draining() ? 1 : 0;
        if (sabotage_.drop_log_early) (void)node.disk.log.drop_before(store.durable());
    }
    const bool early = sabotage_.checkpoint_before_durable;
    if (node.writing_checkpoint || now_ < node.checkpoint_retry_at ||
        !store.save_some(early ? ~std::size_t{0} / 2 : random_.between(1, 20)))
        return;
    if (store.durable() < store.image()->covered() && !early) return;
    write_checkpoint(node);
}

void World::write_checkpoint(Node& node) {
    node.writing_checkpoint = true;
    if (plan_.durability != Durability::always && !sync(node)) return;
    const Millis delay = sabotage_.checkpoint_before_durable
                             ? 0
                             : static_cast<Millis>(random_.between(0, plan_.sync_max));
    on_node(node, delay, [this, &node] {
        node.disk.kv.write_in(sabotage_.halves);
        const KvRoom room = node.full ? KvRoom::with_reserve : KvRoom::ordinary;
        if (auto written = node.store->image()->write(node.disk.kv, room); !written) {
            ++outcome_.coverage.failed_checkpoints;
            node.writing_checkpoint = false;
            node.checkpoint_retry_at = now_ + kCheckpointRetry;  // the image stays
            return;
        }
        if (sabotage_.lose_rows) (void)node.disk.kv.lose_row(random_);
        on_node(node, static_cast<Millis>(random_.below(5)), [this, &node] {
            node.disk.kv.finish();
            node.writing_checkpoint = false;
            const LogPosition needed = node.store->checkpointed();
            node.replication->checkpointed();
            if (random_.percent(plan_.drop_percent)) (void)node.disk.log.drop_before(needed);
        });
    });
}

}  // namespace skerry::sim
