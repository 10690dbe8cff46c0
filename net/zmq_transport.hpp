// net/zmq_transport.hpp — the transport over ZeroMQ: one thread, one ROUTER and one XPUB; per peer a DEALER and a SUB.
//
// Rules    docs/decisions/0003-zeromq.md says which socket options, and what went wrong without them.
// Bounded  the inbox by bytes: beyond it published frames are dropped, and requests and replies stay unread (their
//          senders' queues fill); a message above kFrameBytesMax ends its connection. What is published waits for the
//          slowest subscriber: TransportCounters::publish_queued_bytes, which the caller keeps an eye on.
// Source   libzmq 4.3.4 and cppzmq, included by zmq_transport.cpp alone.
// Differs  ZMQ_HEARTBEAT is off: the application's heartbeats say more, and libzmq's have open assertion failures.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "crdt/result.hpp"
#include "net/transport.hpp"

namespace skerry {

struct ZmqTransportOptions {
    std::string
        gossip_bind;  // host:port; host * = every interface, port 0 = any free one; empty: nobody can connect
    std::string publish_bind;  // the same
    // Of those who cannot be connected to: each waits otherwise before it tries again.
    std::string name = {};
    std::size_t inbox_bytes_max = 64 * 1024 * 1024;
    std::chrono::milliseconds reconnect_min{200};  // doubles up to the other, with jitter
    std::chrono::milliseconds reconnect_max{5'000};
};

class ZmqTransport final : public Transport {
  public:
    // Binds both addresses and starts the thread; `wakeup` is called whenever the inbox becomes
    // non-empty. Errors: refused (an address is not host:port), io_failed (it cannot be bound:
    // `where` has both address and cause).
    [[nodiscard]] static Result<std::unique_ptr<ZmqTransport>> open(
        const ZmqTransportOptions& options, std::function<void()> wakeup);
    ~ZmqTransport() override;

    void connect(LinkId link, std::string_view gossip_address) override;
    void subscribe(LinkId link, std::string_view publish_address) override;
    void disconnect(LinkId link) override;
    void send(LinkId link, std::string bytes) override;
    void reply(ConnectionToken to, std::string bytes) override;
    void publish(std::string bytes) override;
    [[nodiscard]] std::vector<Incoming> poll() override;
    [[nodiscard]] TransportCounters counters() const override;

    // host:port as bound, the port a real one.
    [[nodiscard]] const std::string& gossip_address() const;
    [[nodiscard]] const std::string& publish_address() const;

  private:
    struct Worker;
    explicit ZmqTransport(std::unique_ptr<Worker> worker);
    std::unique_ptr<Worker> worker_;
};

}  // namespace skerry
