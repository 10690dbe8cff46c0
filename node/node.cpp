#include "node/node.hpp"

#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>

#include "crdt/hash.hpp"
#include "node/system.hpp"

namespace skerry {

namespace {
constexpr std::chrono::milliseconds kTick{20};
constexpr std::chrono::milliseconds kCheckpointRetry{1000};
constexpr std::chrono::milliseconds kCheckpointRetryFull{5000};  // it writes until nothing fits
constexpr std::chrono::milliseconds kBrake{1};
constexpr MonoTime kFenceStands{300};
constexpr std::size_t kSaveRows = 200;  // a round: some 0.1 ms
constexpr std::size_t kSaveRowsOverloaded = 100'000;
constexpr std::size_t kEvictRows = 2000;
constexpr std::size_t kExpireKeys = 200;
constexpr std::size_t kStagedLeaves = 250;
constexpr std::size_t kPurgeLeaves = 500;
constexpr std::size_t kReclaimedRows = 100;         // a round,
constexpr std::size_t kReclaimedRowsOfTick = 1000;  // and a tick: nobody waits for them
constexpr std::uint64_t kDiskReserveBytes = std::uint64_t{128} << 20;  // two log segments
// Of blocks that the log has, on a full disk: below it removals are refused, too, and keys are hidden, not expired.
constexpr std::uint64_t kLogRoomMin = std::uint64_t{8} << 20;
// On a full disk checkpoints come sooner: each lets go of the log before it.
constexpr std::uint64_t kFullCheckpointBytes = std::uint64_t{1} << 20;

// Without a gossip address a node speaks to nobody.
class NoTransport final : public Transport {
  public:
    void connect(LinkId, std::string_view) override {}
    void subscribe(LinkId, std::string_view) override {}
    void disconnect(LinkId) override {}
    void send(LinkId, std::string) override {}
    void reply(ConnectionToken, std::string) override {}
    void publish(std::string) override {}
    [[nodiscard]] std::vector<Incoming> poll() override { return {}; }
    [[nodiscard]] TransportCounters counters() const override { return {}; }
};

Holdings holdings_of(const Config& config) {
    Holdings holds{.main = config.holds_main, .domains = {}};
    for (const DomainRule& rule : config.domains) holds.domains.push_back(rule.number);
    std::ranges::sort(holds.domains);
    return holds;
}
}  // namespace

Result<std::unique_ptr<Node>> Node::open(Config config, LogAdapter& log, Fences fences) {
    std::unique_ptr<Node> node(new Node(std::move(config), log, std::move(fences)));
    if (auto opened = node->open_store(); !opened) return std::unexpected(opened.error());
    if (auto opened = node->open_ports(); !opened) return std::unexpected(opened.error());
    return node;
}

Result<void> Node::open_store() {
    const std::filesystem::path directory(config_.dir);
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) return fail(Code::io_failed, config_.dir + ": " + error.message());
    auto lock = DirectoryLock::take(directory);
    if (!lock) return std::unexpected(lock.error());
    lock_.emplace(std::move(*lock));
    auto kv = LmdbKv::open(directory, {});
    if (!kv) return std::unexpected(kv.error());
    kv_ = std::move(*kv);
    auto log = FileLog::open(directory / "log", {.sync = config_.durability != Durability::none});
    if (!log) return std::unexpected(log.error());
    log_ = std::move(*log);
    const auto identity = open_identity(directory, random_bits);
    if (!identity) return std::unexpected(identity.error());
    identity_ = *identity;
    StoreOptions options{.self = {},
                         .nonce = random_bits() | 1,
                         .shard_count = config_.shard_count,
                         .holds = holdings_of(config_),
                         .hash_seed = hash64(config_.cluster),
                         .memory_bytes = config_.memory_bytes,
                         .drift_max = config_.drift_max};
    auto store = open_own_store(directory, identity_, *log_, *kv_, options, wall_now());
    if (!store) return std::unexpected(store.error());
    store_ = std::move(*store);
    if (const auto why = refusal_of(*store_, config_.domains)) return fail(Code::refused, *why);
    database_ = std::make_unique<Database>(*store_);
    commands_ = std::make_unique<Commands>(*database_, *this, random_bits());
    metrics_ = std::make_unique<NodeMetrics>(commands_->table());
    log_adapter_.take({NoteLevel::info,
                       "store_opened",
                       {{"dir", config_.dir},
                        {"writer", identity_.writer.text()},
                        {"new_incarnation", identity_.fresh_incarnation ? "yes" : "no"},
                        {"why", identity_.why},
                        {"log", std::to_string(store_->durable().value)}}});
    return {};
}

