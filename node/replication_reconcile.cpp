// The part of node/replication.hpp that repairs shards which differ from a peer's at one clock: after an alarm, or by hand.
#include <algorithm>

#include "node/replication.hpp"

namespace skerry {

namespace {
constexpr std::uint64_t kRepairsMax = 3;  // of a shard from a peer, until the two agree
constexpr MonoTime kRepairAgain{5000};    // times how often it was tried
}  // namespace

// ---- repair

void Replication::alarmed(const Peer& peer, ShardId shard, MonoTime now) {
    if (!options_.repairs) return;
    Repairs& repairs = repairs_[{peer.link, shard}];
    if (now < repairs.next_at) return;
    if (repairs.count < kRepairsMax) return want_repair(peer.link, shard, false);
    if (std::exchange(repairs.told, true)) return;
    ++counters_.repairs_given_up;
    note(NoteLevel::error, "repair_gave_up",
         {{"peer", peer.who.name},
          {"shard", std::to_string(shard.value)},
          {"repairs", std::to_string(repairs.count)},
          {"next", "see Divergence in docs/OPERATIONS.md"}});
}

void Replication::agrees(const Peer& peer, ShardId shard) {
    const auto found = repairs_.find({peer.link, shard});
    if (found == repairs_.end()) return;
    if (found->second.found)
        note(NoteLevel::info, "repair_holds",
             {{"peer", peer.who.name}, {"shard", std::to_string(shard.value)}});
    repairs_.erase(found);
}

void Replication::want_repair(LinkId link, ShardId shard, bool back) {
    const RepairPlace place{link, shard};
    if (repairing_ && repairing_->place == place) return;
    bool& wanted_back = wanted_repairs_[place];
    wanted_back = wanted_back || back;
}

void Replication::repair_ended(const Reconciliation::Outcome& outcome, MonoTime now) {
    const RepairPlace place = std::exchange(repairing_, std::nullopt)->place;
    const auto& [link, shard] = place;
    const Peer* peer = peer_of(link);
    Repairs& repairs = repairs_[place];
    ++repairs.count;
    repairs.next_at = now + kRepairAgain * repairs.count;
    const std::string name = peer == nullptr ? "" : peer->who.name;
    if (!outcome.failure.empty()) {
        ++counters_.repairs_failed;
        note(NoteLevel::warn, "repair_failed",
             {{"peer", name}, {"shard", std::to_string(shard.value)}, {"why", outcome.failure}});
        return;
    }
    ++counters_.repairs;
    counters_.repaired_leaves += outcome.changed;
    if (outcome.items == 0 && !outcome.recounted) return;
    repairs.found = true;
    std::string keys;
    for (const std::string& key : outcome.keys) keys += (keys.empty() ? "" : ",") + key;
    note(NoteLevel::warn, "repaired",
         {{"peer", name},
          {"shard", std::to_string(shard.value)},
          {"differences", std::to_string(outcome.items)},
          {"changed", std::to_string(outcome.changed)},
          {"recounted", outcome.recounted ? "yes" : "no"},
          {"keys", keys}});
}

// While all leaves of a server are taken over: what a third node has may be what that server has buried.
void Replication::put_repair_off() {
    if (!reconciliation_.under_way() || !repairing_ || !keeps_foreign_out()) return;
    reconciliation_.stop();
    const WantedRepair again = *std::exchange(repairing_, std::nullopt);
    want_repair(again.place.first, again.place.second, again.back);
}

void Replication::step_reconciliation(MonoTime now) {
    put_repair_off();
    reconciliation_.tick(now);
    for (auto& [link, request] : reconciliation_.take_requests()) send(link, request);
    for (Note& told : reconciliation_.take_notes()) notes_.push_back(std::move(told));
    if (auto outcome = reconciliation_.take_outcome())
        repairing_ ? repair_ended(*outcome, now) : full_compared(*outcome, now);
    const bool may_begin = !paused_ && !keeps_foreign_out();
    while (!repairing_ && !wanted_repairs_.empty() && may_begin) {
        const auto [place, back] = *wanted_repairs_.begin();
        const auto [link, shard] = place;
        wanted_repairs_.erase(wanted_repairs_.begin());
        const Peer* peer = peer_of(link);
        if (peer == nullptr || !peer->up || !peer->greeted || peer->cut) continue;
        repairing_ = {.place = place, .back = back};
        reconciliation_.begin_repair({.link = link,
                                      .name = peer->who.name,
                                      .nonce = peer->who.nonce,
                                      .key = {random_(), random_()}},
                                     shard, back, now);
        for (auto& [to, request] : reconciliation_.take_requests()) send(to, request);
    }
}

// ---- requests and replies

template <class Reply>
void Replication::reply_to(const ConnectionToken& from, const Result<Reply>& reply) {
    if (reply) return answer(from, encode(*reply, Compression::where_it_helps));
    ++counters_.malformed;
    note(NoteLevel::warn, "frame_refused", {{"peer", "?"}, {"why", reply.error().text()}});
}

bool Replication::on_reconcile_request(const ConnectionToken& from, const Message& message,
                                       MonoTime now) {
    if (const auto* slices = std::get_if<SliceRequest>(&message)) {
        reply_to(from, serve_slices(store_, *slices));
        const ShardId shard = slices->shard;
        if (!slices->back || !store_.holds(shard) || !options_.repairs) return true;
        const auto caller = callers_.find(from);
        for (const auto& [link, peer] : peers_) {
            if (caller == callers_.end() || peer.who.name != caller->second.name) continue;
            const auto found = repairs_.find({link, shard});
            if (found == repairs_.end() || now >= found->second.next_at)
                want_repair(link, shard, false);
        }
        return true;
    }
    if (const auto* symbols = std::get_if<SymbolRequest>(&message))
        return reply_to(from, serve_symbols(store_, *symbols)), true;
    if (const auto* leaves = std::get_if<LeafRequest>(&message))
        return reply_to(from, serve_leaves(store_, *leaves)), true;
    return false;
}

bool Replication::on_reconcile_reply(Peer& peer, Message& message, MonoTime now) {
    put_repair_off();
    if (auto* slices = std::get_if<SliceReply>(&message))
        reconciliation_.on_reply(peer.link, *slices, now);
    else if (auto* symbols = std::get_if<SymbolReply>(&message))
        reconciliation_.on_reply(peer.link, *symbols, now);
    else if (auto* leaves = std::get_if<LeafReply>(&message))
        reconciliation_.on_reply(peer.link, *leaves, now);
    else
        return false;
    step_reconciliation(now);
    return true;
}

}  // namespace skerry
