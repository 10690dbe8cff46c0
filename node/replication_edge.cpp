// The part of node/replication.hpp by which an edge has one hub: it dials one, and the next one when that is silent.
//
// Order    those of the configuration first, then the hubs of the table of members. It stays with one that works.
// Position in the log of each boot that it followed: back there, it goes on from it.
#include <algorithm>

#include "node/replication.hpp"

namespace skerry {

namespace {
constexpr MonoTime kRefusedFor{5000};  // by a hub: then the next one is asked
constexpr MonoTime kJitterMax{2000};   // all edges of a hub lose it at once
constexpr std::size_t kFollowedMax = 16;
}  // namespace

Replication::Peer* Replication::hub() {
    if (options_.role != Role::edge || peers_.empty()) return nullptr;
    return &peers_.begin()->second;
}

std::vector<std::string> Replication::hub_addresses() {
    std::vector<std::string> addresses = options_.seeds;
    for (const Member& row : members_.rows())
        if (row.role == Role::hub && row.counts() &&
            std::ranges::find(addresses, row.gossip_address) == addresses.end())
            addresses.push_back(row.gossip_address);
    return addresses;
}

void Replication::step_hub(MonoTime now) {
    if (options_.role != Role::edge || gone_) return;
    const Peer* before = hub();
    if (before != nullptr) {
        // One that is called in vain, or refuses, is no hub to wait for.
        const MonoTime since =
            before->greeted ? std::max(before->known_since, before->heard_at) : before->known_since;
        if (now < since + (before->refuses.empty() ? hub_patience_ : kRefusedFor)) return;
    }
    const std::vector<std::string> addresses = hub_addresses();
    if (addresses.empty()) return;
    const auto last = std::ranges::find(addresses, hub_address_);
    const bool first = last == addresses.end() || last + 1 == addresses.end();
    const std::string next = first ? addresses.front() : *(last + 1);
    if (before != nullptr) {
        if (next == hub_address_) return;  // there is no other: its link comes back by itself
        if (pull_ && pull_->link == before->link) interrupt_pull("another hub is tried", now);
        if (followed_.size() >= kFollowedMax) followed_.clear();
        if (before->following) followed_[before->nonce] = before->applied;
        note(NoteLevel::warn, "hub_left",
             {{"hub", before->who.name},
              {"address", before->address},
              {"why", before->refuses.empty() ? "silent" : before->refuses},
              {"next", next}});
        ++counters_.hubs_left;
        transport_.disconnect(before->link);
        peers_.clear();
        callers_.clear();
    }
    hub_address_ = next;
    hub_patience_ =
        kSilentMax + MonoTime(random_() % static_cast<std::uint64_t>(kJitterMax.count()));
    peer_at(next, now).tie = Tie::hub;
}

}  // namespace skerry
