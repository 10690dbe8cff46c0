// node/commands/sets.cpp — commands on sets.
#include <absl/container/flat_hash_set.h>

#include <algorithm>

#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"

namespace skerry::commands {
namespace {

using Members = std::vector<std::string>;

constexpr std::int64_t kDrawsMax = 1024 * 1024;  // with repetition: more than anybody reads

[[nodiscard]] Members members_of(CommandContext& c, std::string_view key) {
    Members members;
    c.db.for_each(c.database(), key, LeafKind::member, {}, [&](const Element& element) {
        members.emplace_back(element.sub);
        return true;
    });
    return members;
}

[[nodiscard]] bool contains(CommandContext& c, std::string_view key, std::string_view member) {
    return c.db.type(c.database(), key) == KeyType::set &&
           c.db.set_contains(c.database(), key, member);
}

using Keys = std::span<const std::string_view>;

[[nodiscard]] bool all_sets(CommandContext& c, Keys keys) {
    return std::ranges::all_of(
        keys, [&](std::string_view key) { return typed(c, key, KeyType::set).has_value(); });
}

// Walks the smallest set and asks the others; stops at `limit` members (0: none).
[[nodiscard]] Members intersection(CommandContext& c, Keys keys, std::size_t limit) {
    const auto count = [&](std::string_view key) {
        return c.db.count(c.database(), key, LeafKind::member);
    };
    const auto smallest = std::ranges::min_element(keys, {}, count);
    Members result;
    if (count(*smallest) == 0) return result;
    for (std::string& member : members_of(c, *smallest)) {
        const bool everywhere = std::ranges::all_of(keys, [&](std::string_view key) {
            return key == *smallest || contains(c, key, member);
        });
        if (everywhere) result.push_back(std::move(member));
        if (limit != 0 && result.size() == limit) break;
    }
    return result;
}

// Stops when `weight`, if there is one, is passed.
[[nodiscard]] Members union_of(CommandContext& c, Keys keys, WriteWeight* weight) {
    absl::flat_hash_set<std::string> seen;
    Members result;
    const auto fits = [&] { return weight == nullptr || weight->fits(); };
    const auto take = [&](const Element& element) {
        if (!seen.emplace(element.sub.view()).second) return true;
        if (weight != nullptr) weight->add(element.sub.view().size());
        result.emplace_back(element.sub);
        return fits();
    };
    for (const std::string_view key : keys)
        if (fits()) c.db.for_each(c.database(), key, LeafKind::member, {}, take);
    return result;
}

[[nodiscard]] Members difference(CommandContext& c, Keys keys) {
    Members result = members_of(c, keys[0]);
    std::erase_if(result, [&](const std::string& member) {
        return std::ranges::any_of(keys.subspan(1),
                                   [&](std::string_view key) { return contains(c, key, member); });
    });
    return result;
}

void reply_members(CommandContext& c, const Members& members) {
    c.reply.set(members.size());
    for (const std::string& member : members) c.reply.bulk(member);
}

// Puts the result in place of whatever the destination holds.
void store_members(CommandContext& c, std::string_view destination, const Members& members) {
    WriteWeight weight;
    for (const std::string& member : members) weight.add(member.size());
    if (!weight.fits()) return c.reply.error(kTooMuch);
    c.db.remove(c.database(), destination);
    for (const std::string& member : members) c.db.set_add(c.database(), destination, member);
    c.reply.integer(static_cast<std::int64_t>(members.size()));
}

}  // namespace

void sadd(CommandContext& c) {
    if (!subs_fit(c, 2, 1, "member") || !typed(c, c.args[1], KeyType::set)) return;
    std::int64_t added = 0;
    for (const std::string_view member : c.args.subspan(2))
        added += c.db.set_add(c.database(), c.args[1], member) ? 1 : 0;
    c.reply.integer(added);
}

void srem(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::set)) return;
    std::int64_t removed = 0;
    for (const std::string_view member : c.args.subspan(2)) {
        if (!c.db.exists(c.database(), c.args[1])) break;  // the last member went
        removed += c.db.set_remove(c.database(), c.args[1], member) ? 1 : 0;
    }
    c.reply.integer(removed);
}

void smembers(CommandContext& c) {
    if (typed(c, c.args[1], KeyType::set)) reply_members(c, members_of(c, c.args[1]));
}

void scard(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::set)) return;
    c.reply.integer(
        static_cast<std::int64_t>(c.db.count(c.database(), c.args[1], LeafKind::member)));
}

void sismember(CommandContext& c) {
    if (typed(c, c.args[1], KeyType::set))
        c.reply.integer(contains(c, c.args[1], c.args[2]) ? 1 : 0);
}

void smismember(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::set)) return;
    c.reply.array(c.count() - 2);
    for (const std::string_view member : c.args.subspan(2))
        c.reply.integer(contains(c, c.args[1], member) ? 1 : 0);
}