Result<void> Node::open_ports() {
    ServerOptions options;
    options.clients_max = config_.clients_max;
    options.idle_timeout = config_.idle_timeout;
    auto server =
        Server::create(options, *this, [this](const Note& note) { log_adapter_.take(note); });
    if (!server) return std::unexpected(server.error());
    server_ = std::move(*server);
    for (const HostPort& address : config_.listen) {
        const auto port = server_->listen(address.host, address.port);
        if (!port && port.error().code == Code::unsupported) {  // a machine without IPv6, say
            log_adapter_.take({NoteLevel::warn,
                               "not_listening",
                               {{"address", address.text()}, {"why", port.error().where}}});
            continue;
        }
        if (!port) return std::unexpected(port.error());
        log_adapter_.take(
            {NoteLevel::info, "listening", {{"address", HostPort{address.host, *port}.text()}}});
    }
    if (auto opened = open_replication(); !opened) return opened;
    return open_http();
}

Result<void> Node::open_replication() {
    ReplicationOptions replication;
    replication.cluster = config_.cluster;
    replication.name = config_.name;
    replication.region = config_.region;
    replication.role = config_.role;
    replication.random_seed = random_bits();
    replication.member_silent_max = config_.member_silent_max;
    replication.edge_silent_max = config_.edge_silent_max;
    replication.aside = [this](Worker::Task work, Worker::Task then) {
        pull_worker_->post([this, work = std::move(work), then = std::move(then)] {
            work();
            server_->post(then);
        });
    };
    if (fences_.count > 0)
        replication.found[fences_.shown_by] =
            "it showed that this node's writer id was used elsewhere (" + fences_.why +
            "): this node goes on as " + identity_.writer.text();
    replication.repairs = config_.repairs;
    replication.domains = config_.domains;
    replication.client_address =
        config_.announce ? config_.announce->text() : config_.listen.front().text();
    if (config_.gossip || config_.role == Role::edge) {
        auto transport = ZmqTransport::open(
            {.gossip_bind = config_.gossip ? config_.gossip->text() : std::string(),
             .publish_bind = config_.publish ? config_.publish->text() : std::string(),
             .name = config_.name},
            [this] {
                server_->post([this] {
                    for (Incoming& incoming : transport_->poll())
                        replication_->receive(std::move(incoming), mono());
                });
            });
        if (!transport) return std::unexpected(transport.error());
        transport_ = std::move(*transport);
        replication.gossip_address = transport_->gossip_address();
        replication.publish_address = transport_->publish_address();
    } else {
        no_transport_ = std::make_unique<NoTransport>();
    }
    for (const HostPort& peer : config_.peers) replication.seeds.push_back(peer.text());
    Transport& transport = transport_ ? static_cast<Transport&>(*transport_) : *no_transport_;
    replication_ =
        std::make_unique<Replication>(*store_, *log_, *kv_, transport, std::move(replication));
    database_->set_rules(replication_->domains());
    return {};
}

Result<void> Node::open_http() {
    if (!config_.http) return {};
    HttpPages pages{
        .metrics = [this] { return metrics_->text(); },
        .health =
            [this] {
                if (disk_full_)
                    return Health{.healthy = false, .text = "{\"status\":\"disk full\"}\n"};
                if (catching_up_)
                    return Health{.healthy = false, .text = "{\"status\":\"catching up\"}\n"};
                return Health{.healthy = true, .text = "{\"status\":\"ok\"}\n"};
            }};
    auto http = HttpServer::start(config_.http->host, config_.http->port, std::move(pages));
    if (!http) return std::unexpected(http.error());
    http_.emplace(std::move(*http));
    return {};
}

// ---- rounds

