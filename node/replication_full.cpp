// The part of node/replication.hpp that pulls from behind a server's purge floor: what clocks cannot tell is compared.
//
// Passes   pulling: what has an entry outside the base, as any pull, though the base is behind the floor. Comparing, in the shards
//          whose floor that is: of all other leaves what is visible (node/reconciliation.hpp); what only the server has is
//          staged, what only is here joins with an empty leaf at the clock at which the server said so: what it knew of, and has
//          no more, dies; what it never knew survives. Closing: what has changed since the first pass began.
// Clock    the server may not purge beyond the base, the clock at which the first pass began, and what is durable here: what was
//          read then, and is gone since without a trace, would survive. If it does, all begins again.
// Again    interrupted, it goes on in its pass, at any node that has all that was said (docs/decisions/0013).
// All      a shard that is never at rest cannot be compared: then all leaves of the server are staged, and every local leaf that
//          it lacks as an empty one at its final clock.
// Empty    who has no leaf at all misses no marker: it asks for all leaves from the start, and has nothing to look at.
// Foreign  in each case nothing of other writers is applied meanwhile, nor while it is interrupted: it could bring what the
//          server has buried.
#include <algorithm>

#include "crdt/codec.hpp"
#include "crdt/hash.hpp"
#include "crdt/shortcut.hpp"
#include "node/replication.hpp"

namespace skerry {

namespace {
constexpr std::size_t kKeysAtOnce = 2000;
constexpr MonoTime kNotedEvery{1000};  // how far a comparison has come
}  // namespace

// Beyond the base, what was durable here as the server was asked: own removals, which need no marker to be known here. In the
// closing pass no more, since it is the base that says which markers came.
bool Replication::floors_within_pull(const ShardClocks& floors) const {
    if (pull_->full == Full::closing && taken(Shortcut::floors_moved)) return true;
    std::map<ShardId, VersionVector> known(pull_->base.begin(), pull_->base.end());
    if (pull_->full != Full::closing)
        for (const auto& [shard, clock] : pull_->pass_clocks) known[shard].join(clock);
    if (pull_->full == Full::pulling || pull_->full == Full::closing)
        for (auto& [shard, clock] : known) clock.join(store_.shard(shard).durable_clock);
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

bool Replication::keeps_foreign_out() const { return (pull_ && pull_->whole) || whole_waits_; }

// A hash of how far it goes.
std::uint64_t Replication::foreign_here() const {
    ShardClocks foreign;
    for (const auto& [shard, clock] : store_.clocks()) {
        VersionVector others;
        for (const auto& [writer, seq] : clock)
            if (writer.lineage() != store_.self().lineage()) others.advance({writer, seq});
        if (!others.empty()) foreign.emplace_back(shard, std::move(others));
    }
    std::string bytes;
    Packer packer(bytes);
    packer.put(foreign);
    return hash64(bytes);
}

// Nobody can go on with it in time.
void Replication::step_waiting(MonoTime now) {
    if (!whole_waits_ || pull_) return;
    const auto open = store_.open_session();
    const auto cursor = open ? decode_pull_cursor(open->cursor)
                             : Result<PullCursor>(fail(Code::malformed, "no session"));
    if (cursor && now < resume_end(*cursor)) return;
    if (open) store_.drop_session(open->session);
    whole_waits_ = false;
    note(NoteLevel::warn, "pull_given_up",
         {{"why", "nobody is there who has what it was shown"},
          {"leaves", std::to_string(cursor ? cursor->leaves : 0)}});
    for (auto& [link, peer] : peers_) drain(peer, now);
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
    pull_->runs.clear();
    pull_->moved = false;
    pull_->foreign = foreign_here();
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
    if (pull_->comparing && reconciliation_.full() && now >= pull_->noted_at + kNotedEvery &&
        reconciliation_.left() != pull_->runs)
        note_compared(now);
    if (pull_->comparing || reconciliation_.under_way() || !store_.can_compare_staged()) return;
    pull_->comparing = true;
    pull_->noted_at = now;
    counters_.compared_by_key += pull_->moved ? 1 : 0;
    // What a comparison before this one has staged since it was last noted, too.
    join_seen(store_.staged_clocks(pull_->session));
    const Peer* peer = peer_of(pull_->link);
    reconciliation_.begin_full({.link = pull_->link,
                                .name = peer == nullptr ? "" : peer->who.name,
                                .nonce = pull_->nonce,
                                .key = {random_(), random_()}},
                               {.session = pull_->session,
                                .bases = pull_->compared,
                                .runs = pull_->runs,
                                .least = pull_->seen,
                                .asks_for_absent = pull_->moved},
                               now);
}

// What was said beyond the base: the checkpoint that is served in the end may be from before the server learned what the asker
// has anyhow.
void Replication::join_seen(const ShardClocks& clocks) {
    if (taken(Shortcut::said_ignored)) return;
    const std::map<ShardId, VersionVector> base(pull_->base.begin(), pull_->base.end());
    std::map<ShardId, VersionVector> seen(pull_->seen.begin(), pull_->seen.end());
    for (const auto& [shard, clock] : clocks) {
        const auto mine = base.find(shard);
        for (const auto& [writer, seq] : clock)
            if (mine == base.end() || !mine->second.contains({writer, seq}))
                seen[shard].advance({writer, seq});
    }
    pull_->seen.assign(seen.begin(), seen.end());
}

// How far it has come, for whoever goes on after an interruption.
void Replication::note_compared(MonoTime now) {
    if (reconciliation_.full()) pull_->runs = reconciliation_.left();
    pull_->noted_at = now;
    store_.stage(
        {.session = pull_->session, .clocks = {}, .leaves = {}, .cursor = cursor_now(now)});
}

void Replication::stop_comparing() {
    if (pull_->full == Full::comparing && pull_->comparing) reconciliation_.stop();
}

void Replication::full_compared(Reconciliation::Outcome& outcome, MonoTime now) {
    if (!pull_ || pull_->full != Full::comparing) return;
    using End = Reconciliation::End;
    counters_.reconciled_leaves += outcome.leaves;
    pull_->comparing = false;
    pull_->runs = std::move(outcome.left);
    join_seen(outcome.clocks);
    if (outcome.end == End::unsound) return end_pull(outcome.failure);
    if (outcome.end == End::away) return interrupt_pull(outcome.failure, now);
    if (outcome.end == End::stuck) {
        note(NoteLevel::warn, "reconcile_takes_all", {{"why", outcome.failure}});
        return begin_full(Full::all, now);
    }
    ++counters_.compared;
    note(NoteLevel::info, "reconcile_compared",
         {{"slices", std::to_string(outcome.slices)},
          {"differences", std::to_string(outcome.items)},
          {"symbols", std::to_string(outcome.symbols)},
          {"leaves", std::to_string(outcome.leaves)}});
    // From a checkpoint that has all that was said.
    pull_->full = Full::closing;
    pull_->waiting_durable = false;
    std::map<ShardId, VersionVector> target(pull_->target.begin(), pull_->target.end());
    for (const auto& [shard, clock] : pull_->seen) target[shard].join(clock);
    pull_->target.assign(target.begin(), target.end());
    if (taken(Shortcut::full_not_closed)) pull_->base = pull_->target;
    note_compared(now);
    pull_->nonce = 0;
    ask_pull(now);
}

bool Replication::stage_absent() {
    const bool all =
        store_.stage_absent(pull_->session, pull_->last->clocks, pull_->absent_from, kKeysAtOnce);
    if (store_.applied() > pull_->staged) pull_->staged = store_.applied();
    return all;
}

}  // namespace skerry
