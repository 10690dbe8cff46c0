#include "net/zmq_transport.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "net/address.hpp"
#include "net/message.hpp"
#include "tests/catch.hpp"

using namespace skerry;
using namespace std::chrono_literals;
namespace {

// A transport on loopback, and what it has received so far.
class Peer {
  public:
    explicit Peer(std::string gossip = "127.0.0.1:0", std::string publish = "127.0.0.1:0",
                  std::size_t inbox_bytes_max = 64 * 1024 * 1024) {
        auto opened = ZmqTransport::open({.gossip_bind = std::move(gossip),
                                          .publish_bind = std::move(publish),
                                          .inbox_bytes_max = inbox_bytes_max,
                                          .reconnect_min = 20ms,
                                          .reconnect_max = 100ms},
                                         [this] {
                                             const std::lock_guard lock(mutex_);
                                             woken_ = true;
                                             wakeup_.notify_one();
                                         });
        INFO((opened ? std::string("open") : opened.error().text()));
        REQUIRE(opened.has_value());
        wire = std::move(*opened);
    }
    ~Peer() { wire.reset(); }  // before what its thread calls is gone

    // Waits for the next of `kind`; others that come before it are dropped.
    std::optional<Incoming> next(IncomingKind kind, std::chrono::milliseconds patience = 10s) {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (true) {
            while (!pending_.empty()) {
                Incoming incoming = std::move(pending_.front());
                pending_.erase(pending_.begin());
                if (incoming.kind == kind) return incoming;
            }
            std::unique_lock lock(mutex_);
            if (!wakeup_.wait_until(lock, deadline, [this] { return woken_; })) return std::nullopt;
            woken_ = false;
            lock.unlock();
            pending_ = wire->poll();
        }
    }

    std::unique_ptr<ZmqTransport> wire;

  private:
    std::vector<Incoming> pending_;
    std::mutex mutex_;
    std::condition_variable wakeup_;
    bool woken_ = false;
};

void link(Peer& from, Peer& to, LinkId id) {
    from.wire->connect(id, to.wire->gossip_address());
    from.wire->subscribe(id, to.wire->publish_address());
    const auto up = from.next(IncomingKind::link_up);
    REQUIRE(up.has_value());
    CHECK(up->link == id);
}

// A subscription takes effect a moment after the connection: publish until the first comes through.
void await_feed(Peer& publisher, Peer& subscriber) {
    for (int attempt = 0; attempt < 200; ++attempt) {
        publisher.wire->publish("probe");
        if (subscriber.next(IncomingKind::published, 50ms)) {
            while (subscriber.next(IncomingKind::published, 50ms)) continue;
            return;
        }
    }
    FAIL("nothing that was published arrived");
}

// Sends raw bytes to a listening socket and hangs up.
void throw_at(const std::string& address, std::string_view bytes) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(parse_address(address, AddressUse::connect)->port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    (void)!::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    close(fd);
}

// What a ZMTP 3.1 peer says first: greeting (64 bytes), then READY.
std::string zmtp_opening(std::string_view socket_type) {
    std::string opening("\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL", 16);
    opening.resize(64, '\0');
    std::string ready = "\x05READY\x0bSocket-Type";
    ready += std::string("\0\0\0", 3) + static_cast<char>(socket_type.size());
    ready += socket_type;
    return opening + '\x04' + static_cast<char>(ready.size()) + ready;
}

// Subscribes to everything, and reads nothing.
class DeafSubscriber {
  public:
    explicit DeafSubscriber(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(parse_address(address, AddressUse::connect)->port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
        say(zmtp_opening("SUB"));
        std::string heard;
        char part[256];
        while (heard.find("READY") == std::string::npos) {
            const ssize_t count = recv(fd_, part, sizeof part, 0);
            REQUIRE(count > 0);
            heard.append(part, static_cast<std::size_t>(count));
        }
        say(std::string("\0\1\1", 3));
    }
    ~DeafSubscriber() { close(fd_); }

  private:
    void say(std::string_view bytes) const {
        REQUIRE(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()));
    }
    int fd_;
};

constexpr LinkId kLink{7};
}  // namespace

TEST_CASE("zmq_transport: a request arrives and its reply comes back", "[net][zmq]") {
    Peer a, b;
    link(a, b, kLink);
    a.wire->send(kLink, std::string("ask\0me", 6));
    const auto request = b.next(IncomingKind::request);
    REQUIRE(request.has_value());
    CHECK(request->bytes == std::string("ask\0me", 6));
    b.wire->reply(request->connection, "answer");
    const auto reply = a.next(IncomingKind::reply);
    REQUIRE(reply.has_value());
    CHECK(reply->link == kLink);
    CHECK(reply->bytes == "answer");
    CHECK(a.wire->counters().frames_out == 1);
    CHECK(a.wire->counters().bytes_in == 6);
}

