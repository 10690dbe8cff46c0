// sim/network.hpp — the simulated wire: delay, loss, duplication, reordering of what is published, cuts, bit errors.
//
// Links    a node's connection to an address stands while the peer lives; it comes back by itself.
// Cut      one direction of one pair: frames vanish, and nobody is told.
// Order    requests and replies of one pair keep their order (they are TCP); published frames do not.
// Boots    requests and replies die with either process; a published frame may outlive its publisher.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>

#include "net/transport.hpp"
#include "sim/random.hpp"

namespace skerry::sim {

using Millis = std::int64_t;
using NodeIndex = std::size_t;

struct NetworkFaults {
    std::uint64_t loss_percent = 0;
    std::uint64_t duplicate_percent = 0;
    std::uint64_t bit_error_percent = 0;
    Millis delay_min = 1;
    Millis delay_max = 20;
};

class Network;

class SimTransport final : public Transport {
  public:
    SimTransport(Network& network, NodeIndex self, std::uint64_t boot)
        : network_(network), self_(self), boot_(boot) {}

    void connect(LinkId link, std::string_view gossip_address) override;
    void subscribe(LinkId link, std::string_view publish_address) override;
    void disconnect(LinkId link) override;
    void send(LinkId link, std::string bytes) override;
    void reply(ConnectionToken to, std::string bytes) override;
    void publish(std::string bytes) override;
    [[nodiscard]] std::vector<Incoming> poll() override {
        return {};
    }  // the world hands frames over one by one
    [[nodiscard]] TransportCounters counters() const override { return counters_; }

  private:
    friend class Network;
    struct Link {
        NodeIndex peer = 0;
        std::uint64_t peer_boot = 0;  // 0: down
        bool subscribed = false;
    };
    Network& network_;
    NodeIndex self_;
    std::uint64_t boot_;
    std::map<LinkId, Link> links_;
    TransportCounters counters_;
};

[[nodiscard]] std::string gossip_address(NodeIndex node);
[[nodiscard]] std::string publish_address(NodeIndex node);

class Network {
  public:
    using Schedule = std::function<void(Millis delay, std::function<void()> action)>;
    using Deliver = std::function<void(NodeIndex to, Incoming incoming)>;

    Network(Random& random, Schedule schedule, Deliver deliver)
        : random_(random), schedule_(std::move(schedule)), deliver_(std::move(deliver)) {}

    NetworkFaults faults;
    std::set<std::pair<NodeIndex, NodeIndex>> cuts;  // from, to
    std::set<NodeIndex> unreachable;  // nobody can connect to them: they stand behind NAT

    [[nodiscard]] std::unique_ptr<SimTransport> boot(NodeIndex node);
    void stopped(NodeIndex node);

  private:
    friend class SimTransport;
    struct Host {
        std::uint64_t boot = 0;
        SimTransport* transport = nullptr;  // nullptr: not running
    };
    // What of a frame reaches the other side: nothing, once or twice, perhaps damaged.
    std::vector<std::string> wire(NodeIndex from, NodeIndex to, std::string bytes);
    Millis delay() {
        return static_cast<Millis>(random_.between(faults.delay_min, faults.delay_max));
    }
    Millis in_order(NodeIndex from, NodeIndex to);
    void pass(NodeIndex from, NodeIndex to, Incoming incoming, std::uint64_t to_boot, bool ordered);
    void try_link(NodeIndex from, LinkId link, std::uint64_t boot);
    [[nodiscard]] bool running(NodeIndex node, std::uint64_t boot) const;

    Random& random_;
    Schedule schedule_;
    Deliver deliver_;
    std::map<NodeIndex, Host> hosts_;
    std::uint64_t boots_ = 0;
    Millis now_ = 0;
    std::map<std::pair<NodeIndex, NodeIndex>, Millis>
        order_;  // when the pair's last ordered frame arrives

  public:
    void set_now(Millis now) { now_ = now; }
};

}  // namespace skerry::sim
