#include "node/node_metrics.hpp"

#include <algorithm>

namespace skerry {

std::vector<NodeMetrics::Figure> NodeMetrics::counters(const NodeReadings& now) {
    const ReplicationCounters& net = now.replication;
    const TransportCounters& wire = now.transport;
    return {
        {"skerry_commands_total", "Commands executed.", now.commands},
        {"skerry_clients_accepted_total", "Client connections accepted.", now.clients_accepted},
        {"skerry_clients_refused_total", "Client connections beyond --clients-max.",
         now.clients_refused},
        {"skerry_clients_cut_total", "Clients cut off at a limit.", now.clients_cut},
        {"skerry_commits_total", "Commits made durable.", now.commits},
        {"skerry_commit_bytes_total", "Bytes appended to the log.", now.commit_bytes},
        {"skerry_checkpoints_total", "Checkpoints written.", now.store.checkpoints},
        {"skerry_cache_misses_total", "Rows read from the ordered store.", now.store.cache_misses},
        {"skerry_evicted_total", "Rows dropped from memory, kept on disk.", now.store.evicted},
        {"skerry_clocks_ahead_total", "Clock readings too far in the future.",
         now.store.clocks_ahead},
        {"skerry_batches_published_total", "Batches published.", net.published},
        {"skerry_batches_applied_total", "Batches of peers applied.", net.batches_applied},
        {"skerry_batches_parked_total", "Batches that waited for dependencies.",
         net.batches_parked},
        {"skerry_batches_dropped_total", "Duplicates, and batches beyond the bounds.",
         net.batches_dropped},
        {"skerry_fetches_total", "Requests for missed log positions.", net.fetches},
        {"skerry_pulls_total", "Pulls begun.", net.pulls},
        {"skerry_purged_total", "Traces of removals let go of.", now.store.purged},
        {"skerry_pulls_full_total", "Pulls from behind what the server had purged.",
         now.replication.pulls_full},
        {"skerry_pulls_resumed_total", "Pulls that went on where one had stopped.",
         net.pulls_resumed},
        {"skerry_pulls_moved_total", "Pulls that went on at another boot or another node.",
         net.pulls_moved},
        {"skerry_pulled_bytes_total", "Bytes of pulls as they came over the wire.",
         net.pulled_bytes},
        {"skerry_asked_again_total", "Requests to peers that were not answered in time.",
         net.asked_again},
        {"skerry_flips_total", "Pulls finished.", net.flips},
        {"skerry_pulled_leaves_total", "Leaves staged by pulls.", net.pulled_leaves},
        {"skerry_drained_leaves_total", "Leaves of large flips that have joined.",
         now.store.drained_by_touch + now.store.drained_in_background},
        {"skerry_peer_bytes_in_total", "Bytes received from peers.", wire.bytes_in},
        {"skerry_peer_bytes_out_total", "Bytes sent to peers.", wire.bytes_out},
        {"skerry_peer_frames_dropped_total",
         "Frames to and from peers for which there was no room.",
         wire.published_dropped + wire.sends_dropped},
        {"skerry_malformed_total", "Frames and batches refused.",
         net.malformed + wire.frames_refused},
        {"skerry_refused_total", "Greetings refused, by either side.", net.refused},
        {"skerry_strangers_total", "Requests of callers that had not said who they are.",
         net.strangers},
        {"skerry_fences_total", "Writer ids given up, since they were used elsewhere, too.",
         now.fences},
        {"skerry_edge_batches_total", "Batches of edges passed on to the other nodes.",
         net.passed_on},
        {"skerry_hubs_left_total", "Hubs that this edge has left for another one.", net.hubs_left},
        {"skerry_peer_reconnects_total", "New connections to peers that had fallen silent.",
         net.reconnects},
        {"skerry_batches_announced_total", "Batches only announced, since a subscriber is slow.",
         net.announced_for_backlog},
        {"skerry_divergence_alarms_total", "Equal clocks with unequal digests.",
         net.divergence_alarms},
        {"skerry_verify_differences_total", "Shards that a comparison found different or damaged.",
         net.verify_differences},
        {"skerry_repairs_total", "Shards made equal to a peer's after an alarm, or by hand.",
         net.repairs},
        {"skerry_repaired_leaves_total", "Leaves that repairs have changed.", net.repaired_leaves},
        {"skerry_repairs_failed_total", "Repairs that were not done; most are tried again.",
         net.repairs_failed},
        {"skerry_repairs_given_up_total", "Shards that stayed different, left to an operator.",
         net.repairs_given_up}};
}

std::vector<NodeMetrics::Figure> NodeMetrics::gauges(const NodeReadings& now) {
    std::uint64_t lag = 0, parked = 0;
    for (const PeerStatus& peer : now.peers) {
        lag = std::max(lag, peer.lag_events);
        parked += peer.parked_bytes;
    }
    const auto up = std::ranges::count(now.peers, "up", &PeerStatus::link);
    const SyncStatus* const under_way = pull_among(now.syncs);
    const SyncStatus pull = under_way == nullptr ? SyncStatus{} : *under_way;
    const auto served = std::ranges::count(now.syncs, "out", &SyncStatus::direction);
    return {
        {"skerry_clients", "Connected clients.", now.clients},
        {"skerry_catching_up", "1 until it has what its peers had as it started.",
         now.catching_up ? 1U : 0U},
        {"skerry_syncs_in", "1 while a pull is under way.", under_way == nullptr ? 0U : 1U},
        {"skerry_syncs_out", "Pulls of others that were served of late.",
         static_cast<std::uint64_t>(served)},
        {"skerry_sync_leaves", "Leaves that the pull under way has brought.", pull.leaves},
        {"skerry_sync_bytes", "Bytes of it over the wire.", pull.bytes},
        {"skerry_sync_leaves_left", "About so many are to come; 0 also if it is not known.",
         static_cast<std::uint64_t>(std::max<std::int64_t>(pull.leaves_left, 0))},
        {"skerry_memory_bytes", "Memtable and cache.", now.store.memory_bytes},
        {"skerry_draining", "1 while leaves of a large flip have not joined.",
         now.store.draining ? 1U : 0U},
        {"skerry_masked_keys", "Keys whose rows still hold what a clear has removed.",
         now.store.masked_keys},
        {"skerry_masked_databases",
         "Databases of shards whose rows still hold what a clear of them has removed.",
         now.store.masked_databases},
        {"skerry_tombstones", "Removed keys and elements of which a trace is kept.",
         now.tombstones},
        {"skerry_stable_lag_events",
         "Events durable here that are not known to be everywhere: removals among them are kept.",
         now.stable_lag_events},
        {"skerry_members_left_out",
         "Members silent for so long that removals do not wait for them.",
         static_cast<std::uint64_t>(std::ranges::count(now.peers, "out", &PeerStatus::cut))},
        {"skerry_log_bytes", "Log kept.", now.log_bytes},
        {"skerry_log_uncheckpointed_bytes", "Log that a start would replay.",
         now.store.log_bytes_since_checkpoint},
        {"skerry_peers", "Peers known.", now.peers.size()},
        {"skerry_peers_up", "Peers heard of late.", static_cast<std::uint64_t>(up)},
        {"skerry_peer_lag_events_max", "Events that the slowest peer lacks.", lag},
        {"skerry_parked_bytes", "Batches of peers that wait.", parked},
        {"skerry_publish_queued_bytes", "Published, and not yet taken by every subscriber.",
         now.transport.publish_queued_bytes},
        {"skerry_writes_refused", "1 while the disk is nearly full.",
         now.writes_refused ? 1U : 0U}};
}

NodeMetrics::NodeMetrics(const CommandTable& commands) {
    for (const Figure& figure : counters({}))
        counters_.push_back(metrics_.counter(figure.name, figure.help));
    for (const Figure& figure : gauges({}))
        gauges_.push_back(metrics_.gauge(figure.name, figure.help));
    using Unit = Metrics::Unit;
    for (const Command& command : commands.all()) {
        const Metrics::Labels label{{"command", std::string(command.name)}};
        commands_.push_back(
            {metrics_.histogram("skerry_command_seconds",
                                "Time in which a command ran; waiting for its commit is not in it.",
                                Unit::nanoseconds_as_seconds, label),
             metrics_.counter("skerry_command_rejections_total",
                              "Calls refused before they ran: arity, authentication, a full disk.",
                              label)});
    }
    commit_seconds_ = metrics_.histogram(
        "skerry_commit_seconds", "Time until a commit was durable.", Unit::nanoseconds_as_seconds);
    commit_bytes_ =
        metrics_.histogram("skerry_commit_bytes", "Bytes of a commit in the log.", Unit::plain);
    checkpoint_seconds_ =
        metrics_.histogram("skerry_checkpoint_seconds", "Time from freezing to the end of writing.",
                           Unit::nanoseconds_as_seconds);
    checkpoint_rows_ =
        metrics_.histogram("skerry_checkpoint_rows", "Rows of a checkpoint.", Unit::plain);
    const auto peer = [this](const char* name, const char* help,
                             double (*value)(const PeerStatus&)) {
        peers_.push_back({metrics_.table(name, help), value});
    };
    peer("skerry_peer_up", "1 if the peer was heard of late.",
         [](const PeerStatus& p) { return p.link == "up" ? 1.0 : 0.0; });
    peer("skerry_peer_following", "1 while its stream is followed.",
         [](const PeerStatus& p) { return p.phase == "following" ? 1.0 : 0.0; });
    peer("skerry_peer_refused", "1 if it refuses this node or is refused.",
         [](const PeerStatus& p) { return p.trouble.empty() ? 0.0 : 1.0; });
    peer("skerry_peer_lag_events", "Events durable here that it has not reported.",
         [](const PeerStatus& p) { return static_cast<double>(p.lag_events); });
    peer("skerry_peer_lag_bytes", "Bytes of log of this node's writes among them.",
         [](const PeerStatus& p) { return static_cast<double>(p.lag.bytes); });
    peer("skerry_peer_lag_seconds", "Age of the oldest of this node's writes among them.",
         [](const PeerStatus& p) { return static_cast<double>(p.lag.ms) / 1000; });
    peer("skerry_peer_parked_bytes", "Its batches that wait.",
         [](const PeerStatus& p) { return static_cast<double>(p.parked_bytes); });
    peer("skerry_peer_silent_seconds", "Time since it was last heard; -1: never.",
         [](const PeerStatus& p) {
             return p.silent_ms < 0 ? -1.0 : static_cast<double>(p.silent_ms) / 1000;
         });
    peer("skerry_peer_clock_seconds", "Its wall clock less this node's.",
         [](const PeerStatus& p) { return static_cast<double>(p.clock_ms) / 1000; });
}

void NodeMetrics::committed(std::uint64_t bytes, std::uint64_t nanoseconds) {
    metrics_.record(commit_bytes_, bytes);
    metrics_.record(commit_seconds_, nanoseconds);
}

void NodeMetrics::checkpointed(std::uint64_t rows, std::uint64_t nanoseconds) {
    metrics_.record(checkpoint_rows_, rows);
    metrics_.record(checkpoint_seconds_, nanoseconds);
}

void NodeMetrics::publish(const NodeReadings& readings) {
    ASSERT(readings.command_stats.size() == commands_.size());
    const auto counted = counters(readings);
    const auto measured = gauges(readings);
    for (std::size_t i = 0; i < counted.size(); ++i) metrics_.set(counters_[i], counted[i].value);
    for (std::size_t i = 0; i < measured.size(); ++i)
        metrics_.set(gauges_[i], static_cast<double>(measured[i].value));
    for (std::size_t i = 0; i < commands_.size(); ++i) {
        metrics_.set(commands_[i].seconds, readings.command_stats[i].latency);
        metrics_.set(commands_[i].rejected, readings.command_stats[i].rejected);
    }
    for (const PeerTable& table : peers_) {
        std::vector<Metrics::Row> rows;
        for (const PeerStatus& peer : readings.peers)
            rows.push_back({{{"peer", peer.name}, {"address", peer.address}}, table.value(peer)});
        metrics_.set(table.id, std::move(rows));
    }
    metrics_.publish();
}

}  // namespace skerry
