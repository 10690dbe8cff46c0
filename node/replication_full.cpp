// The part of node/replication.hpp that takes over all of a server's leaves, since it has purged what was missed here.
//
// Sound    every leaf of the server is staged at the clock of its chunk, and every leaf that is only here joins with an empty one
//          at the server's final clock: what the server knew of, and has no more, dies; what it never knew survives.
// Clock    the server may not purge beyond the clock at which the first pass began: what was read then, and is gone since
//          without a trace, would survive. If it does, all begins again.
// Empty    who has no leaf at all misses no marker: it asks for all leaves from the start, and has nothing to look at.
// Foreign  in either case nothing of other writers is applied meanwhile: it could bring what the server has buried.
#include <algorithm>

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
          {"why", pull_->full
                      ? "it has purged again meanwhile"
                      : "it has purged what was missed here: all its leaves are taken over"}});
    ++counters_.pulls_full;
    store_.drop_session(pull_->session);
    pull_->session = random_() >> 1 | 1;
    pull_->nonce = pull_->request = 0;
    pull_->whole = pull_->full = true;
    for (auto& [shard, clock] : pull_->base) clock = {};
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

bool Replication::stage_absent() {
    const bool all =
        store_.stage_absent(pull_->session, pull_->last->clocks, pull_->absent_from, kKeysAtOnce);
    if (store_.applied() > pull_->staged) pull_->staged = store_.applied();
    return all;
}

}  // namespace skerry
