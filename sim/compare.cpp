// The part of sim/world.hpp that says CRDT.VERIFY: healthy nodes are equal, and a row that a disk has lost is named.
#include <algorithm>
#include <utility>

#include "sim/world.hpp"

namespace skerry::sim {

namespace {
constexpr Millis kVerifyMax = 20'000;
}  // namespace

std::vector<Verdict> World::verdicts_of(Node& node, bool repairs) {
    const auto begun = node.replication->verify(std::nullopt, repairs, mono(node));
    if (begun != Replication::VerifyStart::begun) fail("CRDT.VERIFY does not begin");
    std::optional<std::vector<Verdict>> verdicts;
    const Millis limit = now_ + kVerifyMax;
    while (!outcome_.failure && !verdicts && now_ < limit) {
        run_until(now_ + 50);
        verdicts = node.replication->take_verdicts();
    }
    if (!verdicts) fail("CRDT.VERIFY does not end");
    return verdicts.value_or(std::vector<Verdict>());
}

// Requires: quiet.
void World::compare_healthy() {
    // A shard whose leaves still join is not compared.
    const auto drains = [](const auto& node) { return node->running() && node->store->draining(); };
    const Millis limit = now_ + kQuietMax;
    while (!outcome_.failure && std::ranges::any_of(nodes_, drains) && now_ < limit)
        run_until(now_ + 200);
    if (std::ranges::any_of(nodes_, drains)) fail("a drain does not end");
    std::vector<Node*> running;
    for (const auto& node : nodes_)
        if (node->running()) running.push_back(node.get());
    Node& node = *running[seed_ % running.size()];
    for (const Verdict& verdict : verdicts_of(node)) {
        // A node that never comes back is still a peer.
        const bool gone = std::ranges::none_of(running, [&](const Node* other) {
            return "node" + std::to_string(other->index) == verdict.peer;
        });
        const auto other = std::ranges::find_if(running, [&](const Node* peer) {
            return "node" + std::to_string(peer->index) == verdict.peer;
        });
        const auto both = gone ? 0 : std::ranges::count_if(node.store->held(), [&](ShardId shard) {
            return (*other)->store->holds(shard);
        });
        if (gone ? verdict.answered : std::cmp_not_equal(verdict.equal, both))
            fail("CRDT.VERIFY says that " + std::to_string(verdict.equal) + " shards of " +
                 verdict.peer + " are equal");
        outcome_.coverage.verified += verdict.equal;
    }
}

// So that the disk has every row: of the image under way, and of what came after it.   Requires: quiet.
void World::checkpoint_by_hand(Node& node) {
    while (node.store->freezing() || node.store->has_changes()) {
        if (!node.store->freezing()) node.store->freeze();
        (void)node.store->save_some(~std::size_t{0} / 2);
        if (!node.store->image()->write(node.disk.kv, KvRoom::ordinary))
            return fail("a healthy disk takes no checkpoint");
        (void)node.store->checkpointed();
    }
}

// Requires: quiet.
void World::compare_damaged() {
    Node& node = *nodes_[0];
    checkpoint_by_hand(node);
    stop_cleanly(node);
    const auto lost = node.disk.kv.lose_row(random_);
    if (!lost) return;
    const RowKey row = *parse_row_key(lost->first);
    // A node writes what the table of members lacks of it: then it differs otherwise.
    if (row.address.database == kConfigurationDatabase) return start(node);
    expects_difference_ = true;
    start(node);
    const Millis limit = now_ + kQuietMax;
    run_until(now_ + 2000);
    while (!outcome_.failure && !quiet() && now_ < limit) run_until(now_ + 200);
    const std::uint16_t bucket = bucket_of(row.address, plan_.shard_count);
    for (const auto& asked : nodes_) {
        if (!asked->running() || outcome_.failure) continue;
        for (const Verdict& verdict : verdicts_of(*asked)) {
            const bool is_peer = verdict.peer == "node0";
            if (!verdict.answered || (asked.get() != &node && !is_peer)) continue;
            const auto damage = is_peer ? Verdict::Damage::there : Verdict::Damage::here;
            if (verdict.differing.size() != 1 || verdict.differing[0].shard != row.address.shard ||
                verdict.differing[0].buckets != std::vector{bucket} ||
                verdict.differing[0].damage != damage)
                return fail("CRDT.VERIFY at node " + std::to_string(asked->index) +
                            " does not name bucket " + std::to_string(bucket) + " of shard " +
                            std::to_string(row.address.shard.value));
            ++outcome_.coverage.damage_named;
        }
    }
}

}  // namespace skerry::sim