TEST_CASE("zmq_transport: what is published arrives at every subscriber in order", "[net][zmq]") {
    Peer a, b, c;
    link(b, a, kLink);
    link(c, a, LinkId{8});
    await_feed(a, b);
    await_feed(a, c);
    while (b.next(IncomingKind::published, 50ms)) continue;
    for (int i = 0; i < 500; ++i) a.wire->publish(std::to_string(i));
    for (Peer* peer : {&b, &c}) {
        for (int i = 0; i < 500; ++i) {
            const auto published = peer->next(IncomingKind::published);
            REQUIRE(published.has_value());
            REQUIRE(published->bytes == std::to_string(i));
        }
    }
}

TEST_CASE("zmq_transport: a frame of 7 MiB passes, in a request and published", "[net][zmq]") {
    Peer a, b;
    link(a, b, kLink);
    await_feed(b, a);
    std::string large(7 * 1024 * 1024, 'x');
    large[large.size() / 2] = 'y';
    a.wire->send(kLink, large);
    const auto request = b.next(IncomingKind::request);
    REQUIRE(request.has_value());
    CHECK(request->bytes == large);
    b.wire->publish(large);
    const auto published = a.next(IncomingKind::published);
    REQUIRE(published.has_value());
    CHECK(published->bytes == large);
}

TEST_CASE("zmq_transport: raw garbage on either port does no harm", "[net][zmq]") {
    Peer a, b;
    link(a, b, kLink);
    await_feed(b, a);
    std::mt19937 rng(5);
    for (int round = 0; round < 100; ++round) {
        std::string garbage(1 + rng() % 2000, '\0');
        for (char& c : garbage) c = static_cast<char>(rng());
        const std::string way_in = zmtp_opening(round % 2 == 0 ? "DEALER" : "SUB");
        // Garbage at once, within the greeting, behind it, and behind a whole handshake.
        const std::size_t parts[] = {0, 10, 12, 64, way_in.size()};
        garbage.insert(0, way_in.substr(0, parts[rng() % std::size(parts)]));
        throw_at(b.wire->gossip_address(), garbage);
        throw_at(b.wire->publish_address(), garbage);
    }
    // Garbage behind a whole handshake may arrive as a message: decode() is what turns it away.
    a.wire->send(kLink, encode(Ping{.token = 1}));
    while (true) {
        const auto request = b.next(IncomingKind::request);
        REQUIRE(request.has_value());
        if (const auto message = decode(request->bytes)) {
            CHECK(*message == Message{Ping{.token = 1}});
            break;
        }
    }
    b.wire->publish("yes");
    const auto published = a.next(IncomingKind::published);
    REQUIRE(published.has_value());
    CHECK(published->bytes == "yes");
}

TEST_CASE("zmq_transport: a peer that comes back at its address is found again", "[net][zmq]") {
    Peer a;
    auto b = std::make_unique<Peer>();
    const std::string gossip = b->wire->gossip_address(), publish = b->wire->publish_address();
    link(a, *b, kLink);
    await_feed(*b, a);
    b.reset();
    const auto down = a.next(IncomingKind::link_down);
    REQUIRE(down.has_value());
    CHECK(down->link == kLink);
    a.wire->send(kLink, "to nobody");  // dropped at once, not delivered to whoever comes later

    b = std::make_unique<Peer>(gossip, publish);
    REQUIRE(a.next(IncomingKind::link_up).has_value());
    CHECK(a.wire->counters().sends_dropped == 1);
    a.wire->send(kLink, "again");
    CHECK(b->next(IncomingKind::request)->bytes == "again");
    await_feed(*b, a);
}

TEST_CASE("zmq_transport: after disconnect nothing comes from the peer", "[net][zmq]") {
    Peer a, b;
    link(a, b, kLink);
    await_feed(b, a);
    a.wire->disconnect(kLink);
    a.wire->send(kLink, "gone");
    a.wire->disconnect(kLink);  // twice does no harm
    link(a, b, LinkId{8});      // commands are executed in order: the first are done
    b.wire->publish("unheard, or heard by the new link only");
    while (const auto published = a.next(IncomingKind::published, 100ms))
        CHECK(published->link == LinkId{8});
    CHECK(a.wire->counters().sends_dropped == 1);
}

