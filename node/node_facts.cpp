// The part of node/node.hpp that answers for the node: INFO, CONFIG, metrics, peers, and clients that wait.
#include "node/node_facts.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "node/clock_token.hpp"
#include "node/glob.hpp"
#include "node/node.hpp"

namespace skerry {

namespace {

class Lines {
  public:
    void add(std::string_view key, std::string_view value) {
        text_.append(key).append(":").append(value).append("\r\n");
    }
    void add(std::string_view key, std::uint64_t value) { add(key, std::to_string(value)); }
    [[nodiscard]] std::string take() { return std::move(text_); }

  private:
    std::string text_;
};

std::string seconds_of(const timeval& time) {
    char text[32];
    std::snprintf(text, sizeof text, "%lld.%06lld", static_cast<long long>(time.tv_sec),
                  static_cast<long long>(time.tv_usec));
    return text;
}

std::string hex40(std::uint64_t high, std::uint64_t low) {
    char text[48];
    std::snprintf(text, sizeof text, "%016llx%016llx%08llx", static_cast<unsigned long long>(high),
                  static_cast<unsigned long long>(low),
                  static_cast<unsigned long long>(high >> 32));
    return text;
}

}  // namespace

std::string Node::run_id() const { return hex40(identity_.writer.value, store_->options().nonce); }

std::uint64_t Node::mono_us() const {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

std::uint64_t Node::uptime_seconds() const {
    return static_cast<std::uint64_t>((mono() - started_).count()) / 1000;
}

// ---- INFO

std::string Node::info(std::string_view section) const {
    Lines out;
    if (section == "server") {
        out.add("redis_version", "7.0.15");
        out.add("skerry_version", SKERRY_VERSION);
        out.add("redis_mode", "cluster");
        out.add("arch_bits", "64");
        out.add("process_id", static_cast<std::uint64_t>(::getpid()));
        out.add("run_id", run_id());
        out.add("tcp_port", config_.listen.front().port);
        out.add("uptime_in_seconds", uptime_seconds());
        out.add("uptime_in_days", uptime_seconds() / 86400);
        out.add("node_name", config_.name);
        out.add("region", config_.region);
    } else if (section == "clients") {
        out.add("connected_clients", server_->connection_count());
        out.add("maxclients", config_.clients_max);
        out.add("blocked_clients", waiting_.size());
    } else if (section == "memory") {
        out.add("used_memory", store_->stats().memory_bytes);
        out.add("maxmemory", config_.memory_bytes);
        out.add("maxmemory_policy", "noeviction");
        out.add("evicted_to_disk", store_->stats().evicted);
        out.add("cache_misses", store_->stats().cache_misses);
    } else if (section == "persistence") {
        out.add("loading", 0);
        out.add("durability", config_.text.at("durability"));
        out.add("rdb_last_save_time", static_cast<std::uint64_t>(last_checkpoint_seconds_));
        out.add("rdb_bgsave_in_progress", checkpoint_writing_ ? 1 : 0);
        out.add("aof_enabled", 1);
        out.add("log_last_position", store_->durable().value);
        out.add("log_bytes", log_->bytes_kept());
        out.add("checkpoints", store_->stats().checkpoints);
        out.add("checkpoint_covers", store_->stats().covered.value);
        out.add("commits", commits_);
        out.add("writes_refused", disk_full_ ? 1 : 0);
    } else if (section == "stats") {
        out.add("total_connections_received", server_->counters().connections_accepted);
        out.add("total_commands_processed", commands_->executed());
        out.add("total_net_input_bytes", server_->counters().input_bytes);
        out.add("total_net_output_bytes", server_->counters().output_bytes);
        out.add("rejected_connections", server_->counters().connections_refused);
    } else if (section == "replication") {
        out.add("role", "master");
        out.add("connected_slaves", 0);
        out.add("master_replid", run_id());
    } else if (section == "cpu") {
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        out.add("used_cpu_sys", seconds_of(usage.ru_stime));
        out.add("used_cpu_user", seconds_of(usage.ru_utime));
    } else if (section == "cluster") {
        out.add("cluster_enabled", 1);
    } else if (section == "crdt") {
        out.add("writer", identity_.writer.text());
        for (const Figure& figure : counters())
            out.add(figure.name, static_cast<std::uint64_t>(figure.value));
        for (const Figure& figure : gauges())
            out.add(figure.name, static_cast<std::uint64_t>(figure.value));
    }
    return out.take();
}

void Node::reset_stats() { commands_->reset_stats(); }

// ---- metrics: the same figures as INFO crdt

std::vector<Node::Figure> Node::counters() const {
    const ReplicationCounters& net = replication_->counters();
    const StoreStats& store = store_->stats();
    const auto count = [](std::uint64_t value) { return static_cast<double>(value); };
    return {
        {"skerry_commands_total", "Commands executed.", count(commands_->executed())},
        {"skerry_commits_total", "Commits made durable.", count(commits_)},
        {"skerry_commit_bytes_total", "Bytes appended to the log.", count(log_bytes_)},
        {"skerry_checkpoints_total", "Checkpoints written.", count(store.checkpoints)},
        {"skerry_cache_misses_total", "Rows read from the ordered store.",
         count(store.cache_misses)},
        {"skerry_evicted_total", "Rows dropped from memory, kept on disk.", count(store.evicted)},
        {"skerry_clocks_ahead_total", "Clock readings too far in the future.",
         count(store.clocks_ahead)},
        {"skerry_batches_published_total", "Batches published.", count(net.published)},
        {"skerry_batches_applied_total", "Batches of peers applied.", count(net.batches_applied)},
        {"skerry_batches_parked_total", "Batches that waited for dependencies.",
         count(net.batches_parked)},
        {"skerry_batches_dropped_total", "Duplicates, and batches beyond the bounds.",
         count(net.batches_dropped)},
        {"skerry_fetches_total", "Requests for missed log positions.", count(net.fetches)},
        {"skerry_pulls_total", "Pulls begun.", count(net.pulls)},
        {"skerry_pulled_leaves_total", "Leaves staged by pulls.", count(net.pulled_leaves)},
        {"skerry_flips_total", "Pulls finished.", count(net.flips)},
        {"skerry_peer_bytes_in_total", "Bytes received from peers.",
         count(transport_ ? transport_->counters().bytes_in : 0)},
        {"skerry_peer_bytes_out_total", "Bytes sent to peers.",
         count(transport_ ? transport_->counters().bytes_out : 0)},
        {"skerry_malformed_total", "Frames and batches refused.", count(net.malformed)},
        {"skerry_refused_total", "Greetings refused, by either side.", count(net.refused)},
        {"skerry_fences_total", "Writer ids given up, since they were used elsewhere too.",
         count(fences_ + net.fences)},
        {"skerry_divergence_alarms_total", "Equal clocks with unequal digests.",
         count(net.divergence_alarms)}};
}

std::vector<Node::Figure> Node::gauges() const {
    double lag = 0;
    for (const PeerStatus& peer : replication_->peers(mono()))
        lag = std::max(lag, static_cast<double>(peer.lag_events));
    return {
        {"skerry_clients", "Connected clients.", static_cast<double>(server_->connection_count())},
        {"skerry_memory_bytes", "Memtable and cache.",
         static_cast<double>(store_->stats().memory_bytes)},
        {"skerry_log_bytes", "Log kept.", static_cast<double>(log_->bytes_kept())},
        {"skerry_peer_lag_events_max", "Events that the slowest peer lacks.", lag},
        {"skerry_writes_refused", "1 while the disk is nearly full.", disk_full_ ? 1.0 : 0.0}};
}

void Node::register_metrics() {
    for (const Figure& figure : counters())
        counter_ids_.push_back(metrics_.counter(figure.name, figure.help));
    for (const Figure& figure : gauges())
        gauge_ids_.push_back(metrics_.gauge(figure.name, figure.help));
    for (const Command& command : commands_->table().all()) {
        const Metrics::Labels label{{"command", std::string(command.name)}};
        call_ids_.push_back(metrics_.counter("skerry_command_calls_total", "Calls.", label));
        microsecond_ids_.push_back(metrics_.counter("skerry_command_microseconds_total",
                                                    "Time in which calls ran.", label));
    }
}

void Node::tick_second() {
    check_disk();
    if (config_.durability == Durability::interval) sync_log();
    const auto counted = counters();
    const auto measured = gauges();
    for (std::size_t i = 0; i < counted.size(); ++i)
        metrics_.set(counter_ids_[i], static_cast<std::uint64_t>(counted[i].value));
    for (std::size_t i = 0; i < measured.size(); ++i)
        metrics_.set(gauge_ids_[i], measured[i].value);
    const auto commands = commands_->stats();
    for (std::size_t i = 0; i < commands.size(); ++i) {
        metrics_.set(call_ids_[i], commands[i].calls);
        metrics_.set(microsecond_ids_[i], commands[i].microseconds);
    }
    metrics_.publish();
}

// ---- settings

TextFields Node::config_get(std::string_view pattern) const {
    TextFields fields;
    const auto offer = [&](const std::string& key, const std::string& value) {
        if (glob_matches(pattern, key, GlobCase::insensitive)) fields.emplace_back(key, value);
    };
    for (const auto& [key, value] : config_.text)
        if (key != "password") offer(key, value);
    // What Redis clients and redis-benchmark ask for.
    offer("appendonly", "yes");
    offer("save", "");
    offer("databases", std::to_string(kDatabaseCount));
    offer("maxmemory", std::to_string(config_.memory_bytes));
    return fields;
}

Result<void> Node::config_set(std::string_view key, std::string_view value) {
    if (key != "log-level") return fail(Code::unsupported, std::string(key));
    const auto level = parse_note_level(value);
    if (!level) return std::unexpected(level.error());
    log_adapter_.set_level(*level);
    config_.text["log-level"] = value;
    return {};
}

std::optional<std::string> Node::password() const {
    if (config_.password.empty()) return std::nullopt;
    return config_.password;
}

// ---- peers

std::vector<TextFields> Node::peers() const {
    std::vector<TextFields> rows;
    for (const PeerStatus& peer : replication_->peers(mono()))
        rows.push_back({{"name", peer.name},
                        {"region", peer.region},
                        {"address", peer.address},
                        {"writer", peer.writer.text()},
                        {"link", peer.link},
                        {"phase", peer.phase},
                        {"lag_events", std::to_string(peer.lag_events)},
                        {"lag_bytes", std::to_string(peer.lag.bytes)},
                        {"lag_ms", std::to_string(peer.lag.ms)},
                        {"parked_bytes", std::to_string(peer.parked_bytes)},
                        {"silent_ms", std::to_string(peer.silent_ms)},
                        {"trouble", peer.trouble}});
    return rows;
}

std::vector<NodeAddress> Node::nodes(const Connection& connection) const {
    NodeAddress self{.id = run_id(), .host = {}, .port = 0};
    // What the client has reached is reachable for it.
    const auto local = parse_host_port(connection.info().local);
    if (config_.announce)
        self.host = config_.announce->host, self.port = config_.announce->port;
    else if (local)
        self.host = local->host, self.port = local->port;
    std::vector<NodeAddress> nodes{self};
    for (const PeerStatus& peer : replication_->peers(mono())) {
        if (peer.region != config_.region || peer.link != "up") continue;
        if (const auto address = parse_host_port(peer.client_address))
            nodes.push_back(
                {hex40(peer.writer.value, peer.writer.value), address->host, address->port});
    }
    return nodes;
}

// ---- clients that wait

void Node::wait(Connection& connection, std::int64_t replicas, std::int64_t timeout_ms) {
    Waiting waiting{
        .connection = connection.id(), .clocks = {}, .replicas = replicas, .until = std::nullopt};
    if (Commands::session_of(connection).last_write.value != 0)
        for (const auto& [shard, clock] : store_->clocks())
            if (const Seq own = clock.at(store_->self()); own.value != 0)
                waiting.clocks.emplace_back(shard, VersionVector{{store_->self(), own}});
    if (timeout_ms > 0) waiting.until = mono() + MonoTime(timeout_ms);
    connection.block();
    waiting_.push_back(std::move(waiting));
    replication_->ask_clocks();
}

void Node::barrier(Connection& connection, std::string_view token, std::int64_t timeout_ms) {
    auto clocks = decode_clock_token(token);
    if (!clocks) return connection.reply().error("ERR invalid clock token");
    Waiting waiting{.connection = connection.id(),
                    .clocks = std::move(*clocks),
                    .replicas = std::nullopt,
                    .until = std::nullopt};
    if (timeout_ms > 0) waiting.until = mono() + MonoTime(timeout_ms);
    connection.block();
    waiting_.push_back(std::move(waiting));
}

bool Node::answered(const Waiting& waiting) {
    Connection* connection = server_->find(waiting.connection);
    if (connection == nullptr) return true;
    const bool late = waiting.until && mono() >= *waiting.until;
    if (waiting.replicas) {
        const auto reached =
            static_cast<std::int64_t>(replication_->peers_covering(waiting.clocks));
        if (reached < *waiting.replicas && !late) return false;
        connection->reply().integer(reached);
    } else {
        const bool covered = store_->durably_covers(waiting.clocks);
        if (!covered && !late) return false;
        if (covered)
            connection->reply().ok();
        else
            connection->reply().error("TIMEOUT this node has not seen all of it yet");
    }
    connection->unblock();
    return true;
}

void Node::serve_waiting() {
    std::erase_if(waiting_, [this](const Waiting& waiting) { return answered(waiting); });
}

}  // namespace skerry
