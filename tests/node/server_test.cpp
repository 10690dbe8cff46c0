// tests/node/server_test.cpp — the event loop over real sockets: many clients, slow and hostile ones, threads.
#include "node/server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <future>
#include <thread>

#include "tests/catch.hpp"

namespace skerry {
namespace {

using namespace std::chrono_literals;

// Commands: PING; ECHO x; WRITE (held until the test releases it); BIG n; BLOCK; CLIENTS; KILL id.
struct TestSink final : CommandSink {
    void execute(Connection& connection, std::span<const std::string_view> arguments) override {
        const std::string_view name = arguments[0];
        ++executed;
        if (name == "PING") connection.reply().simple("PONG");
        if (name == "ECHO") connection.reply().bulk(arguments[1]);
        if (name == "WRITE") {
            connection.reply().ok();
            connection.hold_until(position = position.next());
        }
        if (name == "BIG")
            connection.reply().bulk(std::string(std::stoull(std::string(arguments[1])), 'x'));
        if (name == "BLOCK") {
            connection.block();
            blocked = connection.id();
        }
        if (name == "CLIENTS")
            connection.reply().integer(static_cast<std::int64_t>(server->connections().size()));
        if (name == "KILL") {
            server->find(std::stoull(std::string(arguments[1])))->close_now("killed");
            connection.reply().ok();
        }
    }
    void end_of_round() override { ++rounds; }
    void ending() override {
        server->post([this] { server->release(position); });
    }
    void closed(Connection&) override { ++closed_count; }

    Server* server = nullptr;
    LogPosition position;
    std::atomic<int> executed{0};
    std::atomic<int> rounds{0};
    std::atomic<int> closed_count{0};
    std::atomic<std::uint64_t> blocked{0};
};

struct Running {
    explicit Running(ServerOptions options = {}) {
        auto made = Server::create(options, sink, [this](const Note& note) {
            const std::lock_guard lock(mutex);
            notes.push_back(note);
        });
        REQUIRE(made.has_value());
        server = std::move(*made);
        sink.server = server.get();
        const auto bound = server->listen("127.0.0.1", 0);
        REQUIRE(bound.has_value());
        port = *bound;
        thread = std::thread([this] { server->run(); });
    }
    ~Running() {
        server->stop();
        thread.join();
    }
    // Executes on the server's thread and waits for it.
    template <class Task>
    void on_server(Task task) {
        std::promise<void> done;
        server->post([&] {
            task();
            done.set_value();
        });
        REQUIRE(done.get_future().wait_for(10s) == std::future_status::ready);
    }
    bool noted(const std::string& why) {
        const std::lock_guard lock(mutex);
        for (const Note& note : notes) {
            for (const auto& [key, value] : note.fields) {
                if (value == why) return true;
            }
        }
        return false;
    }