TEST_CASE("zmq_transport: replies to a connection that is gone are dropped and counted",
          "[net][zmq]") {
    auto a = std::make_unique<Peer>();
    Peer b;
    link(*a, b, kLink);
    a->wire->send(kLink, "hello");
    const auto request = b.next(IncomingKind::request);
    REQUIRE(request.has_value());
    a.reset();
    for (int i = 0; i < 500 && b.wire->counters().sends_dropped == 0; ++i) {
        b.wire->reply(request->connection, "too late");
        std::this_thread::sleep_for(10ms);
    }
    CHECK(b.wire->counters().sends_dropped > 0);
    b.wire->reply(ConnectionToken{"no such token"}, "x");
    b.wire->reply(ConnectionToken{""}, "x");
    Peer c;
    link(c, b, kLink);  // and b goes on
}

TEST_CASE("zmq_transport: a full inbox drops published frames and holds requests back",
          "[net][zmq]") {
    Peer a;
    Peer b("127.0.0.1:0", "127.0.0.1:0", 256 * 1024);
    link(a, b, kLink);
    link(b, a, kLink);
    await_feed(a, b);
    for (int i = 0; i < 100; ++i) a.wire->publish(std::string(10 * 1024, 'p'));
    for (int i = 0; i < 500 && b.wire->counters().frames_in < 100; ++i)
        std::this_thread::sleep_for(10ms);
    CHECK(b.wire->counters().published_dropped > 50);
    CHECK(b.wire->poll().size() < 30);

    for (int i = 0; i < 100; ++i)
        a.wire->send(kLink, std::to_string(i) + std::string(10 * 1024, 'r'));
    for (int i = 0; i < 100; ++i) {  // every one, though not all at once
        const auto request = b.next(IncomingKind::request);
        REQUIRE(request.has_value());
        CHECK(request->bytes.starts_with(std::to_string(i) + "r"));
    }
}

TEST_CASE("zmq_transport: what waits for a subscriber that does not read is counted, once for all",
          "[net][zmq]") {
    Peer a, b;
    link(b, a, kLink);
    await_feed(a, b);
    CHECK(a.wire->counters().publish_queued_bytes == 0);
    const auto queued_until = [&](auto condition) {
        for (int i = 0; i < 500 && !condition(a.wire->counters().publish_queued_bytes); ++i)
            std::this_thread::sleep_for(10ms);
        return a.wire->counters().publish_queued_bytes;
    };
    constexpr std::size_t kFrameBytes = 1024 * 1024;
    {
        DeafSubscriber deaf(a.wire->publish_address()), another(a.wire->publish_address());
        std::this_thread::sleep_for(200ms);  // the subscriptions take effect
        for (int i = 0; i < 40; ++i) a.wire->publish(std::string(kFrameBytes, 'x'));
        for (int i = 0; i < 40; ++i) REQUIRE(b.next(IncomingKind::published).has_value());
        const std::uint64_t queued = a.wire->counters().publish_queued_bytes;
        CHECK(queued > 20 * kFrameBytes);  // sockets' buffers take some
        CHECK(queued <= 40 * kFrameBytes);
    }
    CHECK(queued_until([](std::uint64_t bytes) { return bytes == 0; }) == 0);
}

TEST_CASE("zmq_transport: a wrong address is a link_down that says why", "[net][zmq]") {
    Peer a;
    a.wire->connect(kLink, "nowhere");
    const auto down = a.next(IncomingKind::link_down);
    REQUIRE(down.has_value());
    CHECK(down->link == kLink);
    CHECK(down->bytes.find("expected host:port") != std::string::npos);
    a.wire->subscribe(kLink, "[x]:1");
    CHECK(a.next(IncomingKind::link_down).has_value());
}

TEST_CASE("zmq_transport: an address in use is an error that names it", "[net][zmq]") {
    Peer a;
    const auto second = ZmqTransport::open(
        {.gossip_bind = a.wire->gossip_address(), .publish_bind = "127.0.0.1:0"}, [] {});
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().code == Code::io_failed);
    CHECK(second.error().where.find(a.wire->gossip_address()) != std::string::npos);
}

TEST_CASE("zmq_transport: IPv6, every interface and localhost", "[net][zmq]") {
    Peer a, b("*:0", "*:0");
    const auto port = parse_address(b.wire->gossip_address(), AddressUse::bind)->port;
    a.wire->connect(kLink, "127.0.0.1:" + std::to_string(port));
    CHECK(a.next(IncomingKind::link_up).has_value());
    a.wire->connect(LinkId{8}, "localhost:" + std::to_string(port));
    CHECK(a.next(IncomingKind::link_up).has_value());

    auto six = ZmqTransport::open({.gossip_bind = "[::1]:0", .publish_bind = "[::1]:0"}, [] {});
    if (!six) {
        WARN("no IPv6 on this machine: " << six.error().text());
        return;
    }
    CHECK((*six)->gossip_address().starts_with("[::1]:"));
    a.wire->connect(LinkId{9}, (*six)->gossip_address());
    CHECK(a.next(IncomingKind::link_up).has_value());
}
