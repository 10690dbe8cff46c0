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

// No event of anybody else is here.
bool Replication::only_own_events() const {
    return std::ranges::all_of(store_.clocks(), [&](const auto& pair) {
        return std::ranges::all_of(pair.second, [&](const auto& entry) {
            return entry.first.value >> 32 == store_.self().value >> 32;
        });
    });
}

void Replication::on_need_full(const Peer& peer, const ShardClocks& floors, MonoTime now) {
    // A request that crossed with what the server was told of this node.
    if (!pull_->whole && store_.durably_covers(floors)) return ask_pull(now);
    note(NoteLevel::warn, "pull_needs_full",
         {{"peer", peer.who.name},
          {"why", pull_->full
                      ? "it has purged again meanwhile"
                      : "it has purged what was missed here: all its leaves are taken over"}});
    ++counters_.pulls_full;
    store_.drop_session(pull_->session);
    PullSession full;
    full.link = pull_->link;
    full.session = random_() >> 1 | 1;
    full.target = std::move(pull_->target);
    full.whole = full.full = true;
    for (std::uint16_t i = 0; i < store_.shard_count(); ++i)
        full.base.emplace_back(ShardId{i}, VersionVector{});
    *pull_ = std::move(full);
    ask_pull(now);
}

bool Replication::stage_absent() {
    const bool all =
        store_.stage_absent(pull_->session, pull_->last->clocks, pull_->absent_from, kKeysAtOnce);
    if (store_.applied() > pull_->staged) pull_->staged = store_.applied();
    return all;
}

}  // namespace skerry
