// The part of node/node.hpp that takes the node out of its cluster: CRDT.LEAVE, and what a node says that is no member.
#include "node/node.hpp"

namespace skerry {

std::optional<std::string> Node::not_member() const {
    if (leaving_) return "NOMEMBER this node is leaving the cluster: write to another one";
    if (const auto& why = replication_->gone()) return "NOMEMBER nothing is written here: " + *why;
    return std::nullopt;
}

void Node::leave(Connection& connection, std::int64_t timeout_ms) {
    if (const auto no = not_member()) return connection.reply().error(*no);
    if (!replication_->joined())
        return connection.reply().error("ERR this node has not joined a cluster: SHUTDOWN ends it");
    leaving_ = {.connection = connection.id(),
                .clocks = store_->clocks(),
                .until = std::nullopt,
                .marked = false};
    if (timeout_ms > 0) leaving_->until = mono() + MonoTime(timeout_ms);
    connection.block();
}

void Node::reply_leaving(std::optional<std::string_view> error) {
    if (Connection* connection = server_->find(leaving_->connection)) {
        error ? connection->reply().error(*error) : connection->reply().ok();
        connection->unblock();
    }
    leaving_.reset();
}

void Node::step_leave() {
    if (!leaving_) return;
    const bool late = leaving_->until && mono() >= *leaving_->until;
    if (leaving_->marked) {
        const bool heard = replication_->peers_covering(leaving_->clocks) > 0;
        if (!heard && !late) return;
        reply_leaving(heard ? std::nullopt
                            : std::optional<std::string_view>(
                                  "TIMEOUT this node has left and ends, but no member is known to "
                                  "have heard of it: say CRDT.FORGET at one of them"));
        return stop();
    }
    const std::vector<std::string> lacking = replication_->lacking(leaving_->clocks, mono());
    if (lacking.empty() && replication_->hears_members(mono())) {
        replication_->leave();
        leaving_->clocks.clear();
        const ShardId table = store_->configuration_shard();  // which all hold
        const Seq own = store_->shard(table).clock.at(store_->self());
        leaving_->clocks.emplace_back(table, VersionVector{{store_->self(), own}});
        leaving_->marked = true;
        return;
    }
    if (!late) return;
    std::string names;
    for (const std::string& name : lacking) names += (names.empty() ? "" : ", ") + name;
    reply_leaving(names.empty() ? "TIMEOUT no member is connected that could take over: this node "
                                  "stays"
                                : "TIMEOUT not all that is here is at " + names +
                                      " yet: this node stays, try again");
}

}  // namespace skerry
