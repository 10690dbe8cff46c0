// net/transport.hpp — the line between the replica's driver and the wire: frames go in, frames come out.
//
// Links    a link is this node's own connection to one peer: requests go out and replies come back (connect), what the
//          peer publishes comes in (subscribe). The caller chooses its number; a number is not used again for another peer.
// Loss     nothing here is reliable. A frame to a peer that is not connected, or whose queue is full, is dropped and
//          counted; so is a published frame for which there is no room. Whoever asks repeats; positions show the holes.
// Down     link_down is what TCP notices. A cable that is cut shows nothing: the node's heartbeats find that.
// Thread   any thread may call; one thread polls. `wakeup` runs on the transport's thread: it must be short and not call back.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace skerry {

struct LinkId {
    std::uint64_t value = 0;
    friend constexpr auto operator<=>(LinkId, LinkId) = default;
};

// Names a connection that a peer has made to us, for replies; worthless once that connection is
// gone.
struct ConnectionToken {
    std::string bytes;
    friend auto operator<=>(const ConnectionToken&, const ConnectionToken&) = default;
};

enum class IncomingKind : std::uint8_t {
    request,    // from `connection`: answer with reply()
    reply,      // over `link`
    published,  // by the peer of `link`
    link_up,    // connected, and the other side speaks ZeroMQ
    link_down,  // lost, or the address was refused: then `bytes` is a sentence saying why
};

struct Incoming {
    IncomingKind kind = IncomingKind::request;
    LinkId link;                 // of a request: 0
    ConnectionToken connection;  // of a request
    std::string bytes;
};

struct TransportCounters {
    std::uint64_t frames_in = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t frames_out = 0;
    std::uint64_t bytes_out = 0;
    std::uint64_t published_dropped = 0;  // no room in the inbox
    std::uint64_t sends_dropped = 0;      // peer not connected, gone, or its queue full
    std::uint64_t frames_refused = 0;     // not of our shape: more parts than one
    // Now, not since the start: published, and not yet taken by every subscriber's connection.
    std::uint64_t publish_queued_bytes = 0;
};

class Transport {
  public:
    Transport() = default;
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;
    virtual ~Transport() = default;

    // Addresses are host:port, an IPv6 host in brackets. Both reconnect by themselves until
    // disconnect(). Said again, each begins a new connection in place of the old one.
    virtual void connect(LinkId link, std::string_view gossip_address) = 0;
    virtual void subscribe(LinkId link, std::string_view publish_address) = 0;
    // Ends both; frames of the link that have arrived already may still be polled.
    virtual void disconnect(LinkId link) = 0;

    // Requires: at most kFrameBytesMax bytes.
    virtual void send(LinkId link, std::string bytes) = 0;
    virtual void reply(ConnectionToken to, std::string bytes) = 0;
    virtual void publish(std::string bytes) = 0;

    // What has come in since the last call, in order of arrival.
    [[nodiscard]] virtual std::vector<Incoming> poll() = 0;
    [[nodiscard]] virtual TransportCounters counters() const = 0;
};

}  // namespace skerry
