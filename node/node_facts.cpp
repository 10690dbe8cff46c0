// The part of node/node.hpp that answers for the node: INFO, CONFIG, metrics, peers, and clients that wait.
#include "node/node_facts.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "crdt/types/value.hpp"
#include "node/clock_token.hpp"
#include "node/glob.hpp"
#include "node/node.hpp"
#include "node/verdict_reply.hpp"

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

// In the words that Redis has for a replica: what it reads when its master sends it everything.
void add_sync(Lines& out, const std::vector<SyncStatus>& rows) {
    const SyncStatus* const pull = pull_among(rows);
    out.add("master_sync_in_progress", pull != nullptr ? 1 : 0);
    if (pull == nullptr) return;
    out.add("master_sync_peer", pull->peer);
    out.add("master_sync_read_bytes", pull->bytes);
    out.add("master_sync_read_leaves", pull->leaves);
    if (pull->leaves_left >= 0)
        out.add("master_sync_left_leaves", static_cast<std::uint64_t>(pull->leaves_left));
    if (pull->eta_ms >= 0)
        out.add("master_sync_eta_seconds", static_cast<std::uint64_t>(pull->eta_ms / 1000));
}

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
        out.add("loading", catching_up_ ? 1 : 0);
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
        add_sync(out, replication_->syncs(mono()));
    } else if (section == "cpu") {
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        out.add("used_cpu_sys", seconds_of(usage.ru_stime));
        out.add("used_cpu_user", seconds_of(usage.ru_utime));
    } else if (section == "cluster") {
        out.add("cluster_enabled", 1);
    } else if (section == "crdt") {
        return crdt_info();
    }
    return out.take();
}

void Node::reset_stats() { commands_->reset_stats(); }

// ---- metrics: the same figures as INFO crdt

NodeReadings Node::readings() const {
    NodeReadings now;
    now.commands = commands_->executed();
    now.commits = commits_;
    now.commit_bytes = log_bytes_;
    now.log_bytes = log_->bytes_kept();
    now.clients = server_->connection_count();
    now.clients_accepted = server_->counters().connections_accepted;
    now.clients_refused = server_->counters().connections_refused;
    now.clients_cut = server_->counters().connections_cut;
    now.writes_refused = disk_full_;
    now.store = store_->stats();
    now.tombstones = store_->tombstone_count();
    now.stable_lag_events = stable_lag();
    now.replication = replication_->counters();
    now.fences = fences().count;
    if (transport_) now.transport = transport_->counters();
    now.peers = replication_->peers(mono());
    now.syncs = replication_->syncs(mono());
    now.catching_up = replication_->catching_up(mono()).has_value();
    now.command_stats = commands_->stats();
    return now;
}

// Events durable here that are not known to be everywhere: their markers stay.
std::uint64_t Node::stable_lag() const {
    std::uint64_t events = 0;
    for (const auto& [shard, clock] : store_->durable_clocks()) events += clock.event_count();
    if (const auto& cut = store_->stable_cut())
        for (const auto& [shard, clock] : cut->clocks) events -= clock.event_count();
    return events;
}

std::string Node::crdt_info() const {
    Lines out;
    const NodeReadings now = readings();
    out.add("role", std::string(name_of(config_.role)));
    out.add("writer", identity_.writer.text());
    out.add("new_incarnation", identity_.fresh_incarnation ? 1 : 0);
    out.add("identity_why", identity_.why);
    out.add("fenced", replication_->fenced() ? 1 : 0);
    if (now.fences > 0) out.add("last_fence_why", fences().why);
    for (const auto& figure : NodeMetrics::counters(now)) out.add(figure.name, figure.value);
    for (const auto& figure : NodeMetrics::gauges(now)) out.add(figure.name, figure.value);
    for (std::size_t i = 0; i < now.peers.size(); ++i) {
        const PeerStatus& peer = now.peers[i];
        out.add("peer" + std::to_string(i),
                "name=" + peer.name + ",role=" + std::string(name_of(peer.role)) +
                    ",address=" + peer.address + ",link=" + peer.link + ",phase=" + peer.phase +
                    ",lag_events=" + std::to_string(peer.lag_events) + ",lag_bytes=" +
                    std::to_string(peer.lag.bytes) + ",lag_ms=" + std::to_string(peer.lag.ms));
    }
    return out.take();
}

