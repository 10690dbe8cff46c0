#include "net/zmq_transport.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <zmq.hpp>

#include "crdt/hash.hpp"
#include "net/address.hpp"
#include "net/message.hpp"

namespace skerry {

namespace {

// High-water marks count messages: a second or two of group commits for one slow subscriber. Bytes are bounded by what
// the caller publishes while publish_queued_bytes is high (node/replication.hpp).
constexpr int kPublishQueueMax = 2000;
constexpr int kStalledMaxMs = 15'000;
constexpr int kReceiveQueueMax = 1000;
constexpr int kRequestQueueMax = 256;   // credit keeps it far below
constexpr std::size_t kDrainMax = 256;  // from one socket before the others have their turn
constexpr std::size_t kIncomingOverhead = sizeof(Incoming);

// Wakes the ZeroMQ thread. One write however many commands wait.
class WakeFd {
  public:
    WakeFd() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { ASSERT(fd_ >= 0); }
    WakeFd(const WakeFd&) = delete;
    WakeFd& operator=(const WakeFd&) = delete;
    ~WakeFd() { close(fd_); }
    [[nodiscard]] int fd() const { return fd_; }
    void signal() const {
        (void)!eventfd_write(fd_, 1);
    }  // fails only when it is signalled already
    void clear() const {
        eventfd_t value = 0;
        (void)!eventfd_read(fd_, &value);
    }

  private:
    int fd_;
};

enum class CommandKind : std::uint8_t { connect, subscribe, disconnect, send, reply, publish };
struct Command {
    CommandKind kind;
    LinkId link;
    std::string target;  // an address, or a connection's token
    std::string bytes;
};

// A published frame that counts while libzmq holds it, for however many subscribers.
class QueuedFrame {
  public:
    static zmq::message_t message(std::string bytes, std::atomic<std::uint64_t>& queued) {
        auto frame = std::unique_ptr<QueuedFrame>(new QueuedFrame(std::move(bytes), queued));
        zmq::message_t message(frame->bytes_.data(), frame->bytes_.size(), release, frame.get());
        (void)frame.release();  // it is the message's now
        return message;
    }

  private:
    QueuedFrame(std::string bytes, std::atomic<std::uint64_t>& queued)
        : bytes_(std::move(bytes)), queued_(queued) {
        queued_ += bytes_.size();
    }
    ~QueuedFrame() { queued_ -= bytes_.size(); }
    friend std::default_delete<QueuedFrame>;
    // On any thread of libzmq's.
    static void release(void*, void* frame) { delete static_cast<QueuedFrame*>(frame); }

    std::string bytes_;
    std::atomic<std::uint64_t>& queued_;
};

// Our side of one peer.
struct Link {
    std::optional<zmq::socket_t> dealer, monitor, feed;
};

zmq::socket_t make_socket(zmq::context_t& context, zmq::socket_type type) {
    zmq::socket_t socket(context, type);
    socket.set(zmq::sockopt::linger, 0);
    // With a ZAP domain libzmq refuses ZMTP 1 and 2. There a stranger who sends a few bytes and
    // hangs up ends the whole process: process_routing_id_msg() asserts that a pipe takes the
    // message which the peer's end has closed already.
    socket.set(zmq::sockopt::zap_domain, "skerry");
    socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(kFrameBytesMax));
    socket.set(zmq::sockopt::handshake_ivl, 5000);
    socket.set(zmq::sockopt::connect_timeout, 5000);
    socket.set(zmq::sockopt::sndhwm, kRequestQueueMax);
    socket.set(zmq::sockopt::rcvhwm, kReceiveQueueMax);
    // A connection whose other end takes nothing for so long is given up, whether packets vanish or
    // the process has stopped: what is queued for it goes, and it comes back by itself.
    socket.set(zmq::sockopt::tcp_maxrt, kStalledMaxMs);
    socket.set(zmq::sockopt::tcp_keepalive, 1);
    socket.set(zmq::sockopt::tcp_keepalive_idle, 30);
    socket.set(zmq::sockopt::tcp_keepalive_intvl, 10);
    socket.set(zmq::sockopt::tcp_keepalive_cnt, 3);
    return socket;
}

// A numeric IPv4 address needs an IPv4 socket; a name or an IPv6 address gets one that speaks both.
// localhost means 127.0.0.1: half of the machines would find ::1 first, where the other half's
// nodes do not listen.
std::string endpoint_for(zmq::socket_t& socket, Address address) {
    if (address.host == "localhost") address.host = "127.0.0.1";
    socket.set(zmq::sockopt::ipv6, !address.is_ipv4());
    return "tcp://" + address.text();
}

Result<std::string> listen_on(zmq::socket_t& socket, const std::string& text) {
    const auto address = parse_address(text, AddressUse::bind);
    if (!address) return std::unexpected(address.error());
    try {
        socket.bind(endpoint_for(socket, *address));
        return socket.get(zmq::sockopt::last_endpoint).substr(std::strlen("tcp://"));
    } catch (const zmq::error_t& error) {
        return fail(Code::io_failed, "cannot listen on " + text + ": " + error.what());
    }
}

// Every node waits a little differently before it tries again, so that they do not return all at
// once.
int reconnect_ms(const ZmqTransportOptions& options, std::string_view own, LinkId id) {
    const auto base = static_cast<std::uint64_t>(options.reconnect_min.count());
    return static_cast<int>(base + hash64(own, id.value) % (base / 2 + 1));
}

// The parts of one message, at most two of which are kept. Nothing if none waits.
struct Parts {
    std::array<std::string, 2> part;
    std::size_t count = 0;
};
std::optional<Parts> receive(zmq::socket_t& socket) {
    Parts parts;
    zmq::message_t frame;
    do {
        if (!socket.recv(frame, zmq::recv_flags::dontwait)) return std::nullopt;
        if (parts.count < parts.part.size())
            parts.part[parts.count].assign(frame.data<char>(), frame.size());
        ++parts.count;
    } while (frame.more());
    return parts;
}

}  // namespace

