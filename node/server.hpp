// node/server.hpp — the client port: sockets, rounds, timers, and work handed over by other threads.
//
// Round    wait -> posted work and due timers -> read every ready socket and execute its whole commands ->
//          sink.end_of_round() -> write what may be sent. One read and one write per readable client; one epoll_wait
//          and one end_of_round for all of them, so that many clients share one commit.
// Fair     a client is read at most kReadBytes a round (kReadBulkBytes while a long argument arrives), and all that is
//          whole in it is executed.
// Bounded  clients, unsent output (a slow client is cut off with a note), unexecuted input; see ServerOptions.
// Why not  Asio: measured on a par (GET, 50 clients: 0.53 us of CPU a command here, 0.57 there with pipelines of 16;
//          without pipelines the difference is lost in the noise), but a wait through it costs one epoll_ctl more per
//          request, and the end of a round, on which group commit rests, would have to be built around it.
// Thread   everything on the thread that calls run(), before run() on the one that will; post() and stop() from any.
#pragma once

#include <atomic>
#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "crdt/result.hpp"
#include "node/connection.hpp"
#include "node/note.hpp"
#include "node/socket.hpp"

namespace skerry {

struct ServerOptions {
    std::size_t clients_max = 10000;
    std::size_t output_bytes_max = 256 * 1024 * 1024;
    std::chrono::seconds keepalive{300};   // 0 = none
    std::chrono::seconds idle_timeout{0};  // 0 = none
};

struct ServerCounters {
    std::uint64_t connections_accepted = 0;
    std::uint64_t connections_refused = 0;
    std::uint64_t connections_cut = 0;  // for a limit
    std::uint64_t input_bytes = 0;
    std::uint64_t output_bytes = 0;
    std::uint64_t rounds = 0;
};

class Server final {
  public:
    using Clock = std::chrono::steady_clock;
    using Task = std::function<void()>;
    using NoteTaker = std::function<void(const Note&)>;
    struct TimerId {
        Clock::time_point due;
        std::uint64_t number = 0;
        friend auto operator<=>(const TimerId&, const TimerId&) = default;
    };

    // Lifetime: `sink` outlives the server.   Errors: io_failed.
    [[nodiscard]] static Result<std::unique_ptr<Server>> create(ServerOptions options,
                                                                CommandSink& sink, NoteTaker note);
    ~Server();

    // Starts listening on every address of `host`; port 0 = any free one. The port it has. Errors:
    // see listen_on().
    [[nodiscard]] Result<std::uint16_t> listen(const std::string& host, std::uint16_t port);

    // Until stop(). Then the sink ends its work, and every connection is sent what may be sent, and closed;
    // slow clients are waited for kLastFlush in all.
    void run();
    // Also from a signal handler.
    void stop() noexcept;
    // Has `task` executed at the start of a round. A task posted after run() has returned is never
    // executed.
    void post(Task task);

    TimerId call_at(Clock::time_point due, Task task);
    // Calls `task` every `interval`, counted from the end of the last call; until the server ends.
    void every(Clock::duration interval, Task task);
    void cancel(const TimerId& timer) { timers_.erase(timer); }

    // Everything up to `position` is durable: replies that wait for it go out this round.
    void release(LogPosition position);
    // Nothing from `position` on will become durable: who waits for it gets the error and is
    // disconnected.
    void fail_held_from(LogPosition position, std::string_view error);

    // Lifetime: until closed() is called with it.
    [[nodiscard]] Connection* find(std::uint64_t id);
    // In order of id.
    [[nodiscard]] std::vector<Connection*> connections();
    [[nodiscard]] std::size_t connection_count() const { return clients_.size(); }
    [[nodiscard]] const ServerCounters& counters() const { return counters_; }
    [[nodiscard]] const ServerOptions& options() const { return options_; }
    // When the current round began, on the clock of Connection's mono times.
    [[nodiscard]] std::uint64_t mono_ms() const { return mono_ms_; }

  private:
    static constexpr std::size_t kReadBytes = 64 * 1024;
    static constexpr std::size_t kReadBulkBytes = 1024 * 1024;
    static constexpr std::size_t kEventsMax = 1024;
    static constexpr int kAcceptsPerRound = 1000;
    static constexpr std::chrono::milliseconds kLastFlush{1000};

    struct Watched;
    struct Client;

    Server(ServerOptions options, CommandSink& sink, NoteTaker note, Fd epoll, Fd wakeup);

    [[nodiscard]] int wait_ms() const;
    void round(int timeout_ms);
    void run_posted();
    void run_timers();
    void accept_clients(Watched& listener);
    void admit(Accepted accepted);
    void read_client(Client& client);
    void resume_clients();
    void flush_clients();
    void settle(Client& client);
    void write_client(Client& client);
    void say_farewell(Client& client, Clock::time_point until);
    void watch(Client& client);
    void close_client(Client& client);
    void close_idle();
    void update_clock();

    ServerOptions options_;
    CommandSink& sink_;
    NoteTaker note_;
    Fd epoll_;
    Fd wakeup_;
    std::vector<std::unique_ptr<Watched>> listeners_;
    std::map<std::uint64_t, std::unique_ptr<Client>> clients_;
    std::vector<Client*> attended_;   // have something to do at the end of this round
    std::vector<Client*> resumable_;  // have whole commands left over for the next round
    std::vector<std::unique_ptr<Client>>
        closed_;  // until the end of the round, since the lists may name them
    std::map<std::uint64_t, Client*> holding_;  // have replies that wait for release()
    std::map<TimerId, Task> timers_;
    std::uint64_t timers_made_ = 0;
    std::uint64_t clients_made_ = 0;
    std::unique_ptr<char[]> scratch_;
    ServerCounters counters_;
    std::uint64_t mono_ms_ = 0;
    LogPosition released_;

    std::atomic<bool> stopping_{false};
    std::atomic<bool> posted_flag_{false};
    std::mutex posted_mutex_;
    std::vector<Task> posted_;
};

}  // namespace skerry