    TestSink sink;
    std::unique_ptr<Server> server;
    std::uint16_t port = 0;
    std::thread thread;
    std::mutex mutex;
    std::vector<Note> notes;
};

template <class Condition>
bool eventually(Condition condition) {
    for (int i = 0; i < 1000; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(5ms);
    }
    return false;
}

struct TestClient {
    explicit TestClient(std::uint16_t port) : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const timeval limit{.tv_sec = 10, .tv_usec = 0};
        ::setsockopt(fd.number(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        REQUIRE(::connect(fd.number(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }
    void send(std::string_view bytes) const {
        while (!bytes.empty()) {
            const ssize_t count = ::send(fd.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count <= 0) return;  // cut off: the test sees it when it reads
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    std::string read(std::size_t wanted) const {
        std::string bytes;
        std::array<char, 65536> piece;
        while (bytes.size() < wanted) {
            const ssize_t count =
                ::recv(fd.number(), piece.data(), std::min(piece.size(), wanted - bytes.size()), 0);
            if (count <= 0) break;
            bytes.append(piece.data(), static_cast<std::size_t>(count));
        }
        return bytes;
    }
    std::string ask(std::string_view request, std::string_view expected) const {
        send(request);
        return read(expected.size());
    }
    bool ended() const {
        std::array<char, 65536> piece;
        ssize_t count = 0;
        while ((count = ::recv(fd.number(), piece.data(), piece.size(), 0)) > 0) {
        }
        return count == 0 || errno == ECONNRESET;
    }
    bool silent() const {
        std::this_thread::sleep_for(50ms);
        char byte = 0;
        return ::recv(fd.number(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
    }
    Fd fd;
};

}  // namespace

TEST_CASE("server: many clients with long pipelines are all answered in order", "[node][server]") {
    Running r;
    std::vector<TestClient> clients;
    for (int i = 0; i < 50; ++i) clients.emplace_back(r.port);
    std::string pipeline;
    std::string expected;
    for (int i = 0; i < 500; ++i) {
        const std::string text = std::to_string(i);
        pipeline += "*2\r\n$4\r\nECHO\r\n$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
        expected += "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
    }
    for (const TestClient& client : clients) client.send(pipeline);
    for (const TestClient& client : clients) CHECK(client.read(expected.size()) == expected);
    CHECK(clients[0].ask("CLIENTS\r\n", ":50\r\n") == ":50\r\n");
}

TEST_CASE("server: a value of many megabytes goes there and back", "[node][server]") {
    Running r;
    const TestClient client(r.port);
    const std::string value(20 * 1024 * 1024, 'v');
    const std::string bulk = "$" + std::to_string(value.size()) + "\r\n" + value + "\r\n";
    std::thread sender([&] { client.send("*2\r\n$4\r\nECHO\r\n" + bulk); });
    CHECK(client.read(bulk.size()) == bulk);
    sender.join();
    CHECK(client.ask("PING\r\n", "+PONG\r\n") == "+PONG\r\n");
}

TEST_CASE("server: held replies go out when another thread's work is done", "[node][server]") {
    Running r;
    const TestClient writer(r.port);
    const TestClient other(r.port);
    writer.send("WRITE\r\nPING\r\n");
    CHECK(writer.silent());
    CHECK(other.ask("PING\r\n", "+PONG\r\n") == "+PONG\r\n");
    r.on_server([&] { r.server->release(LogPosition{1}); });
    CHECK(writer.read(12) == "+OK\r\n+PONG\r\n");
    // What is already durable is not held, whoever writes.
    r.on_server([&] { r.server->release(LogPosition{2}); });
    CHECK(other.ask("WRITE\r\n", "+OK\r\n") == "+OK\r\n");
    writer.send("WRITE\r\n");
    CHECK(writer.silent());
    r.on_server([&] { r.server->fail_held_from(LogPosition{3}, "ERR disk failed"); });
    CHECK(writer.read(18) == "-ERR disk failed\r\n");
    CHECK(writer.ended());
    CHECK(other.ask("PING\r\n", "+PONG\r\n") == "+PONG\r\n");
}

TEST_CASE("server: what becomes durable at the end is still answered, long replies too",
          "[node][server]") {
    constexpr std::size_t kLong = 16 * 1024 * 1024;  // more than a socket holds
    std::unique_ptr<Running> r = std::make_unique<Running>();
    const TestClient writer(r->port);
    const TestClient reader(r->port);
    writer.send("WRITE\r\n");
    CHECK(writer.silent());
    reader.send("BIG " + std::to_string(kLong) + "\r\n");
    REQUIRE(eventually([&] { return r->sink.executed == 2; }));
    writer.send("*1\r\n$5\r\nWR");  // half a command more, which nobody will read
    std::thread stopper([&] { r.reset(); });
    CHECK(reader.read(kLong + 100).size() == kLong + 13);  // $16777216 CR LF ... CR LF
    CHECK(writer.read(100) == "+OK\r\n");
    stopper.join();
}

TEST_CASE("server: a blocked client waits, and its hanging up is noticed", "[node][server]") {
    Running r;
    const TestClient client(r.port);
    client.send("BLOCK\r\nPING\r\n");
    REQUIRE(eventually([&] { return r.sink.blocked != 0; }));
    CHECK(client.silent());
    r.on_server([&] {
        Connection* connection = r.server->find(r.sink.blocked);
        connection->reply().integer(1);
        connection->unblock();
    });
    CHECK(client.read(11) == ":1\r\n+PONG\r\n");
    {
        const TestClient leaver(r.port);
        leaver.send("BLOCK\r\n");
        REQUIRE(eventually([&] { return r.sink.executed == 3; }));
    }
    CHECK(eventually([&] { return r.sink.closed_count == 1; }));
}

TEST_CASE("server: a client that half-closes gets its answers", "[node][server]") {
    Running r;
    const TestClient client(r.port);
    client.send("PING\r\nWRITE\r\n");
    ::shutdown(client.fd.number(), SHUT_WR);
    REQUIRE(eventually([&] { return r.sink.executed == 2; }));
    CHECK(client.silent());
    r.on_server([&] { r.server->release(LogPosition{1}); });
    CHECK(client.read(12) == "+PONG\r\n+OK\r\n");
    CHECK(client.ended());
}

TEST_CASE("server: a client that does not read neither grows nor disturbs others",
          "[node][server]") {
    Running r;
    const TestClient slow(r.port);
    std::string pipeline;
    for (int i = 0; i < 2000; ++i) pipeline += "BIG 1000000\r\n";
    slow.send(pipeline);
    const TestClient other(r.port);
    CHECK(other.ask("PING\r\n", "+PONG\r\n") == "+PONG\r\n");
    std::this_thread::sleep_for(100ms);
    CHECK(r.sink.executed < 100);
    std::size_t unsent = 0;
    r.on_server([&] {
        for (const Connection* connection : r.server->connections())
            unsent += connection->unsent_bytes();
    });
    CHECK(unsent < 3 * Connection::kOutputSoftBytes);
    const std::string all = slow.read(2000 * (1000000 + 12));
    CHECK(all.size() == 2000UL * (1000000 + 12));
}

TEST_CASE("server: a reply beyond the limit cuts its client off with a note", "[node][server]") {
    Running r(ServerOptions{.output_bytes_max = 8 * 1024 * 1024});
    const TestClient client(r.port);
    client.send("BIG 40000000\r\n");  // and reads nothing: else one send may take all of it
    CHECK(eventually([&] { return r.noted("output buffer limit"); }));
    CHECK(eventually([&] { return r.sink.closed_count == 1; }));
    CHECK(client.ended());
}

TEST_CASE("server: hostile bytes end their own connection only", "[node][server]") {
    Running r;
    const TestClient good(r.port);
    const std::string error = "-ERR Protocol error: invalid multibulk length\r\n";
    for (int i = 0; i < 20; ++i) {
        const TestClient bad(r.port);
        CHECK(bad.ask("*99999999\r\n" + std::string(100000, '\0'), error) == error);
        CHECK(bad.ended());
        CHECK(good.ask("PING\r\n", "+PONG\r\n") == "+PONG\r\n");
    }
    CHECK(eventually([&] { return r.sink.closed_count == 20; }));
}

TEST_CASE("server: clients beyond the limit are told so", "[node][server]") {
    Running r(ServerOptions{.clients_max = 2});
    const TestClient first(r.port);
    const TestClient second(r.port);
    CHECK(first.ask("PING\r\n", "+PONG\r\n") == "+PONG\r\n");
    CHECK(second.ask("PING\r\n", "+PONG\r\n") == "+PONG\r\n");
    const TestClient third(r.port);
    const std::string refusal = "-ERR max number of clients reached\r\n";
    CHECK(third.read(refusal.size()) == refusal);
    CHECK(third.ended());
}

TEST_CASE("server: one client can close another", "[node][server]") {
    Running r;
    const TestClient victim(r.port);
    CHECK(victim.ask("PING\r\n", "+PONG\r\n") == "+PONG\r\n");
    const TestClient killer(r.port);
    CHECK(killer.ask("KILL 1\r\n", "+OK\r\n") == "+OK\r\n");
    CHECK(victim.ended());
    CHECK(r.noted("killed"));
}

TEST_CASE("server: idle clients are closed where that is asked for", "[node][server]") {
    Running r(ServerOptions{.idle_timeout = 1s});
    const TestClient client(r.port);
    CHECK(client.ended());
    CHECK(r.noted("idle timeout"));
}

TEST_CASE("server: timers fire in order, repeat, and can be cancelled", "[node][server]") {
    Running r;
    std::vector<int> fired;
    std::atomic<int> ticks{0};
    r.on_server([&] {
        const auto now = Server::Clock::now();
        r.server->call_at(now + 30ms, [&] { fired.push_back(3); });
        r.server->call_at(now + 10ms, [&] { fired.push_back(1); });
        const auto never = r.server->call_at(now + 20ms, [&] { fired.push_back(2); });
        r.server->cancel(never);
        r.server->every(5ms, [&] { ++ticks; });
    });
    CHECK(eventually([&] { return ticks > 10; }));
    r.on_server([&] { CHECK(fired == std::vector<int>{1, 3}); });
}

TEST_CASE("server: posted work is done once each, in order, then the round ends",
          "[node][server]") {
    Running r;
    std::vector<int> done;
    const int rounds_before = r.sink.rounds;
    for (int i = 0; i < 10000; ++i) r.server->post([&done, i] { done.push_back(i); });
    r.on_server([] {});
    CHECK(eventually([&] { return r.sink.rounds > rounds_before; }));
    REQUIRE(done.size() == 10000);
    CHECK(std::is_sorted(done.begin(), done.end()));
}

TEST_CASE("server: an address that is taken is refused with its name", "[node][server]") {
    Running r;
    const auto again = r.server->listen("127.0.0.1", r.port);
    REQUIRE_FALSE(again.has_value());
    CHECK(again.error().code == Code::refused);
    CHECK(again.error().where.find("127.0.0.1:" + std::to_string(r.port)) != std::string::npos);
    CHECK_FALSE(r.server->listen("192.0.2.1", 0).has_value());
}

}  // namespace skerry
