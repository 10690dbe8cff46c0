// node/node.hpp — the process: a store over files, a client port, peers over ZeroMQ, and the threads between them.
//
// Round    commands execute against memory; at the round's end the open commit is sealed, if none is under way, and handed
//          to the commit thread (append, fdatasync); when it is durable, replies go out, then batches are published.
// Threads  core (this class, the server), commit, checkpoint, pulls of others, ZeroMQ, HTTP. Only posted tasks cross into the core.
// Failure  a log that cannot be written ends the process with an error: what was acknowledged is on disk. A disk that is
//          nearly full, or too full for a checkpoint, is noticed before that: writes get an error, reads and deletes go
//          on, and checkpoints may use what is kept back.
#pragma once

#include <atomic>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>

#include "net/zmq_transport.hpp"
#include "node/commands.hpp"
#include "node/committer.hpp"
#include "node/config.hpp"
#include "node/http.hpp"
#include "node/log_adapter.hpp"
#include "node/node_metrics.hpp"
#include "node/own_store.hpp"
#include "node/replication.hpp"
#include "node/server.hpp"
#include "node/worker.hpp"
#include "store/directory_lock.hpp"
#include "store/file_log.hpp"
#include "store/lmdb_kv.hpp"

namespace skerry {

class Node final : public CommandSink, public NodeFacts {
  public:
    // How often this process has begun anew since its writer id was used elsewhere, and what showed it last.
    struct Fences {
        std::uint64_t count = 0;
        std::string why;
        std::string shown_by;  // a peer's name
    };
    // Opens everything and listens. Errors: with a sentence for the operator.
    [[nodiscard]] static Result<std::unique_ptr<Node>> open(Config config, LogAdapter& log,
                                                            Fences fences);
    ~Node() override;

    // Until a signal or SHUTDOWN; then what is written is made durable, and who waits for that gets the reply.
    // The exit code; nullopt: the writer id is used elsewhere too, and the node must be opened again, which
    // takes a new one.
    std::optional<int> run();
    void stop() noexcept { server_->stop(); }  // also from a signal handler
    // After run() has said that the node must be opened again: for that.
    [[nodiscard]] Fences fences() const;

    // CommandSink
    void execute(Connection& connection, std::span<const std::string_view> arguments) override;
    void end_of_round() override;
    void ending() override;
    void closed(Connection& connection) override;

    // NodeFacts
    [[nodiscard]] std::string name() const override { return config_.name; }
    [[nodiscard]] std::string region() const override { return config_.region; }
    [[nodiscard]] std::string cluster() const override { return config_.cluster; }
    [[nodiscard]] std::string run_id() const override;
    [[nodiscard]] std::uint64_t uptime_seconds() const override;
    [[nodiscard]] std::uint64_t mono_us() const override;
    [[nodiscard]] std::int64_t last_checkpoint_seconds() const override {
        return last_checkpoint_seconds_;
    }
    [[nodiscard]] std::string info(std::string_view section) const override;
    void reset_stats() override;
    [[nodiscard]] TextFields config_get(std::string_view pattern) const override;
    [[nodiscard]] Result<void> config_set(std::string_view key, std::string_view value) override;
    [[nodiscard]] std::optional<std::string> password() const override;
    [[nodiscard]] std::vector<Connection*> clients() override { return server_->connections(); }
    void shutdown() override { stop(); }
    [[nodiscard]] std::optional<std::string> clients_refused() const override;
    [[nodiscard]] std::optional<std::string> refused(Writes writes) const override;
    void wait(Connection& connection, std::int64_t replicas, std::int64_t timeout_ms) override;
    void barrier(Connection& connection, std::string_view token, std::int64_t timeout_ms) override;
    [[nodiscard]] std::vector<TextFields> peers() const override;
    [[nodiscard]] std::vector<TextFields> syncs() const override;
    [[nodiscard]] bool set_link(std::string_view peer, bool up) override {
        return replication_->set_cut(peer, !up);
    }
    [[nodiscard]] std::vector<MemberStatus> members() override {
        return replication_->members(mono());
    }
    [[nodiscard]] Result<void> forget(std::string_view name) override {
        return replication_->forget(name, mono());
    }
    void leave(Connection& connection, std::int64_t timeout_ms) override;
    void verify(Connection& connection, std::optional<std::string_view> peer,
                bool repairs) override;
    void flush(Connection& connection, const Flush& flush) override;
    [[nodiscard]] std::vector<NodeAddress> nodes(const Connection& connection) const override;

