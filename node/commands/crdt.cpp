// node/commands/crdt.cpp — what Redis does not have: conflicts, clocks, peers, and waiting for them.
#include <array>

#include "node/clock_token.hpp"
#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"
#include "node/member_reply.hpp"

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

// What a write that has seen both sides would settle.
struct Conflict {
    std::optional<std::string> field;    // of a hash
    std::string value;                   // that lost
    std::optional<KeyType> hidden_type;  // under the same key; then no value
    std::uint64_t elements = 0;          // of the hidden type
};

void reply_conflict(ReplyWriter& reply, const Conflict& conflict) {
    reply.map(conflict.hidden_type || conflict.field ? 3 : 2);
    reply.bulk("kind");
    reply.bulk(conflict.hidden_type ? "type" : "sibling");
    if (conflict.hidden_type) {
        reply.bulk("type");
        reply.bulk(name_of(*conflict.hidden_type));
        reply.bulk("elements");
        return reply.integer(static_cast<std::int64_t>(conflict.elements));
    }
    if (conflict.field) {
        reply.bulk("field");
        reply.bulk(*conflict.field);
    }
    reply.bulk("value");
    reply.bulk(conflict.value);
}

void add_hidden_types(const KeyRecord& record, std::vector<Conflict>& conflicts) {
    const auto add = [&](KeyType type, std::uint64_t elements) {
        if (elements > 0 && record.type != type)
            conflicts.push_back(
                {.field = {}, .value = {}, .hidden_type = type, .elements = elements});
    };
    add(KeyType::string, value::read(record.string).exists ? 1 : 0);
    add(KeyType::set, record.live(LeafKind::member));
    add(KeyType::hash, record.live(LeafKind::field));
}

void reply_rows(ReplyWriter& reply, const std::vector<TextFields>& rows) {
    reply.array(rows.size());
    for (const TextFields& row : rows) {
        reply.map(row.size());
        for (const auto& [name, text] : row) {
            reply.bulk(name);
            reply.bulk(text);
        }
    }
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

void crdt_conflicts(CommandContext& c) {
    const KeyType type = c.db.type(c.database(), c.args[1]);
    if (type == KeyType::none) return c.reply.array(0);
    std::vector<Conflict> conflicts;
    const auto add = [&](const Leaf& leaf, const std::optional<std::string>& field) {
        for (const std::string_view loser : value::siblings(leaf))
            conflicts.push_back(
                {.field = field, .value = std::string(loser), .hidden_type = {}, .elements = 0});
    };
    if (type == KeyType::string) add(c.db.record(c.database(), c.args[1])->string, {});
    if (type == KeyType::hash)
        c.db.for_each(c.database(), c.args[1], LeafKind::field, {}, [&](const Element& element) {
            add(element.leaf, std::string(element.sub));
            return true;
        });
    add_hidden_types(*c.db.record(c.database(), c.args[1]), conflicts);
    c.reply.array(conflicts.size());
    for (const Conflict& conflict : conflicts) reply_conflict(c.reply, conflict);
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

void crdt_peers(CommandContext& c) { reply_rows(c.reply, c.node.peers()); }

void crdt_sync(CommandContext& c) { reply_rows(c.reply, c.node.syncs()); }

void crdt_members(CommandContext& c) { reply_members(c.reply, c.node.members()); }

void crdt_forget(CommandContext& c) {
    if (const auto done = c.node.forget(c.args[1]); !done)
        return c.reply.error("ERR " + done.error().where);
    c.reply.ok();
}

void crdt_leave(CommandContext& c) {
    constexpr std::int64_t kLeaveMs = 60'000;
    if (c.count() > 2) return c.reply.error("ERR CRDT.LEAVE [timeout-ms]");
    if (const auto timeout_ms = c.count() == 2 ? timeout(c, c.args[1]) : kLeaveMs)
        c.node.leave(c.connection, *timeout_ms);
}

void crdt_verify(CommandContext& c) {
    const bool repairs = c.args.size() > 1 && lower(c.args.back()) == "repair";
    const std::size_t count = c.args.size() - (repairs ? 1 : 0);
    if (count > 2) return c.reply.error("ERR CRDT.VERIFY [peer] [REPAIR]");
    c.node.verify(c.connection, count == 2 ? std::optional(c.args[1]) : std::nullopt, repairs);
}

void crdt_link(CommandContext& c) {
    const bool up = c.args[2] == "heal";
    if (!up && c.args[2] != "cut") return c.reply.error("ERR CRDT.LINK peer cut|heal");
    if (!c.node.set_link(c.args[1], up)) return c.reply.error("ERR no such peer");
    c.reply.ok();
}

}  // namespace skerry::commands
