// The part of node/replication.hpp that tells the store what is stable.
#include <algorithm>

#include "crdt/shortcut.hpp"
#include "node/replication.hpp"

namespace skerry {

// A late heartbeat of an earlier boot, or one from before a snapshot was restored, says more than is there now.
bool Replication::has_said(const Peer& peer) const {
    return peer.reported && peer.greeted && peer.reported_by == peer.who.nonce;
}

// The row of who it is; of one that was never greeted, that of its address, of those the one that is not gone.
const Member* Replication::row_of(const Peer& peer) {
    if (peer.who.writer != ReplicaId{}) return members_.find(member_of(peer.who.writer));
    const Member* found = nullptr;
    for (const Member& row : members_.rows())
        if (row.gossip_address == peer.address && (found == nullptr || row.state < found->state))
            found = &row;
    return found;
}

bool Replication::counts(const Peer& peer, MonoTime now) {
    MonoTime since = std::max(peer.known_since, peer.heard_at);
    if (const Member* row = row_of(peer)) {
        if (!row->counts()) return false;
        if (const auto active = active_.find(row->id); active != active_.end())
            since = std::max(since, active->second.since);
    }
    return now <= since + silent_max(peer.who.role);
}

// Nobody whom its absence leaves open: gone, or its name is that of another directory, as after a lost disk.
bool Replication::superseded(const Member& row, MonoTime now) {
    if (row.gone()) return true;
    return !row.counts() && !hears(row, now) &&
           std::ranges::any_of(members_.rows(), [&](const Member& other) {
               return other.counts() && other.name == row.name;
           });
}

// The same node is heard at another address.
bool Replication::replaced(const Peer& peer) const {
    if (peer.who.writer == ReplicaId{}) return false;
    return std::ranges::any_of(peers_, [&](const auto& pair) {
        const Peer& other = pair.second;
        return other.who.writer.lineage() == peer.who.writer.lineage() && other.greeted &&
               other.heard_at > peer.heard_at + kSilentMax;
    });
}

MonoTime Replication::silent_since(const Member& row, MonoTime now) const {
    return now - std::max(WallTime{}, store_.now() - row.silent_since);
}

// Since when each of the others is active, as far as this process knows, or the table. A member that takes back that it was
// silent lives, though it may not be heard here.
void Replication::note_active(MonoTime now) {
    std::map<MemberId, Active> active;
    for (const Member& row : members_.rows()) {
        if (row.id == member_of(store_.self()) || !row.counts()) continue;
        const bool silent = row.silent_since != WallTime{};
        const auto known = active_.find(row.id);
        if (known == active_.end())
            active[row.id] = {silent ? silent_since(row, now) : now, silent};
        else
            active[row.id] = {known->second.silent && !silent ? now : known->second.since, silent};
    }
    active_ = std::move(active);
}

bool Replication::is_name_of_another(const std::string& name, MemberId id) {
    return std::ranges::any_of(members_.rows(), [&](const Member& row) {
        return row.id != id && row.counts() && row.name == name;
    });
}

// What a hub has said of an edge stands until something newer is said: it has that durably, or is another one by then. One
// that is not yet a member writes already; when it is gone and its name is another's, nobody waits for it.
void Replication::add_edges(std::vector<CutMember>& members, MonoTime now) {
    for (const auto& [id, report] : edges_) {
        const Member* row = members_.find(id);
        if (row != nullptr && (row->role != Role::edge || superseded(*row, now))) continue;
        if (row == nullptr && now > report.heard_at + kSilentMax &&
            is_name_of_another(report.name, id))
            continue;
        MonoTime since = report.heard_at;
        if (const auto active = active_.find(id); active != active_.end())
            since = std::max(since, active->second.since);
        const bool counts =
            (row == nullptr || row->counts()) && now <= since + options_.edge_silent_max;
        const Claim* claim = report.claim.get();
        members.push_back({counts, report.writer, claim != nullptr ? &claim->least : nullptr,
                           claim != nullptr ? &claim->known : nullptr, report.holds});
    }
    for (const auto& [link, peer] : peers_) {
        const MemberId id = member_of(peer.who.writer);
        if (peer.tie != Tie::edge || edges_.contains(id) || members_.find(id) != nullptr) continue;
        if (peer.up || !is_name_of_another(peer.who.name, id))
            members.push_back(
                {.counts = peer.up, .writer = peer.who.writer, .holds = peer.who.holds});
    }
}

void Replication::update_stable_cut(MonoTime now) {
    cut_at_ = now;
    note_active(now);
    if (options_.role == Role::edge) return;  // its hub tells it
    std::vector<CutMember> members;
    for (const auto& [link, peer] : peers_) {
        if (peer.tie == Tie::edge) continue;
        const Member* row = row_of(peer);
        if (row != nullptr && row->role == Role::edge) continue;  // it was a core before
        if (replaced(peer) || (row != nullptr && superseded(*row, now))) continue;
        members.push_back({counts(peer, now), peer.who.writer,
                           has_said(peer) ? &peer.durable : nullptr, nullptr, holdings_of(peer)});
    }
    if (!taken(Shortcut::edges_unheard)) add_edges(members, now);
    // Those of the table that this process has not met.
    for (const Member& row : members_.rows()) {
        if (row.id == member_of(store_.self()) || superseded(row, now) ||
            (row.role == Role::edge ? edges_.contains(row.id) : peer_of_member(row) != nullptr))
            continue;
        const bool waited_for =
            row.counts() && now <= active_.at(row.id).since + silent_max(row.role);
        const ReplicaId writer{std::uint64_t{row.id.value} << 32};  // one of its ids
        members.push_back({.counts = waited_for, .writer = writer, .holds = row.holds});
    }
    store_.set_stable_cut(cut_.step(
        {store_.self(), store_.slot_shard_count(), store_.options().holds}, store_.durable_clocks(),
        members, [this](const ShardClocks& clocks) { return store_.covers(clocks); }));
}

}  // namespace skerry