void Node::tick_second() {
    check_disk();
    if (config_.durability == Durability::interval) sync_log();
    metrics_->publish(readings());
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
    offer("replica-serve-stale-data", config_.refuse_until_synced ? "no" : "yes");
    return fields;
}

Result<void> Node::config_set(std::string_view key, std::string_view value) {
    if (key == "member-silent-ms" || key == "edge-silent-ms") {
        const auto number = value::parse_integer(value);
        if (!number || *number < kMemberSilentMsMin)
            return fail(Code::malformed, "a number of milliseconds, " +
                                             std::to_string(kMemberSilentMsMin) + " or more");
        key == "edge-silent-ms" ? replication_->set_edge_silent_max(MonoTime(*number))
                                : replication_->set_member_silent_max(MonoTime(*number));
        config_.text[std::string(key)] = value;
        return {};
    }
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
                        {"role", std::string(name_of(peer.role))},
                        {"address", peer.address},
                        {"writer", peer.writer.text()},
                        {"link", peer.link},
                        {"phase", peer.phase},
                        {"lag_events", std::to_string(peer.lag_events)},
                        {"lag_bytes", std::to_string(peer.lag.bytes)},
                        {"lag_ms", std::to_string(peer.lag.ms)},
                        {"parked_bytes", std::to_string(peer.parked_bytes)},
                        {"silent_ms", std::to_string(peer.silent_ms)},
                        {"clock_ms", std::to_string(peer.clock_ms)},
                        {"cut", peer.cut},
                        {"trouble", peer.trouble},
                        {"found", peer.found}});
    return rows;
}

std::vector<TextFields> Node::syncs() const {
    std::vector<TextFields> rows;
    for (const SyncStatus& sync : replication_->syncs(mono()))
        rows.push_back({{"peer", sync.peer},
                        {"direction", sync.direction},
                        {"phase", sync.phase},
                        {"reason", sync.reason},
                        {"session", std::to_string(sync.session)},
                        {"leaves", std::to_string(sync.leaves)},
                        {"bytes", std::to_string(sync.bytes)},
                        {"leaves_left", std::to_string(sync.leaves_left)},
                        {"started_ms", std::to_string(store_->now().count() - sync.since_ms)},
                        {"bytes_per_second", std::to_string(sync.bytes_per_second)},
                        {"eta_ms", std::to_string(sync.eta_ms)}});
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
        // An edge knows none but its hub, and the others do not know it: it is for clients of its own place.
        if (peer.region != config_.region || peer.link != "up" || peer.role == Role::edge ||
            config_.role == Role::edge)
            continue;
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
    // What is not held here cannot be read here either.
    if (clocks) std::erase_if(*clocks, [&](const auto& at) { return !store_->holds(at.first); });
    if (!clocks) return connection.reply().error("ERR invalid clock token");
    Waiting waiting{.connection = connection.id(),
                    .clocks = std::move(*clocks),
                    .replicas = std::nullopt,
                    .until = std::nullopt};
    if (timeout_ms > 0) waiting.until = mono() + MonoTime(timeout_ms);
    connection.block();
    waiting_.push_back(std::move(waiting));
}

void Node::verify(Connection& connection, std::optional<std::string_view> peer, bool repairs) {
    switch (replication_->verify(peer, repairs, mono())) {
        case Replication::VerifyStart::no_such_peer:
            return connection.reply().error("ERR no such peer");
        case Replication::VerifyStart::under_way:
            return connection.reply().error(
                "BUSY a comparison is under way: the log has its progress");
        case Replication::VerifyStart::begun:
            connection.block();
            verifying_ = connection.id();
    }
}

void Node::flush(Connection& connection, const Flush& flush) {
    connection.block();
    flushing_.push_back({.connection = connection.id(), .rest = flush});
}

void Node::serve_verification() {
    const auto verdicts = replication_->take_verdicts();
    if (!verdicts) return;
    Connection* connection = server_->find(verifying_);
    if (connection == nullptr) return;  // it has gone; the log has it
    reply_verdicts(connection->reply(), *verdicts);
    connection->unblock();
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
