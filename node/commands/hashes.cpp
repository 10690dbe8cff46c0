// node/commands/hashes.cpp — commands on hashes.
#include <algorithm>

#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"

namespace skerry::commands {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// All fields of the hash at args[1]. nullopt: an error has been replied.
[[nodiscard]] std::optional<Fields> all_fields(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::hash)) return std::nullopt;
    Fields fields;
    c.db.for_each(c.database(), c.args[1], LeafKind::field, {}, [&](const Element& element) {
        fields.emplace_back(element.sub, Database::value_of(element));
        return true;
    });
    return fields;
}

[[nodiscard]] std::optional<std::string> field_of(CommandContext& c, std::string_view field) {
    return c.db.hash_get(c.database(), c.args[1], field);
}

void reply_picked(CommandContext& c, const std::vector<Picked>& chosen, bool with_values) {
    const bool pairs = with_values && c.reply.protocol() == Protocol::resp3;
    c.reply.array(with_values && !pairs ? 2 * chosen.size() : chosen.size());
    for (const Picked& one : chosen) {
        if (pairs) c.reply.array(2);
        c.reply.bulk(one.sub);
        if (with_values) c.reply.bulk(one.value);
    }
}

constexpr std::int64_t kDrawsMax = 1024 * 1024;  // with repetition: more than anybody reads

}  // namespace

// HSET and HMSET differ in their replies.
void hset(CommandContext& c) {
    if (c.count() % 2 != 0) return wrong_arity(c);
    if (!subs_fit(c, 2, 2, "field") || !typed(c, c.args[1], KeyType::hash)) return;
    std::int64_t added = 0;
    for (std::size_t i = 2; i < c.count(); i += 2)
        added += c.db.hash_set(c.database(), c.args[1], c.args[i], c.args[i + 1]) ? 1 : 0;
    c.says(0, "HMSET") ? c.reply.ok() : c.reply.integer(added);
}

void hsetnx(CommandContext& c) {
    if (!subs_fit(c, 2, 2, "field") || !typed(c, c.args[1], KeyType::hash)) return;
    if (field_of(c, c.args[2])) return c.reply.integer(0);
    c.db.hash_set(c.database(), c.args[1], c.args[2], c.args[3]);
    c.reply.integer(1);
}

void hget(CommandContext& c) {
    if (typed(c, c.args[1], KeyType::hash)) reply_optional(c.reply, field_of(c, c.args[2]));
}

void hmget(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::hash)) return;
    c.reply.array(c.count() - 2);
    for (const std::string_view field : c.args.subspan(2))
        reply_optional(c.reply, field_of(c, field));
}

void hgetall(CommandContext& c) {
    const auto fields = all_fields(c);
    if (!fields) return;
    c.reply.map(fields->size());
    for (const auto& [field, bytes] : *fields) {
        c.reply.bulk(field);
        c.reply.bulk(bytes);
    }
}

void hkeys(CommandContext& c) {
    const auto fields = all_fields(c);
    if (!fields) return;
    c.reply.array(fields->size());
    for (const auto& field : *fields) c.reply.bulk(field.first);
}

void hvals(CommandContext& c) {
    const auto fields = all_fields(c);
    if (!fields) return;
    c.reply.array(fields->size());
    for (const auto& field : *fields) c.reply.bulk(field.second);
}

void hlen(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::hash)) return;
    c.reply.integer(
        static_cast<std::int64_t>(c.db.count(c.database(), c.args[1], LeafKind::field)));
}

void hexists(CommandContext& c) {
    if (typed(c, c.args[1], KeyType::hash)) c.reply.integer(field_of(c, c.args[2]) ? 1 : 0);
}

void hstrlen(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::hash)) return;
    const auto bytes = field_of(c, c.args[2]);
    c.reply.integer(bytes ? static_cast<std::int64_t>(bytes->size()) : 0);
}

void hdel(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::hash)) return;
    std::int64_t removed = 0;
    for (const std::string_view field : c.args.subspan(2)) {
        if (!c.db.exists(c.database(), c.args[1])) break;  // the last field went
        removed += c.db.hash_remove(c.database(), c.args[1], field) ? 1 : 0;
    }
    c.reply.integer(removed);
}

void hincrby(CommandContext& c) {
    const auto increment = integer(c, c.args[3]);
    if (!increment || !typed(c, c.args[1], KeyType::hash)) return;
    if (c.args[2].size() > kKeyBytesMax) return static_cast<void>(subs_fit(c, 2, 2, "field"));
    const auto sum = c.db.hash_add(c.database(), c.args[1], c.args[2], *increment);
    if (sum) return c.reply.integer(*sum);
    c.reply.error(sum.error().code == Code::not_a_number
                      ? "ERR hash value is not an integer"
                      : "ERR increment or decrement would overflow");
}

void hincrbyfloat(CommandContext& c) {
    const auto increment = value::parse_real(c.args[3]);
    if (!increment) return c.reply.error(kNotFloat);
    if (!typed(c, c.args[1], KeyType::hash)) return;
    if (c.args[2].size() > kKeyBytesMax) return static_cast<void>(subs_fit(c, 2, 2, "field"));
    const auto sum = c.db.hash_add_real(c.database(), c.args[1], c.args[2], *increment);
    if (sum) return c.reply.bulk(*sum);
    c.reply.error(sum.error().code == Code::not_a_number
                      ? "ERR hash value is not a float"
                      : "ERR increment would produce NaN or Infinity");
}

// The cursor is the upper half of the next field's hash; fields that share it go together.
void hscan(CommandContext& c) {
    const auto cursor = scan_cursor(c, c.args[2]);
    if (!cursor || !typed(c, c.args[1], KeyType::hash)) return;
    const auto options = scan_options(c, 3, false);
    if (!options) return;
    scan_elements(c, LeafKind::field, *cursor, *options);
}

void hrandfield(CommandContext& c) {
    if (c.count() > 4 || (c.count() == 4 && !c.says(3, "WITHVALUES")))
        return c.reply.error(kSyntaxError);
    std::optional<std::int64_t> wanted;
    if (c.count() > 2) {
        wanted = integer(c, c.args[2]);
        if (!wanted) return;
    }
    const auto type = typed(c, c.args[1], KeyType::hash);
    if (!type) return;
    if (!wanted) {
        const auto one = pick_one(c, c.args[1], LeafKind::field);
        return reply_optional(c.reply, one ? std::optional(one->sub) : std::nullopt);
    }
    if (*wanted < -kDrawsMax) return c.reply.error(kOutOfRange);
    std::vector<Picked> chosen;
    if (*wanted >= 0) {
        chosen = pick_distinct(c, c.args[1], LeafKind::field, static_cast<std::uint64_t>(*wanted));
    } else if (*type == KeyType::hash) {
        for (std::int64_t i = 0; i < -*wanted; ++i)
            if (auto one = pick_one(c, c.args[1], LeafKind::field))
                chosen.push_back(*std::move(one));
    }
    reply_picked(c, chosen, c.count() == 4);
}

}  // namespace skerry::commands
