// The part of sim/world.hpp that decides what a world is like, and what goes wrong in it.
#include "sim/world.hpp"

namespace skerry::sim {

namespace {
constexpr Millis kBuriedAfter = 6000;  // by then who is dead counts as down
}

void World::make_plan() {
    Random& r = random_;
    constexpr std::uint16_t kShards[] = {1, 2, 4, 16};
    plan_.node_count = r.between(2, 4);
    plan_.late_count = plan_.node_count > 2 && r.one_in(3) ? r.between(1, plan_.node_count - 2) : 0;
    plan_.shard_count = kShards[r.below(4)];
    plan_.duration = static_cast<Millis>(r.between(2000, 8000));
    plan_.command_every = static_cast<Millis>(r.between(10, 80));
    plan_.sync_max = r.one_in(3) ? 100 : 10;
    plan_.durability = r.one_in(5)       ? Durability::interval
                       : seed_ % 16 == 7 ? Durability::none
                                         : Durability::always;
    plan_.quick_percent = r.one_in(3) ? r.between(20, 100) : 0;
    plan_.drift_max = r.one_in(3) ? WallTime(r.below(1000)) : HlcClock::kDriftMax;
    plan_.memory_bytes = r.one_in(2) ? 2000 : std::size_t{1} << 24;
    plan_.flip_bytes_max = r.one_in(3) ? std::size_t{1} << 20 : r.below(2000);
    plan_.step_leaves = r.one_in(3) ? 1000 : r.between(1, 10);
    plan_.clear_above = seed_ % 4 == 0 ? 20 : seed_ / 4 % 3;
    plan_.full_percent = seed_ % 3 == 1 ? 30 + seed_ % 70 : 0;
    // Who compares with a node that has lost rows takes them for purged (docs/decisions/0013).
    if (sabotage_.rot_at_end != Sabotage::Rot::none) plan_.full_percent = 0;
    plan_.all_percent = seed_ % 8 == 3 ? 100 : seed_ % 8 == 6 ? 50 : 0;
    // What a clear masks makes checkpoints frequent: most worlds do without, those of named seeds among them.
    plan_.flushes = seed_ % 5 == 0 || seed_ % 5 == 2;
    plan_.bulk_percent = r.one_in(2) ? 0 : r.between(1, 8);
    plan_.pull_credit_bytes = r.one_in(2) ? r.between(50, 500) : std::uint64_t{1} << 20;
    plan_.checkpoint_percent = r.one_in(3) ? 0 : r.between(1, 20);
    plan_.drop_percent = r.one_in(2) ? 0 : 60;
    plan_.big_percent = r.one_in(20) ? 10 : 0;
    plan_.wait_percent = r.one_in(2) ? 0 : r.between(5, 50);
    plan_.may_die = r.one_in(4);
    plan_.knows_all = r.one_in(2);
    // At least three heartbeats: else whoever runs is left out and taken in all the time.
    plan_.silent_max =
        r.one_in(2) ? 0 : static_cast<Millis>(r.between(3000, r.one_in(2) ? 4000 : 8000));
    if (plan_.silent_max != 0) plan_.duration += static_cast<Millis>(r.below(6000));
    weigh_mishaps();
    plan_breaks();
    NetworkFaults& faults = network_.faults;
    faults.loss_percent = r.one_in(2) ? 0 : r.one_in(2) ? r.between(30, 60) : r.between(1, 30);
    faults.duplicate_percent = r.one_in(2) ? 0 : r.between(1, 20);
    faults.bit_error_percent = r.one_in(8) ? 2 : 0;
    faults.delay_max = r.one_in(3) ? 300 : 20;
    plan_fleet();
}

// A world with every kind of mishap sees too little of each: most have some kinds only, in a mixture of their own.
void World::weigh_mishaps() {
    struct Odds {
        Mishap what;
        std::uint64_t percent;  // of worlds that know it
        std::uint64_t weight_max;
    };
    constexpr Odds kOdds[] = {
        {Mishap::crash, 70, 8},           {Mishap::stop, 40, 4},         {Mishap::cut, 70, 8},
        {Mishap::fill_disk, 20, 4},       {Mishap::exhaust_disk, 10, 2}, {Mishap::fail_sync, 15, 4},
        {Mishap::fail_checkpoint, 15, 4}, {Mishap::rot, 10, 2},          {Mishap::lose_disk, 10, 2},
        {Mishap::drill, 15, 4},           {Mishap::forget, 15, 6},       {Mishap::leave, 8, 1},
        {Mishap::take_snapshot, 15, 4},   {Mishap::absence, 40, 4},
    };
    static_assert(std::size(kOdds) == kMishaps - 1);
    plan_.mishap_every = static_cast<Millis>(random_.between(150, 1500));
    plan_.weights.fill(0);
    for (const Odds& odds : kOdds)
        if (random_.percent(odds.percent))
            plan_.weights[static_cast<std::size_t>(odds.what)] =
                random_.between(1, odds.weight_max);
    if (plan_.silent_max == 0) plan_.weights[static_cast<std::size_t>(Mishap::absence)] = 0;
    // What is never restored need not be taken.
    plan_.weights[static_cast<std::size_t>(Mishap::restore_snapshot)] =
        plan_.weights[static_cast<std::size_t>(Mishap::take_snapshot)];
}

// Members are away for too long, write on, and are interrupted when they come back and reconcile.
void World::plan_breaks() {
    Random& r = break_random_;
    if (seed_ % 6 != 1 || plan_.full_percent == 0) return;
    plan_.break_percent = r.between(3, 15);
    if (r.one_in(2)) return;
    plan_.full_percent = 0;
    plan_.silent_max = static_cast<Millis>(r.between(3000, 4000));
    plan_.duration += static_cast<Millis>(r.between(4000, 8000));
    plan_.weights[static_cast<std::size_t>(Mishap::absence)] = r.between(4, 12);
}

void World::schedule_all() {
    for (Millis at = plan_.command_every; at < plan_.duration;
         at += static_cast<Millis>(random_.between(1, 2 * plan_.command_every)))
        schedule(at, [this] { some_commands(*nodes_[random_.below(nodes_.size())]); });
    for (Millis at = plan_.mishap_every; at < plan_.duration;
         at += static_cast<Millis>(random_.between(1, 2 * plan_.mishap_every)))
        schedule(at, [this] { mishap(); });
    const auto some_time = [this] {
        return static_cast<Millis>(
            random_.between(500, static_cast<std::uint64_t>(plan_.duration)));
    };
    for (const auto& node : nodes_) {
        if (node->joined) continue;
        schedule(some_time(), [this, &node = *node] {
            if (!node.joined && !node.dead) start(node);
        });
    }
    schedule_fleet();
    if (!plan_.may_die || plan_.node_count < 3) return;
    schedule(some_time(), [this] {
        Node& node = *nodes_[random_.between(1, nodes_.size() - 1)];
        node.dead = true;
        if (node.running()) crash(node);
        tell("node " + std::to_string(node.index) + " never comes back");
    });
}

// ---- what goes wrong

void World::mishap() {
    std::uint64_t sum = 0;
    for (const std::uint64_t weight : plan_.weights) sum += weight;
    if (sum == 0 || healing_) return;
    std::uint64_t drawn = random_.below(sum);
    std::size_t what = 0;
    while (drawn >= plan_.weights[what]) drawn -= plan_.weights[what++];
    Node& node = *nodes_[random_.below(nodes_.size())];
    if (node.joined && !node.dead) happen(static_cast<Mishap>(what), node);
}

void World::happen(Mishap what, Node& node) {
    const bool of_process =
        what != Mishap::cut && what != Mishap::fill_disk && what != Mishap::exhaust_disk;
    if (of_process && !node.running()) return;
    switch (what) {
        case Mishap::crash:
            crash(node);
            break;
        case Mishap::stop:
            stop_cleanly(node);
            break;
        case Mishap::cut:
            return cut_link();
        case Mishap::fill_disk:
            return fill_disk(node, Room::reserve);
        case Mishap::exhaust_disk:
            return fill_disk(node, Room::none);
        case Mishap::fail_sync:
            return node.disk.log.fail_next_sync();
        case Mishap::fail_checkpoint:
            return node.disk.kv.fail_next_write();
        case Mishap::drill:
            return drill(node);
        case Mishap::rot:
            crash(node);
            node.rotten = node.disk.log.rot(random_);
            break;
        case Mishap::lose_disk:
            crash(node);
            lose_disk(node);
            break;
        case Mishap::forget:
            return forget_some(node);
        case Mishap::leave:
            if (node.replication->joined()) node.leaving = node.store->clocks();
            return node.store->end_round();
        case Mishap::take_snapshot:
            node.snapshot = {node.disk, node.writer};
            (void)node.snapshot->disk.log.truncate_to_durable();
            return;
        case Mishap::restore_snapshot:
            if (!node.snapshot) return;
            crash(node);
            restore(node);
            break;
        case Mishap::absence:
            return be_absent(node);
    }
    node.skew = static_cast<Millis>(random_.below(4000)) - 2000;
    start_later(node);
}

void World::cut_link() {
    const NodeIndex from = random_.below(nodes_.size()), to = random_.below(nodes_.size());
    network_.cuts.insert({from, to});
    if (random_.one_in(2)) network_.cuts.insert({to, from});
    schedule(static_cast<Millis>(random_.between(50, 4000)), [this, from, to] {
        network_.cuts.erase({from, to});
        network_.cuts.erase({to, from});
    });
}

void World::be_absent(Node& node) {
    ++outcome_.coverage.absences;
    const Millis back = plan_.silent_max + static_cast<Millis>(random_.below(3000));
    if (random_.one_in(2)) {
        stop_cleanly(node);
        return schedule(back, [this, &node] {
            if (!node.running() && !node.dead) start(node);
        });
    }
    tell("node " + std::to_string(node.index) + " is cut off");
    std::vector<std::pair<NodeIndex, NodeIndex>> cuts;
    for (NodeIndex other = 0; other < nodes_.size(); ++other) {
        cuts.emplace_back(node.index, other);
        cuts.emplace_back(other, node.index);
    }
    network_.cuts.insert(cuts.begin(), cuts.end());
    schedule(back, [this, cuts] {
        for (const auto& cut : cuts) network_.cuts.erase(cut);
    });
}

// A node that reconciles in full, or another one, ends; or nothing goes between it and another one, or all, for a while.
void World::break_off(Node& node) {
    Random& r = break_random_;
    if (healing_ || plan_.break_percent == 0 || node.replication->full_pass() == Full::none ||
        !r.percent(plan_.break_percent))
        return;
    ++outcome_.coverage.broken_off;
    Node& other = *nodes_[r.below(nodes_.size())];
    const Millis back = static_cast<Millis>(r.between(10, r.one_in(3) ? 6000 : 400));
    if (r.one_in(3)) {
        Node& ends = r.one_in(2) || !other.running() ? node : other;
        return schedule(0, [this, &ends, back] {
            if (!ends.running()) return;
            crash(ends);
            schedule(back, [this, &ends] {
                if (!ends.running() && !ends.dead) start(ends);
            });
        });
    }
    tell("node " + std::to_string(node.index) + " is interrupted");
    for (const auto& each : nodes_) {
        const std::string name = "node" + std::to_string(each->index);
        if ((&other != &node && each->index != other.index) ||
            !node.replication->set_cut(name, true))
            continue;
        on_node(node, back, [&node, name] { (void)node.replication->set_cut(name, false); });
    }
}

void World::drill(Node& node) {
    const std::string name = "node" + std::to_string(random_.below(nodes_.size()));
    if (!node.replication->set_cut(name, true)) return;
    ++outcome_.coverage.drills;
    on_node(node, static_cast<Millis>(random_.between(50, 3000)),
            [&node, name] { (void)node.replication->set_cut(name, false); });
}

void World::fill_disk(Node& node, Room room) {
    tell("the disk of node " + std::to_string(node.index) + " is full");
    node.disk.set_room(room);
    schedule(static_cast<Millis>(random_.between(300, 3000)),
             [&node] { node.disk.set_room(Room::plenty); });
}

void World::lose_disk(Node& node) {
    ++outcome_.coverage.lost_disks;
    tell("node " + std::to_string(node.index) + " loses its disk");
    excuse(node);
    const Room room = node.disk.room;
    node.disk = SimDisk{};
    node.disk.set_room(room);
    node.writer = ReplicaId{++lineages_ << 32};
}

void World::restore(Node& node) {
    ++outcome_.coverage.restored_disks;
    tell("node " + std::to_string(node.index) + " is set back to a snapshot");
    excuse(node);
    const Room room = node.disk.room;
    node.disk = node.snapshot->disk;
    node.disk.set_room(room);
    node.writer = node.snapshot->writer;
    node.ended_cleanly = sabotage_.restore_keeps_writer;
}

// What only this disk held may be gone: of what its writers wrote, nothing need be found any more, except what a WAIT
// has answered for. But nobody can have more than what had been durable, or is found in the log. Requires: the process
// is down.
void World::excuse(Node& node) {
    node.disk_lost_at = now_;
    const std::map<ShardId, VersionVector> durable(node.durable_at_crash.begin(),
                                                   node.durable_at_crash.end());
    for (const auto& [writer, finished] : finished_) {
        if (finished || homes_.at(writer) != node.index) continue;
        for (const auto& [shard, clock] : durable) {
            Seq& kept = kept_[{writer, shard}];
            kept = std::max(kept, clock.at(writer));
        }
    }
    std::erase_if(acknowledged_,
                  [&](const auto& entry) { return homes_.at(entry.first.first) == node.index; });
    node.durable_at_crash.clear();
}

void World::heal() {
    healing_ = true;
    tell("all faults end");
    network_.cuts.clear();
    network_.faults = NetworkFaults{};
    for (const auto& node : nodes_) {
        node->skew = 0;
        node->disk.mend();
        if (!node->running() && !node->dead && !outcome_.failure) start(*node);
    }
    schedule(kBuriedAfter, [this] { bury(); });
}

}  // namespace skerry::sim
