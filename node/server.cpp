// node/server.cpp — the event loop; see the header.
#include "node/server.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "crdt/assert.hpp"

namespace skerry {
namespace {

constexpr std::chrono::milliseconds kAcceptPause{100};

}  // namespace

struct Server::Watched {
    enum class Kind : std::uint8_t { wakeup, listener, client };
    Kind kind;
    Fd fd;
};

struct Server::Client final : Watched, ConnectionDriver {
    Client(Server& owner, Fd socket, ConnectionInfo info)
        : Watched{Kind::client, std::move(socket)},
          server(owner),
          connection(std::move(info), this) {}
    void needs_attention() override { server.attended_.push_back(this); }

    Server& server;
    Connection connection;
    std::uint32_t interest = 0;
    bool closed = false;
};

Result<std::unique_ptr<Server>> Server::create(ServerOptions options, CommandSink& sink,
                                               NoteTaker note) {
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    Fd wakeup(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!epoll.valid() || !wakeup.valid())
        return fail(Code::io_failed, "epoll: " + system_error_text(errno));
    // Edge-triggered: every write to it is an event, and it need never be read.
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
    if (::epoll_ctl(epoll.number(), EPOLL_CTL_ADD, wakeup.number(), &event) != 0) {
        return fail(Code::io_failed, "epoll: " + system_error_text(errno));
    }
    (void)std::signal(SIGPIPE, SIG_IGN);
    constexpr std::size_t kOtherDescriptors = 256;
    const std::size_t descriptors = raise_descriptor_limit(options.clients_max + kOtherDescriptors);
    if (descriptors < options.clients_max + kOtherDescriptors && note) {
        note(Note{NoteLevel::warn,
                  "descriptors_limited",
                  {{"allowed", std::to_string(descriptors)},
                   {"wanted", std::to_string(options.clients_max + kOtherDescriptors)}}});
    }
    return std::unique_ptr<Server>(
        new Server(options, sink, std::move(note), std::move(epoll), std::move(wakeup)));
}

Server::Server(ServerOptions options, CommandSink& sink, NoteTaker note, Fd epoll, Fd wakeup)
    : options_(options),
      sink_(sink),
      note_(note ? std::move(note) : [](const Note&) {}),
      epoll_(std::move(epoll)),
      wakeup_(std::move(wakeup)),
      scratch_(new char[kReadBulkBytes]) {
    update_clock();
    if (options_.idle_timeout.count() > 0) every(std::chrono::seconds(1), [this] { close_idle(); });
}

Server::~Server() = default;

void Server::update_clock() {
    const auto since = Clock::now().time_since_epoch();
    mono_ms_ = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}

Result<std::uint16_t> Server::listen(const std::string& host, std::uint16_t port) {
    auto sockets = listen_on(host, port);
    if (!sockets) return std::unexpected(sockets.error());
    ASSERT(!sockets->empty());
    const std::uint16_t bound = local_port(sockets->front());
    for (Fd& socket : *sockets) {
        auto listener =
            std::make_unique<Watched>(Watched{Watched::Kind::listener, std::move(socket)});
        epoll_event event{.events = EPOLLIN, .data = {.ptr = listener.get()}};
        if (::epoll_ctl(epoll_.number(), EPOLL_CTL_ADD, listener->fd.number(), &event) != 0) {
            return fail(Code::io_failed, "epoll: " + system_error_text(errno));
        }
        listeners_.push_back(std::move(listener));
    }
    return bound;
}

void Server::stop() noexcept {
    stopping_.store(true);
    const std::uint64_t one = 1;
    (void)!::write(wakeup_.number(), &one, sizeof one);
}

void Server::post(Task task) {
    {
        const std::lock_guard lock(posted_mutex_);
        posted_.push_back(std::move(task));
    }
    if (posted_flag_.exchange(true)) return;  // its wakeup is under way
    const std::uint64_t one = 1;
    (void)!::write(wakeup_.number(), &one, sizeof one);
}

void Server::run_posted() {
    if (!posted_flag_.exchange(false)) return;
    std::vector<Task> tasks;
    {
        const std::lock_guard lock(posted_mutex_);
        tasks.swap(posted_);
    }
    for (Task& task : tasks) task();
}

Server::TimerId Server::call_at(Clock::time_point due, Task task) {
    const TimerId id{due, ++timers_made_};
    timers_.emplace(id, std::move(task));
    return id;
}

void Server::every(Clock::duration interval, Task task) {
    call_at(Clock::now() + interval, [this, interval, task = std::move(task)]() mutable {
        task();
        every(interval, std::move(task));
    });
}

void Server::run_timers() {
    if (timers_.empty()) return;
    const Clock::time_point now = Clock::now();
    const std::uint64_t made_before = timers_made_;  // what a timer starts is for a later round
    for (auto next = timers_.begin(); next != timers_.end() && next->first.due <= now;) {
        if (next->first.number > made_before) {
            ++next;
            continue;
        }
        const TimerId id = next->first;
        const Task task = std::move(next->second);
        timers_.erase(next);
        task();
        next = timers_.upper_bound(id);  // `task` may have cancelled any other
    }
}

int Server::wait_ms() const {
    if (!resumable_.empty()) return 0;
    if (timers_.empty()) return -1;
    const auto left = timers_.begin()->first.due - Clock::now();
    if (left <= Clock::duration::zero()) return 0;
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    return static_cast<int>(std::min<std::int64_t>(ms, 60'000));
}

void Server::run() {
    while (!stopping_.load()) round(wait_ms());
    sink_.ending();
    run_posted();
    const Clock::time_point until = Clock::now() + kLastFlush;
    while (!clients_.empty()) {
        Client& client = *clients_.begin()->second;
        say_farewell(client, until);
        close_client(client);
    }
    attended_.clear();
    closed_.clear();
}

void Server::round(int timeout_ms) {
    std::array<epoll_event, kEventsMax> events;
    const int count =
        ::epoll_wait(epoll_.number(), events.data(), static_cast<int>(events.size()), timeout_ms);
    ASSERT(count >= 0 || errno == EINTR);
    ++counters_.rounds;
    update_clock();
    run_posted();
    run_timers();
    for (Client* client : std::exchange(resumable_, {})) client->connection.attend();
    for (int i = 0; i < count; ++i) {
        auto* const watched = static_cast<Watched*>(events[static_cast<std::size_t>(i)].data.ptr);
        if (watched == nullptr) continue;  // the wakeup
        if (watched->kind == Watched::Kind::listener) {
            accept_clients(*watched);
            continue;
        }
        auto& client = static_cast<Client&>(*watched);
        const std::uint32_t what = events[static_cast<std::size_t>(i)].events;
        if ((what & EPOLLIN) != 0) {
            read_client(client);
        } else if ((what & (EPOLLHUP | EPOLLERR)) != 0) {
            client.connection.close_now();
        } else if ((what & EPOLLRDHUP) != 0) {
            client.connection.receive_end();
        } else {
            client.connection.attend();
        }
    }
    resume_clients();
    sink_.end_of_round();
    flush_clients();
}

void Server::accept_clients(Watched& listener) {
    for (int i = 0; i < kAcceptsPerRound; ++i) {
        auto accepted = accept_one(listener.fd, options_.keepalive);
        if (!accepted) {
            note_(Note{NoteLevel::warn, "accept_failed", {{"error", accepted.error().where}}});
            // Who waits is still there: without a pause this would spin.
            const auto set_interest = [this, &listener](std::uint32_t interest) {
                epoll_event event{.events = interest, .data = {.ptr = &listener}};
                (void)::epoll_ctl(epoll_.number(), EPOLL_CTL_MOD, listener.fd.number(), &event);
            };
            set_interest(0);
            call_at(Clock::now() + kAcceptPause, [set_interest] { set_interest(EPOLLIN); });
            return;
        }
        if (!*accepted) return;
        admit(std::move(**accepted));
    }
}

void Server::admit(Accepted accepted) {
    if (clients_.size() >= options_.clients_max) {
        ++counters_.connections_refused;
        constexpr std::string_view kRefusal = "-ERR max number of clients reached\r\n";
        (void)!::send(accepted.socket.number(), kRefusal.data(), kRefusal.size(), MSG_NOSIGNAL);
        return;
    }
    const std::uint64_t id = ++clients_made_;
    auto client = std::make_unique<Client>(*this, std::move(accepted.socket),
                                           ConnectionInfo{.id = id,
                                                          .peer = std::move(accepted.peer),
                                                          .local = std::move(accepted.local),
                                                          .created_mono_ms = mono_ms_});
    epoll_event event{.events = EPOLLIN, .data = {.ptr = static_cast<Watched*>(client.get())}};
    if (::epoll_ctl(epoll_.number(), EPOLL_CTL_ADD, client->fd.number(), &event) != 0) {
        note_(Note{NoteLevel::warn, "accept_failed", {{"error", system_error_text(errno)}}});
        return;
    }
    client->interest = EPOLLIN;
    ++counters_.connections_accepted;
    clients_.emplace(id, std::move(client));
}

void Server::read_client(Client& client) {
    Connection& connection = client.connection;
    if (!connection.wants_input()) return connection.attend();
    const std::size_t room =
        connection.input_bytes_missing() > kReadBytes ? kReadBulkBytes : kReadBytes;
    const ssize_t count = ::recv(client.fd.number(), scratch_.get(), room, 0);
    if (count > 0) {
        counters_.input_bytes += static_cast<std::uint64_t>(count);
        connection.receive(std::string_view(scratch_.get(), static_cast<std::size_t>(count)),
                           mono_ms_, sink_);
    } else if (count == 0) {
        connection.receive_end();
    } else if (errno != EAGAIN && errno != EINTR) {
        connection.close_now();
    }
}

// Executes what unblocked or drained connections had left over; that may unblock others.
void Server::resume_clients() {
    for (std::size_t i = 0; i < attended_.size(); ++i) {
        Connection& connection = attended_[i]->connection;
        if (connection.can_resume()) connection.receive({}, mono_ms_, sink_);
    }
}

void Server::flush_clients() {
    for (std::size_t i = 0; i < attended_.size(); ++i) {  // closed() may add others
        if (!attended_[i]->closed) settle(*attended_[i]);
    }
    attended_.clear();
    closed_.clear();
}

void Server::settle(Client& client) {
    Connection& connection = client.connection;
    if (connection.has_held()) (void)connection.release(released_);
    write_client(client);
    connection.end_round();
    if (connection.unsent_bytes() > options_.output_bytes_max)
        connection.close_now("output buffer limit");
    if (connection.finished()) return close_client(client);
    if (connection.has_held()) {
        holding_.emplace(connection.id(), &client);
    } else if (!holding_.empty()) {
        holding_.erase(connection.id());
    }
    if (connection.can_resume()) resumable_.push_back(&client);
    watch(client);
}

void Server::write_client(Client& client) {
    const std::string_view bytes = client.connection.sendable();
    if (bytes.empty()) return;
    const ssize_t count = ::send(client.fd.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
        counters_.output_bytes += static_cast<std::uint64_t>(count);
        client.connection.sent(static_cast<std::size_t>(count));
    } else if (errno != EAGAIN && errno != EINTR) {
        client.connection.close_now();
    }
}

void Server::say_farewell(Client& client, Clock::time_point until) {
    const Connection& connection = client.connection;
    const int fd = client.fd.number();
    for (write_client(client); !connection.sendable().empty() && !connection.finished();
         write_client(client)) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
        pollfd room{.fd = fd, .events = POLLOUT, .revents = 0};
        if (left.count() <= 0 || ::poll(&room, 1, static_cast<int>(left.count())) <= 0) break;
    }
    // A socket that is closed with input unread is reset, and its peer would lose what was sent.
    constexpr int kReadsMax = 16;
    (void)::shutdown(fd, SHUT_WR);
    for (int i = 0; i < kReadsMax && ::recv(fd, scratch_.get(), kReadBytes, MSG_DONTWAIT) > 0; ++i)
        continue;
}

void Server::watch(Client& client) {
    const Connection& connection = client.connection;
    std::uint32_t interest = 0;
    if (connection.wants_input()) {
        interest = EPOLLIN;
    } else if (connection.blocked()) {
        interest = EPOLLRDHUP;  // to notice that nobody waits any more
    }
    if (!connection.sendable().empty()) interest |= EPOLLOUT;
    if (interest == client.interest) return;
    epoll_event event{.events = interest, .data = {.ptr = static_cast<Watched*>(&client)}};
    const int failure = ::epoll_ctl(epoll_.number(), EPOLL_CTL_MOD, client.fd.number(), &event);
    ASSERT(failure == 0);
    client.interest = interest;
}

void Server::close_client(Client& client) {
    Connection& connection = client.connection;
    client.closed = true;
    if (!connection.close_reason().empty()) {
        ++counters_.connections_cut;
        note_(Note{NoteLevel::warn,
                   "client_cut_off",
                   {{"id", std::to_string(connection.id())},
                    {"peer", connection.info().peer},
                    {"why", std::string(connection.close_reason())}}});
    }
    holding_.erase(connection.id());
    std::erase(resumable_, &client);
    const auto at = clients_.find(connection.id());
    ASSERT(at != clients_.end());
    closed_.push_back(std::move(at->second));
    clients_.erase(at);
    sink_.closed(connection);
    client.fd = Fd();
}

void Server::close_idle() {
    const auto limit = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.idle_timeout).count());
    for (const auto& [id, client] : clients_) {
        Connection& connection = client->connection;
        if (connection.blocked() || mono_ms_ - connection.last_command_mono_ms() < limit) continue;
        connection.close_now("idle timeout");
    }
}

void Server::release(LogPosition position) {
    released_ = std::max(released_, position);
    for (const auto& [id, client] : holding_) (void)client->connection.release(released_);
}

void Server::fail_held_from(LogPosition position, std::string_view error) {
    for (const auto& [id, client] : clients_) client->connection.fail_held_from(position, error);
}

Connection* Server::find(std::uint64_t id) {
    const auto at = clients_.find(id);
    return at == clients_.end() ? nullptr : &at->second->connection;
}

std::vector<Connection*> Server::connections() {
    std::vector<Connection*> all;
    all.reserve(clients_.size());
    for (const auto& [id, client] : clients_) all.push_back(&client->connection);
    return all;
}

}  // namespace skerry
