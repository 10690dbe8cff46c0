// node/commands/cluster.cpp — the cluster as a Redis Cluster client wants to see it.
//
// Every node of a region holds every slot and takes writes. A cluster client wants one master for each slot: it is
// told that the node it asks is the master of all and that the others of the region are its replicas.
#include <algorithm>
#include <array>

#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"

namespace skerry::commands {
namespace {

constexpr std::int64_t kLastSlot = kSlotCount - 1;

void cluster_info(CommandContext& c) {
    const std::string nodes = std::to_string(c.node.nodes(c.connection).size());
    c.reply.verbatim("txt",
                     "cluster_enabled:1\r\ncluster_state:ok\r\ncluster_slots_assigned:"
                     "16384\r\ncluster_slots_ok:16384\r\n"
                     "cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:" +
                         nodes +
                         "\r\ncluster_size:1\r\ncluster_current_epoch:1\r\ncluster_my_epoch:1\r\n");
}

void cluster_my_id(CommandContext& c) {
    const auto nodes = c.node.nodes(c.connection);
    c.reply.bulk(nodes.empty() ? c.node.run_id() : nodes.front().id);
}

void cluster_slots(CommandContext& c) {
    const auto nodes = c.node.nodes(c.connection);
    if (nodes.empty()) return c.reply.array(0);
    c.reply.array(1);
    c.reply.array(2 + nodes.size());
    c.reply.integer(0);
    c.reply.integer(kLastSlot);
    for (const NodeAddress& node : nodes) {
        c.reply.array(4);
        c.reply.bulk(node.host);
        c.reply.integer(node.port);
        c.reply.bulk(node.id);
        c.reply.array(0);
    }
}

void cluster_shards(CommandContext& c) {
    const auto nodes = c.node.nodes(c.connection);
    c.reply.array(1);
    c.reply.map(2);
    c.reply.bulk("slots");
    c.reply.array(2);
    c.reply.integer(0);
    c.reply.integer(kLastSlot);
    c.reply.bulk("nodes");
    c.reply.array(nodes.size());
    for (const NodeAddress& node : nodes) {
        c.reply.map(7);
        c.reply.bulk("id");
        c.reply.bulk(node.id);
        c.reply.bulk("port");
        c.reply.integer(node.port);
        c.reply.bulk("ip");
        c.reply.bulk(node.host);
        c.reply.bulk("endpoint");
        c.reply.bulk(node.host);
        c.reply.bulk("role");
        c.reply.bulk(&node == &nodes.front() ? "master" : "replica");
        c.reply.bulk("replication-offset");
        c.reply.integer(0);
        c.reply.bulk("health");
        c.reply.bulk("online");
    }
}

[[nodiscard]] std::string line_of(const NodeAddress& node, const NodeAddress& self) {
    const std::string port = std::to_string(node.port);
    const std::string head = node.id + " " + node.host + ":" + port + "@" + port;
    if (&node == &self) return head + " myself,master - 0 0 1 connected 0-16383";
    return head + " slave " + self.id + " 0 0 1 connected";
}

void cluster_nodes(CommandContext& c) {
    const auto nodes = c.node.nodes(c.connection);
    std::string text;
    for (const NodeAddress& node : nodes) text += line_of(node, nodes.front()) + "\n";
    c.reply.verbatim("txt", text);
}

void cluster_replicas(CommandContext& c) {
    const auto nodes = c.node.nodes(c.connection);
    const bool known =
        std::ranges::any_of(nodes, [&](const NodeAddress& node) { return node.id == c.args[2]; });
    if (!known) return c.reply.error("ERR Unknown node " + std::string(c.args[2]));
    if (nodes.front().id != c.args[2])
        return c.reply.error("ERR The specified node is not a master");
    c.reply.array(nodes.size() - 1);
    for (std::size_t i = 1; i < nodes.size(); ++i) c.reply.bulk(line_of(nodes[i], nodes.front()));
}

void cluster_key_slot(CommandContext& c) { c.reply.integer(slot_of(c.args[2])); }

[[nodiscard]] std::optional<std::uint16_t> slot_argument(CommandContext& c) {
    const auto slot = integer_from(c, c.args[2], 0, "ERR Invalid slot");
    if (!slot) return std::nullopt;
    if (*slot <= kLastSlot) return static_cast<std::uint16_t>(*slot);
    c.reply.error("ERR Invalid slot");
    return std::nullopt;
}

// The keys of a slot in database 0, at most `limit`.
[[nodiscard]] std::vector<std::string> keys_in_slot(CommandContext& c, std::uint16_t slot,
                                                    std::uint64_t limit) {
    std::vector<std::string> keys;
    if (limit == 0) return keys;
    c.db.for_each_key(0, std::uint64_t{slot} << 50, [&](const KeyRecord& record) {
        if (record.address.order.slot() != slot) return false;
        keys.emplace_back(record.key);
        return keys.size() < limit;
    });
    return keys;
}

void cluster_count_keys(CommandContext& c) {
    const auto slot = slot_argument(c);
    if (slot) c.reply.integer(static_cast<std::int64_t>(keys_in_slot(c, *slot, UINT64_MAX).size()));
}

void cluster_get_keys(CommandContext& c) {
    const auto slot = slot_argument(c);
    if (!slot) return;
    const auto limit = integer_from(c, c.args[3], 0, "ERR Invalid number of keys");
    if (!limit) return;
    const auto keys = keys_in_slot(c, *slot, static_cast<std::uint64_t>(*limit));
    c.reply.array(keys.size());
    for (const std::string& key : keys) c.reply.bulk(key);
}

void cluster_help(CommandContext& c) {
    static constexpr auto kLines = std::to_array<std::string_view>({
        "COUNTKEYSINSLOT <slot>",
        "    Return the number of keys in <slot>.",
        "GETKEYSINSLOT <slot> <count>",
        "    Return key names stored by current node in a slot.",
        "INFO",
        "    Return information about the cluster.",
        "KEYSLOT <key>",
        "    Return the hash slot for <key>.",
        "MYID",
        "    Return the node id.",
        "NODES",
        "    Return the nodes of this region, one a line.",
        "REPLICAS <node-id>",
        "    Return the other nodes of this region.",
        "SHARDS",
        "    Return information about slot range mappings and the nodes associated with them.",
        "SLOTS",
        "    Return information about slots range mappings.",
    });
    help(c, kLines);
}

struct Subcommand {
    std::string_view name;
    std::size_t argument_count;  // both words count
    void (*handler)(CommandContext& c);
};

constexpr auto kSubcommands = std::to_array<Subcommand>({
    {"COUNTKEYSINSLOT", 3, cluster_count_keys},
    {"GETKEYSINSLOT", 4, cluster_get_keys},
    {"HELP", 2, cluster_help},
    {"INFO", 2, cluster_info},
    {"KEYSLOT", 3, cluster_key_slot},
    {"MYID", 2, cluster_my_id},
    {"NODES", 2, cluster_nodes},
    {"REPLICAS", 3, cluster_replicas},
    {"SHARDS", 2, cluster_shards},
    {"SLAVES", 3, cluster_replicas},
    {"SLOTS", 2, cluster_slots},
});

}  // namespace

void cluster(CommandContext& c) {
    for (const Subcommand& subcommand : kSubcommands) {
        if (!c.says(1, subcommand.name)) continue;
        return c.count() == subcommand.argument_count ? subcommand.handler(c)
                                                      : wrong_arity(c, c.args[1]);
    }
    unknown_subcommand(c);
}

// READONLY, READWRITE and ASKING: every node takes reads and writes for every slot, so there is
// nothing to switch.
void cluster_mode(CommandContext& c) { c.reply.ok(); }

}  // namespace skerry::commands
