// node/commands/crdt.cpp — what Redis does not have: conflicts, clocks, peers, and waiting for them.
#include <array>

#include "node/clock_token.hpp"
#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"

namespace skerry::commands {
namespace {

struct KindName {
    LeafKind kind;
    std::string_view name;
};
constexpr auto kKeyLevelKinds = std::to_array<KindName>({
    {LeafKind::string, "string"},
    {LeafKind::deadline, "deadline"},
    {LeafKind::set_birth, "set_birth"},
    {LeafKind::hash_birth, "hash_birth"},
    {LeafKind::multi_value, "multi_value"},
    {LeafKind::enable_wins, "enable_wins"},
    {LeafKind::disable_wins, "disable_wins"},
});

void reply_entry(ReplyWriter& reply, const Entry& entry) {
    reply.map(4);
    reply.bulk("dot");
    reply.bulk(entry.dot().text());
    reply.bulk("wall_ms");
    reply.integer(entry.hlc.wall().count());
    reply.bulk("logical");
    reply.integer(entry.hlc.logical());
    reply.bulk("state");
    reply.bulk(entry.live() ? "live" : "removed");
}

void reply_leaf(ReplyWriter& reply, std::string_view name, const Leaf& leaf) {
    reply.map(2);
    reply.bulk("kind");
    reply.bulk(name);
    reply.bulk("entries");
    reply.array(leaf.count());
    for (const Entry& entry : leaf) reply_entry(reply, entry);
}

void reply_texts(ReplyWriter& reply, const std::vector<std::string_view>& texts) {
    reply.array(texts.size());
    for (const std::string_view text : texts) reply.bulk(text);
}

// How long to wait, as WAIT and CRDT.BARRIER take it.
[[nodiscard]] std::optional<std::int64_t> timeout(CommandContext& c, std::string_view text) {
    const auto timeout_ms = integer(c, text, "ERR timeout is not an integer or out of range");
    if (!timeout_ms) return std::nullopt;
    if (*timeout_ms >= 0) return timeout_ms;
    c.reply.error("ERR timeout is negative");
    return std::nullopt;
}

}  // namespace

void wait(CommandContext& c) {
    const auto replicas = integer(c, c.args[1]);
    if (!replicas) return;
    if (const auto timeout_ms = timeout(c, c.args[2]))
        c.node.wait(c.connection, *replicas, *timeout_ms);
}

void crdt_barrier(CommandContext& c) {
    if (!decode_clock_token(c.args[1])) return c.reply.error("ERR invalid clock token");
    if (const auto timeout_ms = timeout(c, c.args[2]))
        c.node.barrier(c.connection, c.args[1], *timeout_ms);
}

// The token covers what this connection wrote before, even in the same round: it goes out when all
// of it is durable.
void crdt_clock(CommandContext& c) {
    const Store& store = c.db.store();
    c.reply.bulk(encode_clock_token(store.clocks()));
    if (store.applied() > store.durable()) c.connection.hold_until(store.applied());
}

// A string: the values that lost. A hash: those of each field that has any.
void crdt_conflicts(CommandContext& c) {
    const KeyType type = c.db.type(c.database(), c.args[1]);
    if (type == KeyType::string) {
        return reply_texts(c.reply, value::siblings(c.db.record(c.database(), c.args[1])->string));
    }
    if (type != KeyType::hash) return c.reply.array(0);
    std::vector<std::pair<std::string, std::vector<std::string>>> found;
    c.db.for_each(c.database(), c.args[1], LeafKind::field, {}, [&](const Element& element) {
        const auto losers = value::siblings(element.leaf);
        if (!losers.empty())
            found.emplace_back(element.sub, std::vector<std::string>(losers.begin(), losers.end()));
        return true;
    });
    c.reply.map(found.size());
    for (const auto& [field, losers] : found) {
        c.reply.bulk(field);
        c.reply.array(losers.size());
        for (const std::string& loser : losers) c.reply.bulk(loser);
    }
}

void crdt_info(CommandContext& c) {
    const KeyRecord* const record = c.db.record(c.database(), c.args[1]);
    if (record == nullptr) return c.reply.null();
    std::vector<const KindName*> kinds;
    for (const KindName& kind : kKeyLevelKinds)
        if (!record->leaf(kind.kind).empty()) kinds.push_back(&kind);
    c.reply.map(6);
    c.reply.bulk("slot");
    c.reply.integer(record->address.order.slot());
    c.reply.bulk("shard");
    c.reply.integer(record->address.shard.value);
    c.reply.bulk("deadline_ms");
    c.reply.integer(record->deadline == kNoDeadline ? -1 : record->deadline.count());
    c.reply.bulk("members");
    c.reply.integer(static_cast<std::int64_t>(record->live(LeafKind::member)));
    c.reply.bulk("fields");
    c.reply.integer(static_cast<std::int64_t>(record->live(LeafKind::field)));
    c.reply.bulk("leaves");
    c.reply.array(kinds.size());
    for (const KindName* const kind : kinds)
        reply_leaf(c.reply, kind->name, record->leaf(kind->kind));
}

void crdt_peers(CommandContext& c) {
    const auto peers = c.node.peers();
    c.reply.array(peers.size());
    for (const TextFields& peer : peers) {
        c.reply.map(peer.size());
        for (const auto& [name, text] : peer) {
            c.reply.bulk(name);
            c.reply.bulk(text);
        }
    }
}

void crdt_link(CommandContext& c) {
    const bool up = c.args[2] == "heal";
    if (!up && c.args[2] != "cut") return c.reply.error("ERR CRDT.LINK peer cut|heal");
    if (!c.node.set_link(c.args[1], up)) return c.reply.error("ERR no such peer");
    c.reply.ok();
}

}  // namespace skerry::commands