struct ZmqTransport::Worker {
    ZmqTransportOptions options;
    std::function<void()> wakeup;
    std::string gossip_address, publish_address;
    WakeFd wake;

    std::atomic<std::uint64_t> publish_queued_bytes{0};

    mutable std::mutex mutex;  // guards the block below, and nothing slow happens under it
    std::vector<Command> commands;
    bool stopping = false;
    std::vector<Incoming> inbox;
    std::size_t inbox_bytes = 0;
    bool reading_paused = false;
    TransportCounters counted;

    // The thread's own from here on. The context outlives the sockets.
    zmq::context_t context{1};
    zmq::socket_t router, publisher;
    std::map<LinkId, Link> links;
    std::uint64_t monitors_made = 0;
    std::thread thread;

    Worker(const ZmqTransportOptions& given, std::function<void()> on_input)
        : options(given), wakeup(std::move(on_input)) {}

    Result<void> bind_all();
    void start();
    void enqueue(Command command);
    [[nodiscard]] bool inbox_full();
    void deliver(Incoming incoming);
    void count_in(std::size_t bytes);

    void run();
    void poll_once();
    [[nodiscard]] bool run_commands();
    void execute(Command& command);
    // Makes the socket of a link with `open`, which may throw zmq::error_t; an address that cannot be used
    // is reported as a link that is down.
    template <class Open>
    void open_towards(LinkId id, const std::string& address, Open&& open);
    void connect(LinkId id, const std::string& address);
    void subscribe(LinkId id, const std::string& address);
    void close(LinkId id);
    void close_dealer(Link& link);
    void transmit(zmq::socket_t* socket, const Command& command);
    void transmit_published(std::string bytes);
    void count_out(bool sent, std::size_t bytes);
    void read_requests();
    void read_link(LinkId id, zmq::socket_t& socket, IncomingKind kind);
    void read_monitor(LinkId id, zmq::socket_t& monitor);
    void discard_subscriptions();
};

Result<void> ZmqTransport::Worker::bind_all() {
    try {
        router = make_socket(context, zmq::socket_type::router);
        router.set(zmq::sockopt::router_mandatory,
                   true);  // else a reply to nobody vanishes uncounted
        router.set(zmq::sockopt::router_handover,
                   true);  // else a returning peer waits for its old connection to die
        publisher = make_socket(context, zmq::socket_type::xpub);
        publisher.set(zmq::sockopt::sndhwm, kPublishQueueMax);
    } catch (const zmq::error_t& error) {
        return fail(Code::io_failed, std::string("cannot make ZeroMQ sockets: ") + error.what());
    }
    if (options.gossip_bind.empty()) return {};
    auto gossip = listen_on(router, options.gossip_bind);
    if (!gossip) return std::unexpected(std::move(gossip.error()));
    auto publish = listen_on(publisher, options.publish_bind);
    if (!publish) return std::unexpected(std::move(publish.error()));
    gossip_address = std::move(*gossip);
    publish_address = std::move(*publish);
    return {};
}

