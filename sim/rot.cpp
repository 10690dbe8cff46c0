// The part of sim/world.hpp that lets the ordered store of one node rot, and demands that a repair brings everything back.
#include <algorithm>

#include "sim/world.hpp"

namespace skerry::sim {

namespace {
constexpr Millis kRepairsMax =
    30'000;  // from an alarm, or from CRDT.VERIFY REPAIR, to the last repair
}  // namespace

// Requires: quiet.
void World::mend_rot() {
    std::vector<Node*> running;
    for (const auto& node : nodes_)
        if (node->running()) running.push_back(node.get());
    if (running.size() < 2) return;
    const std::string before = picture(*running[0]);
    const bool silent = sabotage_.rot_at_end == Sabotage::Rot::silent;
    expects_difference_ = true;
    Node& node = *running[random_.below(running.size())];
    checkpoint_by_hand(node);
    (void)node.disk.log.sync();
    // A crash, so that it writes on under another id: an entry of its own that it has lost is superseded by nobody.
    silent ? stop_cleanly(node) : crash(node);
    for (std::uint64_t i = random_.between(1, 6); i > 0; --i)
        outcome_.coverage.rotten_rows += random_.one_in(2)
                                             ? node.disk.kv.change_row(random_)
                                             : node.disk.kv.lose_row(random_).has_value();
    tell("rows of node " + std::to_string(node.index) + " rot");
    // Who pulls from a node that has lost something before it is repaired loses it, too: the join cannot know better.
    plan_.drop_percent = 0;
    start(node);
    follow_all();
    node.rots = true;
    if (!silent) use_rotten();
    node.rots = false;
    // What nothing has touched shows only when rows are read.
    if (!outcome_.failure) (void)verdicts_of(*running[random_.below(running.size())], true);
    run_until(now_ + kRepairsMax);
    if (outcome_.failure) return;
    check_mended();
    const std::string after = picture(*running[0]);
    if (silent && before != after) fail("a repair leaves\n" + after + "of\n" + before);
}

// Until everybody follows everybody's stream.
void World::follow_all() {
    const auto running =
        std::ranges::count_if(nodes_, [](const auto& node) { return node->running(); });
    const auto follows = [&](const auto& node) {
        const auto peers = node->replication->peers(mono(*node));
        return std::ranges::count(peers, "following", &PeerStatus::phase) >= running - 1;
    };
    const Millis limit = now_ + kQuietMax;
    do run_until(now_ + 2000);
    while (!outcome_.failure && now_ < limit &&
           !std::ranges::all_of(
               nodes_, [&](const auto& node) { return !node->running() || follows(node); }));
}

// Clients go on, and alarms start repairs.
void World::use_rotten() {
    const Millis limit = now_ + kQuietMax;
    for (int i = 0; i < 40 && !outcome_.failure; ++i) {
        Node& node = *nodes_[random_.below(nodes_.size())];
        if (!node.running()) continue;
        set_now(node);
        random_.one_in(3) ? counted_command(node) : command(node);
        node.store->end_command();
        end_of_event(node);
        run_until(now_ + static_cast<Millis>(random_.below(100)));
    }
    run_until(now_ + kRepairsMax);
    while (!outcome_.failure && !quiet() && now_ < limit) run_until(now_ + 200);
}

// Every shard of every pair is equal, and so are all digests kept.
void World::check_mended() {
    for (const auto& node : nodes_) {
        if (!node->running() || outcome_.failure) continue;
        for (const Verdict& verdict : verdicts_of(*node))
            if (verdict.answered && verdict.equal != verdict.shards)
                fail("node " + std::to_string(node->index) + " and " + verdict.peer + " have " +
                     std::to_string(verdict.equal) + " equal shards after the repair");
        if (node->replication->counters().repairs_given_up != 0)
            fail("node " + std::to_string(node->index) + " gives a repair up");
    }
}

}  // namespace skerry::sim