MonoTime Node::mono() const {
    return std::chrono::duration_cast<MonoTime>(
        std::chrono::steady_clock::now().time_since_epoch());
}

void Node::execute(Connection& connection, std::span<const std::string_view> arguments) {
    commands_->execute(connection, arguments);
}

void Node::closed(Connection& connection) {
    std::erase_if(waiting_,
                  [&](const Waiting& waiting) { return waiting.connection == connection.id(); });
}

void Node::end_of_round() {
    store_->set_now(wall_now());
    // Rounds follow one another while one of these has more to do: little in each, so that no client waits for it.
    if (!failed_ && store_->step_staged(kStagedLeaves)) server_->post([] {});
    if (!failed_ && store_->step_purge(kPurgeLeaves)) server_->post([] {});
    if (step_reclaim()) server_->post([] {});
    step_flush();
    commit(CommitWhen::none_under_way);
    if (step_save(kSaveRows)) server_->post([] {});
    store_->end_round();
    flush_notes();
    store_->evict(kEvictRows);
    if (store_->overloaded() && !failed_) {
        // Checkpoints are behind: everybody is slowed, so that memory does not grow.
        begin_checkpoint();
        (void)step_save(kSaveRowsOverloaded);
        std::this_thread::sleep_for(kBrake);
    }
    if (store_->halted() && !failed_) {
        failed_ = *store_->halted();
        log_adapter_.take({NoteLevel::error, "halted", {{"why", failed_->text()}}});
        stop();
    }
}

void Node::step_flush() {
    if (flushing_.empty() || failed_) return;
    Flushing& first = flushing_.front();
    const auto refusal = refused(Writes::all);
    if (!refusal && !database_->flush_some(first.rest, Flush::kKeysAtOnce))
        return server_->post([] {});
    if (Connection* connection = server_->find(first.connection)) {
        refusal ? connection->reply().error(*refusal) : connection->reply().ok();
        if (store_->applied() > store_->durable()) connection->hold_until(store_->applied());
        Commands::session_of(*connection).last_write = store_->applied();
        connection->unblock();
    }
    flushing_.pop_front();
    if (!flushing_.empty()) server_->post([] {});
}

void Node::commit(CommitWhen when) {
    if (failed_ || replication_->fenced() ||
        (committer_->busy() && when == CommitWhen::none_under_way))
        return;
    auto sealed = store_->seal();
    if (!sealed) return;
    commits_began_us_.push_back(mono_us());
    committer_->commit(std::move(*sealed));
}

void Node::commit_done(const Commit& commit, const Result<void>& outcome) {
    const std::uint64_t took_us = mono_us() - commits_began_us_.front();
    commits_began_us_.pop_front();
    if (!outcome) return log_failed(outcome.error());
    ++commits_;
    metrics_->committed(commit.frames.size(), took_us * 1000);
    log_bytes_ += commit.frames.size();
    store_->committed(commit);
    server_->release(store_->durable());
    replication_->committed(commit, mono());
}

// ---- time

std::optional<int> Node::run() {
    committer_ = std::make_unique<Committer>(
        *log_, config_.durability,
        Committer::Hooks{.post = [this](auto task) { server_->post(std::move(task)); },
                         .done = [this](const auto& commit,
                                        const auto& outcome) { commit_done(commit, outcome); }});
    checkpoint_worker_ = std::make_unique<Worker>();
    pull_worker_ = std::make_unique<Worker>();
    check_disk();
    server_->every(kTick, [this] { tick(); });
    server_->every(std::chrono::seconds(1), [this] { tick_second(); });
    started_ = mono();
    replication_->start(mono());
    catching_up_ = config_.refuse_until_synced && replication_->catching_up(mono()).has_value();
    server_->post([] {});  // the boot record is the first commit
    server_->run();
    return finish();
}

void Node::tick() {
    store_->set_now(wall_now());
    replication_->tick(mono());
    if (database_->rules().all().size() != replication_->domains().all().size())
        database_->set_rules(replication_->domains());
    catching_up_ = config_.refuse_until_synced && replication_->catching_up(mono()).has_value();
    reclaim_left_ = kReclaimedRowsOfTick;
    if (!log_full()) database_->expire_some(kExpireKeys);
    serve_waiting();
    serve_verification();
    step_leave();
    begin_checkpoint();
    if (!waiting_.empty() || leaving_) replication_->ask_clocks();
    if (replication_->fenced()) step_fence();
}