  private:
    // A client that waits: for replicas (WAIT) or for this node (CRDT.BARRIER).
    struct Waiting {
        std::uint64_t connection = 0;
        ShardClocks clocks;
        std::optional<std::int64_t> replicas;
        std::optional<MonoTime> until;
    };

    // FLUSHDB or FLUSHALL under way; it ends though its client may have gone.
    struct Flushing {
        std::uint64_t connection = 0;
        Flush rest;
    };

    // CRDT.LEAVE under way.
    struct Leaving {
        std::uint64_t connection = 0;
        ShardClocks
            clocks;  // that others must have: first all that is here, then the word that this node has left
        std::optional<MonoTime> until;
        bool marked = false;
    };

    Node(Config config, LogAdapter& log, Fences fences)
        : config_(std::move(config)), log_adapter_(log), fences_(std::move(fences)) {}
    [[nodiscard]] Result<void> open_store();
    [[nodiscard]] Result<void> open_ports();
    [[nodiscard]] Result<void> open_replication();
    [[nodiscard]] Result<void> open_http();
    [[nodiscard]] NodeReadings readings() const;
    [[nodiscard]] std::string crdt_info() const;
    [[nodiscard]] std::uint64_t stable_lag() const;

    // As a rule commits gather while one is under way; a checkpoint cannot wait for that.
    enum class CommitWhen : std::uint8_t { none_under_way, now };
    void commit(CommitWhen when);
    void commit_done(const Commit& commit, const Result<void>& outcome);
    void tick();
    void tick_second();
    void check_disk();
    void prepare_log();
    // Is the disk full, and will the blocks that the log has not do?
    [[nodiscard]] bool log_full() const;
    void sync_log();
    void log_failed(const Error& error);
    void begin_checkpoint();
    bool step_save(std::size_t row_count);
    bool step_reclaim();
    void write_checkpoint();
    void checkpoint_written(Result<void> outcome);
    void drop_old_log(LogPosition needed);
    void serve_waiting();
    void serve_verification();
    void step_flush();
    void step_leave();
    // Why nothing at all may be written, since nobody would ever hear of it.
    [[nodiscard]] std::optional<std::string> not_member() const;
    void reply_leaving(std::optional<std::string_view> error);
    [[nodiscard]] bool answered(const Waiting& waiting);
    void flush_notes();
    // A fenced node refuses writes for a moment, in which it tells callers why; then it ends.
    void step_fence();
    [[nodiscard]] std::optional<int> finish();
    [[nodiscard]] MonoTime mono() const;

    Config config_;
    LogAdapter& log_adapter_;
    std::optional<DirectoryLock> lock_;
    Identity identity_;
    std::unique_ptr<FileLog> log_;
    std::unique_ptr<LmdbKv> kv_;
    std::unique_ptr<Store> store_;
    std::unique_ptr<Database> database_;
    std::unique_ptr<Commands> commands_;
    std::unique_ptr<Server> server_;
    std::unique_ptr<ZmqTransport> transport_;
    std::unique_ptr<Transport> no_transport_;
    std::unique_ptr<Replication> replication_;
    std::optional<HttpServer> http_;

    std::size_t reclaim_left_ = 0;  // rows, in this tick
    bool checkpoint_writing_ = false;
    bool checkpoint_starved_ = false;  // the last one found no room
    MonoTime checkpoint_retry_at_{};
    std::optional<Error> failed_;
    Fences fences_;  // before this opening
    std::optional<MonoTime> fenced_at_;
    std::atomic<bool> disk_full_{false};
    std::atomic<bool> catching_up_{false};  // and clients are refused
    bool preparing_log_ = false;
    std::uint64_t log_bytes_ = 0;  // appended since the start
    std::deque<std::pair<LogPosition, std::uint64_t>> log_marks_;
    std::int64_t last_checkpoint_seconds_ = 0;
    std::vector<Waiting> waiting_;
    std::deque<Flushing> flushing_;  // one after the other
    std::optional<Leaving> leaving_;
    std::uint64_t verifying_ = 0;  // the connection that waits for verdicts
    std::uint64_t commits_ = 0;
    MonoTime started_{};

    std::unique_ptr<NodeMetrics> metrics_;
    std::deque<std::uint64_t> commits_began_us_;  // of those that are not done
    std::uint64_t checkpoint_began_us_ = 0;

    // Last, so that they end first.
    std::unique_ptr<Committer> committer_;
    std::unique_ptr<Worker> checkpoint_worker_;
    std::unique_ptr<Worker> pull_worker_;  // reads what others pull
};

}  // namespace skerry
