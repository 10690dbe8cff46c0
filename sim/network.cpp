#include "sim/network.hpp"

#include <algorithm>

namespace skerry::sim {

namespace {
constexpr Millis kRetry = 150;

NodeIndex node_of(std::string_view address) {
    return static_cast<NodeIndex>(
        std::stoull(std::string(address.substr(4, address.find(':') - 4))));
}
}  // namespace

std::string gossip_address(NodeIndex node) { return "node" + std::to_string(node) + ":1"; }
std::string publish_address(NodeIndex node) { return "node" + std::to_string(node) + ":2"; }

void SimTransport::connect(LinkId link, std::string_view gossip_address) {
    links_[link].peer = node_of(gossip_address);
    links_[link].peer_boot = 0;
    network_.try_link(self_, link, boot_);
}

void SimTransport::subscribe(LinkId link, std::string_view) { links_[link].subscribed = true; }

void SimTransport::disconnect(LinkId link) { links_.erase(link); }

void SimTransport::send(LinkId link, std::string bytes) {
    const auto found = links_.find(link);
    if (found == links_.end() || found->second.peer_boot == 0) return;
    Incoming incoming{
        .kind = IncomingKind::request, .link = {}, .connection = {}, .bytes = std::move(bytes)};
    incoming.connection.bytes =
        std::to_string(self_) + " " + std::to_string(boot_) + " " + std::to_string(link.value);
    network_.pass(self_, found->second.peer, std::move(incoming), found->second.peer_boot, true);
}

void SimTransport::reply(ConnectionToken to, std::string bytes) {
    std::size_t end = 0;
    std::string_view rest = to.bytes;
    std::uint64_t fields[3];
    for (std::uint64_t& field : fields) {
        field = std::stoull(std::string(rest), &end);
        rest.remove_prefix(end);
    }
    Incoming incoming{.kind = IncomingKind::reply,
                      .link = LinkId{fields[2]},
                      .connection = {},
                      .bytes = std::move(bytes)};
    network_.pass(self_, fields[0], std::move(incoming), fields[1], true);
}

void SimTransport::publish(std::string bytes) {
    for (const auto& [node, host] : network_.hosts_) {
        if (host.transport == nullptr) continue;
        for (const auto& [link, state] : host.transport->links_)
            if (state.subscribed && state.peer == self_)
                network_.pass(self_, node, {IncomingKind::published, link, {}, bytes}, host.boot,
                              false);
    }
}

std::unique_ptr<SimTransport> Network::boot(NodeIndex node) {
    Host& host = hosts_[node];
    host.boot = ++boots_;
    auto transport = std::make_unique<SimTransport>(*this, node, host.boot);
    host.transport = transport.get();
    return transport;
}

void Network::stopped(NodeIndex node) {
    hosts_[node].transport = nullptr;
    for (auto& [other, host] : hosts_) {
        if (host.transport == nullptr) continue;
        for (auto& [link, state] : host.transport->links_) {
            if (state.peer != node || state.peer_boot == 0) continue;
            state.peer_boot = 0;
            schedule_(delay(), [this, other, link, boot = host.boot] {
                if (!running(other, boot)) return;
                deliver_(other, {IncomingKind::link_down, link, {}, "closed"});
                if (running(other, boot)) try_link(other, link, boot);
            });
        }
    }
}

bool Network::running(NodeIndex node, std::uint64_t boot) const {
    const auto found = hosts_.find(node);
    return found != hosts_.end() && found->second.transport != nullptr &&
           found->second.boot == boot;
}

void Network::try_link(NodeIndex from, LinkId link, std::uint64_t boot) {
    schedule_(delay() + delay(), [this, from, link, boot] {
        if (!running(from, boot)) return;
        auto& links = hosts_[from].transport->links_;
        const auto found = links.find(link);
        if (found == links.end() || found->second.peer_boot != 0) return;
        const NodeIndex to = found->second.peer;
        const Host& peer = hosts_[to];
        if (peer.transport == nullptr || unreachable.contains(to) || cuts.contains({from, to}) ||
            cuts.contains({to, from})) {
            schedule_(kRetry, [this, from, link, boot] { try_link(from, link, boot); });
            return;
        }
        found->second.peer_boot = peer.boot;
        deliver_(from, {IncomingKind::link_up, link, {}, {}});
    });
}

std::vector<std::string> Network::wire(NodeIndex from, NodeIndex to, std::string bytes) {
    if (cuts.contains({from, to}) || random_.percent(faults.loss_percent)) return {};
    std::vector<std::string> copies(random_.percent(faults.duplicate_percent) ? 2 : 1, bytes);
    if (random_.percent(faults.bit_error_percent)) {
        std::string& damaged = copies.front();
        damaged[random_.below(damaged.size())] ^= static_cast<char>(1 << random_.below(8));
    }
    return copies;
}

Millis Network::in_order(NodeIndex from, NodeIndex to) {
    Millis& at = order_[{from, to}];
    at = std::max(at, now_ + delay());
    return at - now_;
}

void Network::pass(NodeIndex from, NodeIndex to, Incoming incoming, std::uint64_t to_boot,
                   bool ordered) {
    for (std::string& copy : wire(from, to, std::move(incoming.bytes))) {
        Incoming frame{incoming.kind, incoming.link, incoming.connection, std::move(copy)};
        schedule_(ordered ? in_order(from, to) : delay(),
                  [this, to, to_boot, frame = std::move(frame)]() mutable {
                      if (running(to, to_boot)) deliver_(to, std::move(frame));
                  });
    }
}

}  // namespace skerry::sim
