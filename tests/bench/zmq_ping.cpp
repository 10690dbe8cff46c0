// tests/bench/zmq_ping.cpp — how long bare ZeroMQ and our transport take there and back on this machine.
//
// Usage    zmq_ping [rounds] [bytes]     (2000 rounds of 200 bytes by default)
// There    published, XPUB to SUB; back DEALER to ROUTER: the way of a write and of its acknowledgement.
// Reads    the bare line is the floor; the transport's has four more thread changes (queue, wake, inbox, wakeup).
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
#include <zmq.hpp>

#include "net/zmq_transport.hpp"

namespace {
using Mono = std::chrono::steady_clock;

void report(const char* name, std::vector<double> micros) {
    if (micros.empty()) {
        std::printf("%-10s nothing came back\n", name);
        std::exit(1);
    }
    std::ranges::sort(micros);
    const auto at = [&micros](std::size_t percent) {
        return micros[(micros.size() - 1) * percent / 100];
    };
    std::printf("%-10s rounds %zu  p50 %.0f us  p99 %.0f us  max %.0f us\n", name, micros.size(),
                at(50), at(99), micros.back());
}

std::vector<double> timed(int rounds, const std::function<bool()>& round) {
    std::vector<double> micros;
    for (int i = 0; i < rounds; ++i) {
        const auto begin = Mono::now();
        if (round())
            micros.push_back(
                std::chrono::duration<double, std::micro>(Mono::now() - begin).count());
    }
    return micros;
}

std::vector<double> bare(int rounds, const std::string& payload) {
    zmq::context_t context(1), other(1);
    zmq::socket_t publisher(context, zmq::socket_type::xpub),
        router(context, zmq::socket_type::router);
    publisher.bind("tcp://127.0.0.1:*");
    router.bind("tcp://127.0.0.1:*");
    const std::string feed_at = publisher.get(zmq::sockopt::last_endpoint);
    const std::string router_at = router.get(zmq::sockopt::last_endpoint);
    std::thread echo([&other, feed_at, router_at, rounds] {
        zmq::socket_t feed(other, zmq::socket_type::sub), dealer(other, zmq::socket_type::dealer);
        dealer.connect(router_at);
        feed.set(zmq::sockopt::subscribe, "");
        feed.connect(feed_at);
        zmq::message_t message;
        for (int i = 0; i < rounds; ++i) {
            (void)feed.recv(message);
            (void)dealer.send(message, zmq::send_flags::none);
        }
    });
    zmq::message_t message;
    (void)publisher.recv(message);  // the subscription has come
    auto micros = timed(rounds, [&] {
        (void)publisher.send(zmq::buffer(payload), zmq::send_flags::none);
        do {
            (void)router.recv(message);
        } while (message.more());
        return true;
    });
    echo.join();
    return micros;
}

// Lets a thread wait for a transport's inbox.
class Bell {
  public:
    void ring() {
        const std::lock_guard lock(mutex_);
        rung_ = true;
        changed_.notify_one();
    }
    void wait(std::chrono::milliseconds patience) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, patience, [this] { return rung_; });
        rung_ = false;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool rung_ = false;
};

std::vector<double> ours(int rounds, const std::string& payload) {
    using skerry::IncomingKind;
    using skerry::LinkId;
    Bell here_bell, there_bell;
    const skerry::ZmqTransportOptions options{.gossip_bind = "127.0.0.1:0",
                                              .publish_bind = "127.0.0.1:0"};
    auto here = skerry::ZmqTransport::open(options, [&here_bell] { here_bell.ring(); });
    auto there = skerry::ZmqTransport::open(options, [&there_bell] { there_bell.ring(); });
    if (!here || !there) return {};
    std::jthread echo([&](const std::stop_token& stop) {
        (*there)->connect(LinkId{1}, (*here)->gossip_address());
        (*there)->subscribe(LinkId{1}, (*here)->publish_address());
        while (!stop.stop_requested()) {
            there_bell.wait(std::chrono::milliseconds(100));
            for (skerry::Incoming& incoming : (*there)->poll())
                if (incoming.kind == IncomingKind::published)
                    (*there)->send(LinkId{1}, std::move(incoming.bytes));
        }
    });
    const auto round = [&](std::chrono::milliseconds patience) {
        (*here)->publish(payload);
        const auto deadline = Mono::now() + patience;
        while (Mono::now() < deadline) {
            here_bell.wait(patience);
            for (const skerry::Incoming& incoming : (*here)->poll())
                if (incoming.kind == IncomingKind::request) return true;
        }
        return false;
    };
    for (int i = 0; i < 100 && !round(std::chrono::milliseconds(50)); ++i) continue;
    return timed(rounds, [&round] { return round(std::chrono::milliseconds(1000)); });
}
}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 2000;
    const std::string payload(
        argc > 2 ? static_cast<std::size_t>(std::max(1, std::atoi(argv[2]))) : 200, 'x');
    report("bare", bare(rounds, payload));
    report("transport", ours(rounds, payload));
    return 0;
}