void ZmqTransport::Worker::start() {
    sigset_t all, before;  // signals are for the threads that expect them
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void ZmqTransport::Worker::enqueue(Command command) {
    const std::lock_guard lock(mutex);
    commands.push_back(std::move(command));
    if (commands.size() == 1) wake.signal();
}

bool ZmqTransport::Worker::inbox_full() {
    const std::lock_guard lock(mutex);
    reading_paused = inbox_bytes >= options.inbox_bytes_max;
    return reading_paused;
}

void ZmqTransport::Worker::deliver(Incoming incoming) {
    bool first = false;
    {
        const std::lock_guard lock(mutex);
        const std::size_t bytes = incoming.bytes.size() + kIncomingOverhead;
        if (incoming.kind == IncomingKind::published &&
            inbox_bytes + bytes > options.inbox_bytes_max) {
            ++counted.published_dropped;
            return;
        }
        first = inbox.empty();
        inbox_bytes += bytes;
        inbox.push_back(std::move(incoming));
    }
    if (first && wakeup) wakeup();
}

void ZmqTransport::Worker::count_in(std::size_t bytes) {
    const std::lock_guard lock(mutex);
    ++counted.frames_in;
    counted.bytes_in += bytes;
}

void ZmqTransport::Worker::run() {
    // Every call that can fail in the ordinary course is handled where it is made; what is left is
    // a bug or no memory, and a node without its wire must not seem alive.
    try {
        while (run_commands()) poll_once();
        while (!links.empty()) close(links.begin()->first);
        router.close();
        publisher.close();
    } catch (const std::exception&) {
        ASSERT(!"the ZeroMQ thread failed");
    }
}

void ZmqTransport::Worker::poll_once() {
    const bool full = inbox_full();
    const short unless_full = full ? short{0} : short{ZMQ_POLLIN};
    std::vector<zmq::pollitem_t> items{{nullptr, wake.fd(), ZMQ_POLLIN, 0},
                                       {router.handle(), 0, unless_full, 0},
                                       {publisher.handle(), 0, ZMQ_POLLIN, 0}};
    const auto add = [&items](zmq::socket_t& socket, short events) {
        items.push_back({socket.handle(), 0, events, 0});
    };
    for (auto& [id, link] : links) {
        if (link.monitor) add(*link.monitor, ZMQ_POLLIN);
        if (link.dealer) add(*link.dealer, unless_full);
        if (link.feed) add(*link.feed, ZMQ_POLLIN);
    }
    try {
        zmq::poll(items, std::chrono::milliseconds(-1));
    } catch (const zmq::error_t& error) {
        if (error.num() != EINTR) throw;
        return;
    }
    const auto ready = [&items](std::size_t index) {
        return (items[index].revents & ZMQ_POLLIN) != 0;
    };
    if (ready(0)) wake.clear();
    if (ready(1)) read_requests();
    if (ready(2)) discard_subscriptions();
    std::size_t index = 3;
    for (auto& [id, link] : links) {
        if (link.monitor && ready(index++)) read_monitor(id, *link.monitor);
        if (link.dealer && ready(index++)) read_link(id, *link.dealer, IncomingKind::reply);
        if (link.feed && ready(index++)) read_link(id, *link.feed, IncomingKind::published);
    }
}

bool ZmqTransport::Worker::run_commands() {
    std::vector<Command> taken;
    {
        const std::lock_guard lock(mutex);
        if (stopping) return false;
        taken.swap(commands);
    }
    for (Command& command : taken) execute(command);
    return true;
}

void ZmqTransport::Worker::execute(Command& command) {
    const auto link = links.find(command.link);
    switch (command.kind) {
        case CommandKind::connect:
            return connect(command.link, command.target);
        case CommandKind::subscribe:
            return subscribe(command.link, command.target);
        case CommandKind::disconnect:
            return close(command.link);
        case CommandKind::send:
            return transmit(
                link != links.end() && link->second.dealer ? &*link->second.dealer : nullptr,
                command);
        case CommandKind::reply:
            return transmit(&router, command);
        case CommandKind::publish:
            return transmit_published(std::move(command.bytes));
    }
}

template <class Open>
void ZmqTransport::Worker::open_towards(LinkId id, const std::string& text, Open&& open) {
    const auto down = [&](std::string why) {
        deliver({.kind = IncomingKind::link_down,
                 .link = id,
                 .connection = {},
                 .bytes = std::move(why)});
    };
    const auto address = parse_address(text, AddressUse::connect);
    if (!address) return down(address.error().where);
    try {
        open(links[id], *address);
    } catch (const zmq::error_t& error) {
        down(text + ": " + error.what());
    }
}

void ZmqTransport::Worker::connect(LinkId id, const std::string& text) {
    open_towards(id, text, [&](Link& link, const Address& address) {
        close_dealer(link);
        zmq::socket_t dealer = make_socket(context, zmq::socket_type::dealer);
        dealer.set(zmq::sockopt::immediate,
                   true);  // old requests do not pile up for a peer that is away
        dealer.set(zmq::sockopt::reconnect_ivl,
                   reconnect_ms(options, gossip_address + options.name, id));
        dealer.set(zmq::sockopt::reconnect_ivl_max,
                   static_cast<int>(options.reconnect_max.count()));
        const std::string endpoint = "inproc://monitor-" + std::to_string(++monitors_made);
        if (zmq_socket_monitor(dealer.handle(), endpoint.c_str(),
                               ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) != 0)
            throw zmq::error_t();
        zmq::socket_t monitor(context, zmq::socket_type::pair);
        monitor.connect(endpoint);
        link.dealer = std::move(dealer);
        link.monitor = std::move(monitor);
        try {
            link.dealer->connect(endpoint_for(*link.dealer, address));
        } catch (const zmq::error_t&) {
            close_dealer(link);
            throw;
        }
    });
}

void ZmqTransport::Worker::subscribe(LinkId id, const std::string& text) {
    open_towards(id, text, [&](Link& link, const Address& address) {
        link.feed.reset();
        zmq::socket_t feed = make_socket(context, zmq::socket_type::sub);
        feed.set(zmq::sockopt::sndhwm,
                 0);  // subscriptions are messages: at a mark they would be lost
        feed.set(zmq::sockopt::reconnect_ivl,
                 reconnect_ms(options, publish_address + options.name, id));
        feed.set(zmq::sockopt::reconnect_ivl_max, static_cast<int>(options.reconnect_max.count()));
        feed.set(zmq::sockopt::subscribe, "");
        feed.connect(endpoint_for(feed, address));
        link.feed = std::move(feed);
    });
}

// The monitor is stopped before its reader goes: libzmq's I/O thread would wait for a reader for
// ever.
void ZmqTransport::Worker::close_dealer(Link& link) {
    if (link.dealer) (void)zmq_socket_monitor(link.dealer->handle(), nullptr, 0);
    link.dealer.reset();
    link.monitor.reset();
}

void ZmqTransport::Worker::close(LinkId id) {
    const auto found = links.find(id);
    if (found == links.end()) return;
    close_dealer(found->second);
    links.erase(found);
}

void ZmqTransport::Worker::transmit(zmq::socket_t* socket, const Command& command) {
    bool sent = false;
    try {
        const auto part = [&](const std::string& bytes, zmq::send_flags flags) {
            return socket
                ->send(zmq::const_buffer(bytes.data(), bytes.size()),
                       flags | zmq::send_flags::dontwait)
                .has_value();
        };
        sent = socket != nullptr &&
               (command.kind != CommandKind::reply ||
                part(command.target, zmq::send_flags::sndmore)) &&
               part(command.bytes, zmq::send_flags::none);
    } catch (const zmq::error_t& error) {
        if (error.num() == ETERM || error.num() == ENOTSOCK || error.num() == EFAULT) throw;
    }
    count_out(sent, command.bytes.size());
}

void ZmqTransport::Worker::transmit_published(std::string bytes) {
    const std::size_t count = bytes.size();
    zmq::message_t message = QueuedFrame::message(std::move(bytes), publish_queued_bytes);
    bool sent = false;
    try {
        sent = publisher.send(message, zmq::send_flags::dontwait).has_value();
    } catch (const zmq::error_t& error) {
        if (error.num() == ETERM || error.num() == ENOTSOCK || error.num() == EFAULT) throw;
    }
    count_out(sent, count);
}

void ZmqTransport::Worker::count_out(bool sent, std::size_t bytes) {
    const std::lock_guard lock(mutex);
    if (!sent) {
        ++counted.sends_dropped;
        return;
    }
    ++counted.frames_out;
    counted.bytes_out += bytes;
}

void ZmqTransport::Worker::read_requests() {
    for (std::size_t i = 0; i < kDrainMax && !inbox_full(); ++i) {
        auto parts = receive(router);
        if (!parts) return;
        if (parts->count != 2) {
            const std::lock_guard lock(mutex);
            ++counted.frames_refused;
            continue;
        }
        count_in(parts->part[1].size());
        deliver({.kind = IncomingKind::request,
                 .link = {},
                 .connection = {std::move(parts->part[0])},
                 .bytes = std::move(parts->part[1])});
    }
}

void ZmqTransport::Worker::read_link(LinkId id, zmq::socket_t& socket, IncomingKind kind) {
    for (std::size_t i = 0; i < kDrainMax && (kind == IncomingKind::published || !inbox_full());
         ++i) {
        auto parts = receive(socket);
        if (!parts) return;
        if (parts->count != 1) {
            const std::lock_guard lock(mutex);
            ++counted.frames_refused;
            continue;
        }
        count_in(parts->part[0].size());
        deliver({.kind = kind, .link = id, .connection = {}, .bytes = std::move(parts->part[0])});
    }
}

// An event: 16 bits what, 32 bits value; then the endpoint.
void ZmqTransport::Worker::read_monitor(LinkId id, zmq::socket_t& monitor) {
    while (const auto event = receive(monitor)) {
        std::uint16_t what = 0;
        if (event->part[0].size() < sizeof what) continue;
        std::memcpy(&what, event->part[0].data(), sizeof what);
        if (what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            deliver({.kind = IncomingKind::link_up, .link = id, .connection = {}, .bytes = {}});
        if (what == ZMQ_EVENT_DISCONNECTED)
            deliver({.kind = IncomingKind::link_down,
                     .link = id,
                     .connection = {},
                     .bytes = "connection lost"});
    }
}

// Subscribers' requests, which libzmq has acted on already.
void ZmqTransport::Worker::discard_subscriptions() {
    for (std::size_t i = 0; i < kDrainMax && receive(publisher); ++i) continue;
}

ZmqTransport::ZmqTransport(std::unique_ptr<Worker> worker) : worker_(std::move(worker)) {}

Result<std::unique_ptr<ZmqTransport>> ZmqTransport::open(const ZmqTransportOptions& options,
                                                         std::function<void()> wakeup) {
    try {
        auto worker = std::make_unique<Worker>(options, std::move(wakeup));
        if (auto bound = worker->bind_all(); !bound)
            return std::unexpected(std::move(bound.error()));
        worker->start();
        return std::unique_ptr<ZmqTransport>(new ZmqTransport(std::move(worker)));
    } catch (const std::exception& error) {
        return fail(Code::io_failed, std::string("cannot start ZeroMQ: ") + error.what());
    }
}

ZmqTransport::~ZmqTransport() {
    {
        const std::lock_guard lock(worker_->mutex);
        worker_->stopping = true;
    }
    worker_->wake.signal();
    worker_->thread.join();
}

void ZmqTransport::connect(LinkId link, std::string_view gossip_address) {
    worker_->enqueue({CommandKind::connect, link, std::string(gossip_address), {}});
}
void ZmqTransport::subscribe(LinkId link, std::string_view publish_address) {
    worker_->enqueue({CommandKind::subscribe, link, std::string(publish_address), {}});
}
void ZmqTransport::disconnect(LinkId link) {
    worker_->enqueue({CommandKind::disconnect, link, {}, {}});
}
void ZmqTransport::send(LinkId link, std::string bytes) {
    ASSERT(bytes.size() <= kFrameBytesMax);
    worker_->enqueue({CommandKind::send, link, {}, std::move(bytes)});
}
void ZmqTransport::reply(ConnectionToken to, std::string bytes) {
    ASSERT(bytes.size() <= kFrameBytesMax);
    worker_->enqueue({CommandKind::reply, {}, std::move(to.bytes), std::move(bytes)});
}
void ZmqTransport::publish(std::string bytes) {
    ASSERT(bytes.size() <= kFrameBytesMax);
    worker_->enqueue({CommandKind::publish, {}, {}, std::move(bytes)});
}

std::vector<Incoming> ZmqTransport::poll() {
    std::vector<Incoming> taken;
    bool resume = false;
    {
        const std::lock_guard lock(worker_->mutex);
        taken.swap(worker_->inbox);
        worker_->inbox_bytes = 0;
        resume = worker_->reading_paused;
    }
    if (resume) worker_->wake.signal();
    return taken;
}

TransportCounters ZmqTransport::counters() const {
    const std::lock_guard lock(worker_->mutex);
    TransportCounters counters = worker_->counted;
    counters.publish_queued_bytes = worker_->publish_queued_bytes;
    return counters;
}

const std::string& ZmqTransport::gossip_address() const { return worker_->gossip_address; }
const std::string& ZmqTransport::publish_address() const { return worker_->publish_address; }

}  // namespace skerry