void Node::step_fence() {
    if (!fenced_at_) fenced_at_ = mono();
    if (committer_->busy() || mono() < *fenced_at_ + kFenceStands) return;
    server_->fail_held_from(store_->durable().next(),
                            "ERR the node takes a new writer id: this write was not made");
    stop();
}

void Node::sync_log() {
    committer_->sync([this](const Result<void>& synced) {
        if (!synced) log_failed(synced.error());
    });
}

void Node::log_failed(const Error& error) {
    if (failed_) return;  // what waits behind a failed commit fails, too
    failed_ = error;
    log_adapter_.take({NoteLevel::error, "log_failed", {{"why", error.text()}}});
    server_->fail_held_from(store_->durable().next(),
                            "ERR the write could not be made durable: " + error.text());
    stop();
}

void Node::check_disk() {
    struct statvfs disk{};
    if (::statvfs(config_.dir.c_str(), &disk) != 0) return;
    const bool little = std::uint64_t{disk.f_bavail} * disk.f_frsize < kDiskReserveBytes;
    const bool full = little || checkpoint_starved_;
    prepare_log();
    if (full == disk_full_) return;
    disk_full_ = full;
    log_adapter_.take({full ? NoteLevel::error : NoteLevel::info,
                       full ? "disk_full" : "disk_has_room",
                       {{"dir", config_.dir}, {"writes", full ? "refused" : "accepted"}}});
    replication_->pause(full, mono());
}

void Node::prepare_log() {
    if (preparing_log_ || log_->has_next()) return;
    preparing_log_ = true;
    checkpoint_worker_->post([this] {
        const auto prepared = log_->prepare_next();
        server_->post([this, prepared] {
            preparing_log_ = false;
            if (!prepared) log_failed(prepared.error());
        });
    });
}

bool Node::log_full() const { return disk_full_ && log_->reserved_bytes() < kLogRoomMin; }

std::optional<std::string> Node::refused(Writes writes) const {
    if (replication_->fenced()) return "ERR the node takes a new writer id: try again";
    if (const auto no = not_member()) return no;
    if (log_full())
        return "MISCONF the disk of " + config_.dir +
               " is full, and the log's own blocks are nearly used up: reads work";
    if (!disk_full_ || writes == Writes::all) return std::nullopt;
    const std::string what =
        checkpoint_starved_ ? " has no room for a checkpoint" : " has less than 128 MiB left";
    return "MISCONF the disk of " + config_.dir + what +
           ": writes are refused, reads and deletes work";
}

std::optional<std::string> Node::clients_refused() const {
    if (!catching_up_) return std::nullopt;
    return "LOADING Skerry is catching up: " +
           replication_->catching_up(mono()).value_or("it has just finished");
}

void Node::flush_notes() {
    for (const Note& note : replication_->take_notes()) log_adapter_.take(note);
}

// ---- checkpoints

void Node::begin_checkpoint() {
    if (failed_ || replication_->fenced() || store_->freezing()) return;
    const bool long_log = store_->stats().log_bytes_since_checkpoint >= kFullCheckpointBytes;
    const bool wanted =
        store_->wants_checkpoint() ||
        ((replication_->wants_checkpoint() || (disk_full_ && long_log)) && store_->has_changes());
    if (!wanted) return;
    commit(CommitWhen::now);  // only with nothing open is the state that of one log position
    if (!store_->sealed()) return;
    store_->freeze();
    checkpoint_began_us_ = mono_us();
}

// True: there is more to save.
bool Node::step_save(std::size_t row_count) {
    if (failed_ || replication_->fenced() || !store_->freezing() || checkpoint_writing_ ||
        mono() < checkpoint_retry_at_)
        return false;
    if (!store_->save_some(row_count)) return true;
    if (store_->durable() >= store_->image()->covered()) write_checkpoint();
    return false;
}

