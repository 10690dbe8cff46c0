// The part of node/replication.hpp that tells the store what is stable.
#include <algorithm>

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
        if (const auto active = active_since_.find(row->id); active != active_since_.end())
            since = std::max(since, active->second);
    }
    return now <= since + options_.member_silent_max;
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

// Since when each of the others is active, as far as this process knows.
void Replication::note_active(MonoTime now) {
    std::map<MemberId, MonoTime> active;
    for (const Member& row : members_.rows()) {
        if (row.id == member_of(store_.self()) || !row.counts()) continue;
        const auto since = active_since_.find(row.id);
        active[row.id] = since == active_since_.end() ? now : since->second;
    }
    active_since_ = std::move(active);
}

void Replication::update_stable_cut(MonoTime now) {
    cut_at_ = now;
    note_active(now);
    std::vector<CutMember> members;
    for (const auto& [link, peer] : peers_) {
        const Member* row = row_of(peer);
        if (replaced(peer) || (row != nullptr && superseded(*row, now))) continue;
        members.push_back(
            {counts(peer, now), peer.who.writer, has_said(peer) ? &peer.durable : nullptr});
    }
    // Those of the table that this process has not met.
    for (const Member& row : members_.rows()) {
        if (row.id == member_of(store_.self()) || superseded(row, now) ||
            peer_of_member(row) != nullptr)
            continue;
        const bool waited_for =
            row.counts() && now <= active_since_.at(row.id) + options_.member_silent_max;
        members.push_back({.counts = waited_for, .writer = {}, .durable = nullptr});
    }
    store_.set_stable_cut(
        cut_.step(store_.self(), store_.durable_clocks(), members,
                  [this](const ShardClocks& clocks) { return store_.covers(clocks); }));
}

}  // namespace skerry
