// The part of node/replication.hpp that pulls from behind a server's purge floor: what clocks cannot tell is compared.
//
// Passes   pulling: what has an entry outside the base, as any pull, though the base is behind the floor. Comparing, in the shards
//          whose floor that is: of all other leaves what is visible (node/reconciliation.hpp); what only the server has is
//          staged, what only is here joins with an empty leaf at the clock at which the server said so: what it knew of, and has
//          no more, dies; what it never knew survives. Closing: what has changed since the first pass began.
// Clock    the server may not purge beyond the base and the clock at which the first pass began: what was read then, and is gone
//          since without a trace, would survive. If it does, all begins again.
// All      a shard that is never at rest cannot be compared: then all leaves of the server are staged, and every local leaf that
//          it lacks as an empty one at its final clock.
// Empty    who has no leaf at all misses no marker: it asks for all leaves from the start, and has nothing to look at.
// Foreign  in each case nothing of other writers is applied meanwhile: it could bring what the server has buried.
#include <algorithm>

#include "crdt/shortcut.hpp"
#include "node/replication.hpp"

namespace skerry {

namespace {
constexpr std::size_t kKeysAtOnce = 2000;
}  // namespace

bool Replication::floors_within_pull(const ShardClocks& floors) const {
    std::map<ShardId, VersionVector> known(pull_->base.begin(), pull_->base.end());
    for (const auto& [shard, clock] : pull_->pass_clocks) known[shard].join(clock);
    return std::ranges::all_of(floors, [&](const auto& pair) {
        const auto found = known.find(pair.first);
        return found != known.end() && found->second.covers(pair.second);
    });
}

void Replication::join_floors(const ShardClocks& floors) {
    std::map<ShardId, VersionVector> all(pull_->floors.begin(), pull_->floors.end());
    for (const auto& [shard, floor] : floors) all[shard].join(floor);
    pull_->floors.assign(all.begin(), all.end());
}

// No event of anybody else is here.
bool Replication::only_own_events() const {
    return std::ranges::all_of(store_.clocks(), [&](const auto& pair) {
        return std::ranges::all_of(pair.second, [&](const auto& entry) {
            return entry.first.lineage() == store_.self().lineage();
        });
    });
}

void Replication::on_need_full(const Peer& peer, const ShardClocks& floors, MonoTime now) {
    // A request that crossed with what the server was told of this node.
    pull_->request = 0;
    if (!pull_->whole && store_.durably_covers(floors)) return ask_pull(now);
    note(NoteLevel::warn, "pull_needs_full",
         {{"peer", peer.who.name},
          {"why", pull_->full != Full::none ? "it has purged again meanwhile"
                                            : "it has purged what was missed here"}});
    ++counters_.pulls_full;
    const bool all = pull_->full == Full::all || by_chance(options_.all_percent);
    begin_full(all ? Full::all : Full::pulling, now);
}

void Replication::begin_full(Full full, MonoTime now) {
    stop_comparing();
    store_.drop_session(pull_->session);
    pull_->session = random_() >> 1 | 1;
    pull_->nonce = pull_->request = 0;
    pull_->whole = true;
    pull_->full = full;
    pull_->waiting_durable = pull_->comparing = false;
    for (auto& [shard, clock] : pull_->base)
        clock = full == Full::all ? VersionVector{} : store_.shard(shard).durable_clock;
    pull_->compared.clear();
    pull_->said.clear();
    pull_->pass_clocks.clear();
    pull_->seen.clear();
    pull_->floors.clear();
    pull_->cursor.clear();
    pull_->part.clear();
    pull_->part_cursor.clear();
    pull_->absent_from = {};
    pull_->last.reset();
    ask_pull(now);
}

// All that is outside the base is staged.
void Replication::compare_in_full(MonoTime now) {
    if (pull_->comparing || reconciliation_.under_way()) return;
    pull_->comparing = true;
    const Peer* peer = peer_of(pull_->link);
    reconciliation_.begin_full({.link = pull_->link,
                                .name = peer == nullptr ? "" : peer->who.name,
                                .nonce = pull_->nonce,
                                .key = {random_(), random_()}},
                               pull_->session, pull_->compared, now);
}

void Replication::stop_comparing() {
    if (pull_->full == Full::comparing && pull_->comparing) reconciliation_.stop();
}

void Replication::full_compared(Reconciliation::Outcome& outcome, MonoTime now) {
    if (!pull_ || pull_->full != Full::comparing) return;
    using End = Reconciliation::End;
    if (outcome.end == End::stale) return end_pull(outcome.failure);
    if (outcome.end == End::failed) return interrupt_pull(outcome.failure, now);
    if (outcome.end == End::stuck) {
        note(NoteLevel::warn, "reconcile_takes_all", {{"why", outcome.failure}});
        return begin_full(Full::all, now);
    }
    ++counters_.compared;
    counters_.reconciled_leaves += outcome.leaves;
    note(NoteLevel::info, "reconcile_compared",
         {{"slices", std::to_string(outcome.slices)},
          {"differences", std::to_string(outcome.items)},
          {"symbols", std::to_string(outcome.symbols)},
          {"leaves", std::to_string(outcome.leaves)}});
    // From a checkpoint that has all that was said.
    pull_->full = Full::closing;
    pull_->waiting_durable = false;
    pull_->nonce = 0;
    pull_->said = std::move(outcome.clocks);
    std::map<ShardId, VersionVector> target(pull_->target.begin(), pull_->target.end());
    for (const auto& [shard, clock] : pull_->said) target[shard].join(clock);
    pull_->target.assign(target.begin(), target.end());
    if (taken(Shortcut::full_not_closed)) pull_->base = pull_->target;
    ask_pull(now);
}

bool Replication::has_what_it_said(const PullChunk& chunk) const {
    std::map<ShardId, VersionVector> has(pull_->base.begin(), pull_->base.end());
    for (const auto& [shard, clock] : chunk.clocks) has[shard].join(clock);
    return std::ranges::all_of(
        pull_->said, [&](const auto& pair) { return has[pair.first].covers(pair.second); });
}

bool Replication::stage_absent() {
    const bool all =
        store_.stage_absent(pull_->session, pull_->last->clocks, pull_->absent_from, kKeysAtOnce);
    if (store_.applied() > pull_->staged) pull_->staged = store_.applied();
    return all;
}

}  // namespace skerry
