// node/node_metrics.hpp — every metric of a node: its name, its help, and the figure it shows.
//
// Table    docs/OPERATIONS.md documents each; tests/node/node_metrics_test.cpp compares the names.
// Peers    a row each, labelled with the peer's name and its address: a name may be unknown yet, or used twice.
// Thread   core thread; text() any.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "net/transport.hpp"
#include "node/commands.hpp"
#include "node/metrics.hpp"
#include "node/replication.hpp"

namespace skerry {

// What the parts of a node have counted.
struct NodeReadings {
    std::uint64_t commands = 0;
    std::uint64_t commits = 0;
    std::uint64_t commit_bytes = 0;
    std::uint64_t log_bytes = 0;
    std::uint64_t fences = 0;
    std::uint64_t clients = 0;
    std::uint64_t clients_accepted = 0;
    std::uint64_t clients_refused = 0;
    std::uint64_t clients_cut = 0;
    bool writes_refused = false;
    StoreStats store;
    ReplicationCounters replication;
    TransportCounters transport;
    std::vector<PeerStatus> peers;
    std::vector<SyncStatus> syncs;
    bool catching_up = false;  // since the start
    std::span<const CommandStats> command_stats;
};

class NodeMetrics {
  public:
    struct Figure {
        const char* name;
        const char* help;
        std::uint64_t value;
    };
    // Those without labels, which INFO crdt shows, too.
    [[nodiscard]] static std::vector<Figure> counters(const NodeReadings& readings);
    [[nodiscard]] static std::vector<Figure> gauges(const NodeReadings& readings);

    // Lifetime: `commands` outlives this.
    explicit NodeMetrics(const CommandTable& commands);

    void committed(std::uint64_t bytes, std::uint64_t nanoseconds);
    void checkpointed(std::uint64_t rows, std::uint64_t nanoseconds);
    // Makes text() show these. Requires: command_stats by CommandTable::index_of().
    void publish(const NodeReadings& readings);
    [[nodiscard]] std::string text() const { return metrics_.text(); }

  private:
    struct CommandIds {
        Metrics::HistogramId seconds;
        Metrics::CounterId rejected;
    };
    struct PeerTable {
        Metrics::TableId id;
        double (*value)(const PeerStatus& peer);
    };

    Metrics metrics_;
    std::vector<Metrics::CounterId> counters_;  // in the order of counters()
    std::vector<Metrics::GaugeId> gauges_;      // in the order of gauges()
    std::vector<CommandIds> commands_;          // by CommandTable::index_of()
    std::vector<PeerTable> peers_;
    Metrics::HistogramId commit_seconds_, commit_bytes_, checkpoint_seconds_, checkpoint_rows_;
};

}  // namespace skerry
