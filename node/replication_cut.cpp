// The part of node/replication.hpp that tells the store what is stable.
#include <algorithm>

#include "node/replication.hpp"

namespace skerry {

namespace {
constexpr std::uint64_t lineage(ReplicaId id) { return id.value >> 32; }
}  // namespace

// A late heartbeat of an earlier boot, or one from before a snapshot was restored, says more than is there now.
bool Replication::has_said(const Peer& peer) const {
    return peer.reported && peer.greeted && peer.reported_by == peer.who.nonce;
}

bool Replication::counts(const Peer& peer, MonoTime now) const {
    return now <= std::max(peer.known_since, peer.heard_at) + options_.member_silent_max;
}

// The same node is heard at another address.
bool Replication::replaced(const Peer& peer) const {
    if (peer.who.writer == ReplicaId{}) return false;
    return std::ranges::any_of(peers_, [&](const auto& pair) {
        const Peer& other = pair.second;
        return lineage(other.who.writer) == lineage(peer.who.writer) && other.greeted &&
               other.heard_at > peer.heard_at + kSilentMax;
    });
}

void Replication::update_stable_cut(MonoTime now) {
    cut_at_ = now;
    std::vector<CutMember> members;
    for (const auto& [link, peer] : peers_)
        if (!replaced(peer))
            members.push_back(
                {counts(peer, now), peer.who.writer, has_said(peer) ? &peer.durable : nullptr});
    store_.set_stable_cut(
        cut_.step(store_.self(), store_.durable_clocks(), members,
                  [this](const ShardClocks& clocks) { return store_.covers(clocks); }));
}

}  // namespace skerry