// True: there is more to reclaim in this tick.
bool Node::step_reclaim() {
    if (failed_ || reclaim_left_ == 0) return false;
    const std::size_t row_count = std::min(reclaim_left_, kReclaimedRows);
    reclaim_left_ = store_->reclaim_some(row_count) ? reclaim_left_ - row_count : 0;
    return reclaim_left_ > 0;
}

void Node::write_checkpoint() {
    checkpoint_writing_ = true;
    // Nothing grows while writes are refused: what is left to write are removals, and they must not
    // be kept from making room.
    const KvRoom room = disk_full_ ? KvRoom::with_reserve : KvRoom::ordinary;
    // The ordered store may never be ahead of a log that a power cut takes back.
    committer_->sync([this, room](const Result<void>& synced) {
        if (!synced) return log_failed(synced.error());
        checkpoint_worker_->post([this, room, image = store_->image()] {
            const Result<void> written = image->write(*kv_, room);
            server_->post([this, written] { checkpoint_written(written); });
        });
    });
}

void Node::checkpoint_written(Result<void> outcome) {
    checkpoint_writing_ = false;
    if (!outcome) {
        log_adapter_.take(
            {NoteLevel::error, "checkpoint_failed", {{"why", outcome.error().text()}}});
        checkpoint_starved_ = outcome.error().code == Code::out_of_space;
        checkpoint_retry_at_ =  // the image stays
            mono() + (checkpoint_starved_ ? kCheckpointRetryFull : kCheckpointRetry);
        check_disk();
        return;
    }
    checkpoint_starved_ = false;
    metrics_->checkpointed(store_->image()->row_count(), (mono_us() - checkpoint_began_us_) * 1000);
    auto image = store_->image();
    const LogPosition needed = store_->checkpointed();
    // Giving back its memory takes tens of milliseconds: not here.
    checkpoint_worker_->post([image = std::move(image)] {});
    replication_->checkpointed();
    last_checkpoint_seconds_ = store_->now().count() / 1000;
    drop_old_log(needed);
    check_disk();
}

void Node::drop_old_log(LogPosition needed) {
    // On a full disk nothing is kept for peers: they pull what they miss.
    const std::uint64_t keep = disk_full_ ? 0 : config_.log_keep_bytes;
    log_marks_.emplace_back(needed, log_bytes_);
    while (log_marks_.size() > 1 && log_bytes_ - log_marks_[1].second >= keep)
        log_marks_.pop_front();
    const auto& [position, bytes] = log_marks_.front();
    if (log_bytes_ - bytes < keep) return;
    if (auto dropped = log_->drop_before(std::min(position, needed)); !dropped)
        log_adapter_.take({NoteLevel::warn, "log_not_dropped", {{"why", dropped.error().text()}}});
}

// No command is executed any more: all that was is committed, so that its replies go out.
void Node::ending() {
    commit(CommitWhen::now);
    committer_->end();
}

std::optional<int> Node::finish() {
    // The server has ended: nothing posted is executed any more, so what is left is done here, in
    // order.
    pull_worker_.reset();
    checkpoint_worker_.reset();
    committer_.reset();
    http_.reset();
    transport_.reset();
    if (failed_) return 1;
    if (replication_->fenced()) return std::nullopt;  // the identity stays unclean
    const auto give_up = [this](const Error& error) -> int {
        log_adapter_.take({NoteLevel::error, "not_ended_cleanly", {{"why", error.text()}}});
        return 1;
    };
    if (auto synced = log_->sync(); !synced) return give_up(synced.error());
    while (auto sealed = store_->seal()) {
        if (auto appended = log_->append(sealed->frames, sealed->last); !appended)
            return give_up(appended.error());
        if (auto synced = log_->sync(); !synced) return give_up(synced.error());
    }
    const std::uint64_t events = own_events(*store_);
    store_.reset();
    if (auto marked = mark_clean(config_.dir, identity_.writer, events); !marked)
        return give_up(marked.error());
    log_adapter_.take({NoteLevel::info, "stopped", {{"dir", config_.dir}}});
    return 0;
}

Node::Fences Node::fences() const {
    Fences all = fences_;
    if (!replication_->fenced()) return all;
    return {all.count + 1, *replication_->fenced(), replication_->fenced_by()};
}

Node::~Node() = default;

}  // namespace skerry
