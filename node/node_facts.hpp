// node/node_facts.hpp — what commands ask of the node around them: its name, its clients, its settings, its peers.
//
// Why      the commands stay pure; the node, a test and the simulator each answer in their own way.
// Thread   core thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/result.hpp"
#include "node/connection.hpp"
#include "node/database.hpp"
#include "node/members.hpp"

namespace skerry {

using TextFields = std::vector<std::pair<std::string, std::string>>;

struct NodeAddress {
    std::string id;  // 40 hex characters
    std::string host;
    std::uint16_t port = 0;
};

class NodeFacts {
  public:
    virtual ~NodeFacts() = default;

    // ---- who and since when.
    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual std::string region() const = 0;
    [[nodiscard]] virtual std::string cluster() const = 0;
    [[nodiscard]] virtual std::string run_id() const = 0;  // 40 hex characters
    [[nodiscard]] virtual std::uint64_t uptime_seconds() const = 0;
    // A clock that only runs forward, for durations.
    [[nodiscard]] virtual std::uint64_t mono_us() const = 0;
    // Unix time of the last checkpoint in seconds; 0: none yet.
    [[nodiscard]] virtual std::int64_t last_checkpoint_seconds() const = 0;

    // ---- INFO: the lines of a section, each ended by CR LF, without its heading; empty: there is
    // no such section. Sections are lower case. "keyspace" and "commandstats" are made by the
    // commands themselves.
    [[nodiscard]] virtual std::string info(std::string_view section) const = 0;
    virtual void reset_stats() = 0;

    // ---- settings. An error `unsupported` says that there is no such setting; others have their
    // reason in `where`.
    [[nodiscard]] virtual TextFields config_get(std::string_view pattern) const = 0;
    [[nodiscard]] virtual Result<void> config_set(std::string_view key, std::string_view value) = 0;
    [[nodiscard]] virtual std::optional<std::string> password() const = 0;

    // ---- clients.
    [[nodiscard]] virtual std::vector<Connection*> clients() = 0;
    // Stops the node once replies are out.
    virtual void shutdown() = 0;

    // ---- catching up. The whole error ("LOADING ..."), while the node refuses clients until it has what its peers had.
    [[nodiscard]] virtual std::optional<std::string> clients_refused() const = 0;

    // ---- writes. The whole error ("MISCONF ..."), when nothing that needs room may be written; or nothing at all.
    enum class Writes : std::uint8_t { all, that_grow };
    [[nodiscard]] virtual std::optional<std::string> refused(Writes writes) const = 0;

    // ---- replication. Both reply at once, or block the connection and reply later; 0 ms waits for
    // ever. Replies the number of replicas whose durable clock covers the connection's last write
    // (session_of()).
    virtual void wait(Connection& connection, std::int64_t replicas, std::int64_t timeout_ms) = 0;
    // Replies OK when this node covers the clock token, or an error at the timeout. `token` as
    // CRDT.CLOCK gives it; it was checked before.
    virtual void barrier(Connection& connection, std::string_view token,
                         std::int64_t timeout_ms) = 0;
    [[nodiscard]] virtual std::vector<TextFields> peers() const = 0;
    [[nodiscard]] virtual std::vector<TextFields> syncs() const = 0;
    // CRDT.LINK: a drill. False: there is no such peer.
    [[nodiscard]] virtual bool set_link(std::string_view peer, bool up) = 0;

    // ---- members. CRDT.MEMBERS; CRDT.FORGET (errors: refused, with a sentence).
    [[nodiscard]] virtual std::vector<MemberStatus> members() = 0;
    [[nodiscard]] virtual Result<void> forget(std::string_view name) = 0;
    // CRDT.LEAVE: hands over what is here, ends the node, and replies before that; or replies an error, and goes on.
    virtual void leave(Connection& connection, std::int64_t timeout_ms) = 0;

    // Ends a flush that has been begun, beside other clients: blocks the connection and replies later.
    virtual void flush(Connection& connection, const Flush& flush) = 0;

    // CRDT.VERIFY: compares with one peer, or with all; blocks the connection and replies later.
    virtual void verify(Connection& connection, std::optional<std::string_view> peer,
                        bool repairs) = 0;

    // ---- CLUSTER: the nodes of this region as a client at `connection` reaches them, this node
    // first.
    [[nodiscard]] virtual std::vector<NodeAddress> nodes(const Connection& connection) const = 0;
};

}  // namespace skerry