void spop(CommandContext& c) {
    if (c.count() > 3) return c.reply.error(kSyntaxError);
    std::optional<std::int64_t> wanted;
    if (c.count() == 3) {
        wanted = integer_from(c, c.args[2], 0, "ERR value is out of range, must be positive");
        if (!wanted) return;
    }
    if (!typed(c, c.args[1], KeyType::set)) return;
    if (!wanted) {
        const auto one = pick_one(c, c.args[1], LeafKind::member);
        if (!one) return c.reply.null();
        c.db.set_remove(c.database(), c.args[1], one->sub);
        return c.reply.bulk(one->sub);
    }
    Members members;
    for (Picked& one :
         pick_distinct(c, c.args[1], LeafKind::member, static_cast<std::uint64_t>(*wanted)))
        members.push_back(std::move(one.sub));
    for (const std::string& member : members) c.db.set_remove(c.database(), c.args[1], member);
    reply_members(c, members);
}

void srandmember(CommandContext& c) {
    if (c.count() > 3) return c.reply.error(kSyntaxError);
    std::optional<std::int64_t> wanted;
    if (c.count() == 3) {
        wanted = integer(c, c.args[2]);
        if (!wanted) return;
    }
    const auto type = typed(c, c.args[1], KeyType::set);
    if (!type) return;
    if (!wanted) {
        const auto one = pick_one(c, c.args[1], LeafKind::member);
        return reply_optional(c.reply, one ? std::optional(one->sub) : std::nullopt);
    }
    if (*wanted < -kDrawsMax) return c.reply.error(kOutOfRange);
    std::vector<Picked> chosen;
    if (*wanted >= 0) {
        chosen = pick_distinct(c, c.args[1], LeafKind::member, static_cast<std::uint64_t>(*wanted));
    } else if (*type == KeyType::set) {
        for (std::int64_t i = 0; i < -*wanted; ++i)
            if (auto one = pick_one(c, c.args[1], LeafKind::member))
                chosen.push_back(*std::move(one));
    }
    c.reply.array(chosen.size());
    for (const Picked& one : chosen) c.reply.bulk(one.sub);
}

void smove(CommandContext& c) {
    const std::string_view from = c.args[1];
    const std::string_view to = c.args[2];
    const auto source = typed(c, from, KeyType::set);
    if (!source) return;
    if (*source == KeyType::none) return c.reply.integer(0);
    if (!typed(c, to, KeyType::set)) return;
    if (!contains(c, from, c.args[3])) return c.reply.integer(0);
    if (from != to) {
        c.db.set_remove(c.database(), from, c.args[3]);
        c.db.set_add(c.database(), to, c.args[3]);
    }
    c.reply.integer(1);
}

void sinter(CommandContext& c) {
    if (all_sets(c, c.args.subspan(1))) reply_members(c, intersection(c, c.args.subspan(1), 0));
}
void sunion(CommandContext& c) {
    if (all_sets(c, c.args.subspan(1))) reply_members(c, union_of(c, c.args.subspan(1), nullptr));
}
void sdiff(CommandContext& c) {
    if (all_sets(c, c.args.subspan(1))) reply_members(c, difference(c, c.args.subspan(1)));
}
void sinterstore(CommandContext& c) {
    if (all_sets(c, c.args.subspan(2)))
        store_members(c, c.args[1], intersection(c, c.args.subspan(2), 0));
}
void sunionstore(CommandContext& c) {
    if (!all_sets(c, c.args.subspan(2))) return;
    WriteWeight weight;
    store_members(c, c.args[1], union_of(c, c.args.subspan(2), &weight));
}
void sdiffstore(CommandContext& c) {
    if (all_sets(c, c.args.subspan(2)))
        store_members(c, c.args[1], difference(c, c.args.subspan(2)));
}

void sintercard(CommandContext& c) {
    const auto count = integer_from(c, c.args[1], 1, "ERR numkeys should be greater than 0");
    if (!count) return;
    if (static_cast<std::uint64_t>(*count) > c.count() - 2)
        return c.reply.error("ERR Number of keys can't be greater than number of args");
    const Keys keys = c.args.subspan(2, static_cast<std::size_t>(*count));
    std::size_t limit = 0;
    for (std::size_t i = 2 + keys.size(); i < c.count(); i += 2) {
        if (!c.says(i, "LIMIT") || i + 1 >= c.count()) return c.reply.error(kSyntaxError);
        const auto given = integer_from(c, c.args[i + 1], 0, "ERR LIMIT can't be negative");
        if (!given) return;
        limit = static_cast<std::size_t>(*given);
    }
    if (!all_sets(c, keys)) return;
    c.reply.integer(static_cast<std::int64_t>(intersection(c, keys, limit).size()));
}

// The cursor is the upper half of the next member's hash; members that share it go together.
void sscan(CommandContext& c) {
    const auto cursor = scan_cursor(c, c.args[2]);
    if (!cursor || !typed(c, c.args[1], KeyType::set)) return;
    const auto options = scan_options(c, 3, false);
    if (!options) return;
    scan_elements(c, LeafKind::member, *cursor, *options);
}

}  // namespace skerry::commands
