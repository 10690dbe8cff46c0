// node/commands/context.cpp — checks and replies shared by the handlers; see the header.
#include "node/commands/context.hpp"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "node/glob.hpp"

namespace skerry {

bool CommandContext::says(std::size_t index, std::string_view word) const {
    return commands::equals_folded(args[index], word);
}

namespace commands {
namespace {

[[nodiscard]] char to_upper(char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
}
[[nodiscard]] char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

[[nodiscard]] Picked picked(LeafKind kind, const Element& element) {
    return Picked{.sub = std::string(element.sub.view()),
                  .value = kind == LeafKind::field ? Database::value_of(element) : std::string()};
}

}  // namespace

bool equals_folded(std::string_view text, std::string_view upper_text) {
    return std::ranges::equal(text, upper_text, {}, to_upper);
}

std::string lower(std::string_view text) {
    std::string result(text);
    std::ranges::transform(result, result.begin(), to_lower);
    return result;
}

std::string upper(std::string_view text) {
    std::string result(text);
    std::ranges::transform(result, result.begin(), to_upper);
    return result;
}

std::string_view name_of(KeyType type) {
    switch (type) {
        case KeyType::none:
            return "none";
        case KeyType::string:
            return "string";
        case KeyType::set:
            return "set";
        case KeyType::hash:
            return "hash";
    }
    return "none";
}

std::optional<KeyType> typed(CommandContext& c, std::string_view key, KeyType wanted) {
    const KeyType found = c.db.type(c.database(), key);
    if (found == wanted || found == KeyType::none) return found;
    c.reply.error(kWrongType);
    return std::nullopt;
}

std::optional<std::int64_t> integer(CommandContext& c, std::string_view text,
                                    std::string_view error) {
    const auto number = value::parse_integer(text);
    if (!number) c.reply.error(error);
    return number;
}

std::optional<std::int64_t> integer_from(CommandContext& c, std::string_view text,
                                         std::int64_t least, std::string_view error) {
    const auto number = value::parse_integer(text);
    if (number && *number >= least) return number;
    c.reply.error(error);
    return std::nullopt;
}

bool subs_fit(CommandContext& c, std::size_t first, std::size_t step, std::string_view what) {
    for (std::size_t i = first; i < c.count(); i += step) {
        if (c.args[i].size() <= kKeyBytesMax) continue;
        c.reply.error("ERR " + std::string(what) + " exceeds " + std::to_string(kKeyBytesMax) +
                      " bytes");
        return false;
    }
    return true;
}

std::string no_domain(const Database& db, DatabaseId database, std::string_view key) {
    return "NODOMAIN the domain '" + db.domain_of(database, key) +
           "', which the key belongs to, is not held by this node: ask one that holds it";
}

bool refuse_growth(CommandContext& c) {
    const auto refused = c.node.refused(NodeFacts::Writes::that_grow);
    if (refused) c.reply.error(*refused);
    return refused.has_value();
}

void reply_optional(ReplyWriter& reply, const std::optional<std::string>& value) {
    if (value) {
        reply.bulk(*value);
    } else {
        reply.null();
    }
}

void unknown_subcommand(CommandContext& c) {
    c.reply.error("ERR unknown subcommand '" + std::string(c.args[1].substr(0, 128)) + "'. Try " +
                  upper(c.args[0]) + " HELP.");
}

void wrong_arity(CommandContext& c, std::string_view subcommand) {
    std::string name = lower(c.args[0]);
    if (!subcommand.empty()) name += "|" + lower(subcommand);
    c.reply.error("ERR wrong number of arguments for '" + name + "' command");
}

void help(CommandContext& c, std::span<const std::string_view> lines) {
    c.reply.array(lines.size() + 3);
    c.reply.simple(upper(c.args[0]) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    for (const std::string_view line : lines) c.reply.simple(line);
    c.reply.simple("HELP");
    c.reply.simple("    Prints this help.");
}

std::optional<WallTime> moment(WallTime now, std::int64_t amount, TimeUnit unit,
                               TimeOrigin origin) {
    std::int64_t at = amount;
    if (unit == TimeUnit::seconds && __builtin_mul_overflow(at, 1000, &at)) return std::nullopt;
    if (origin == TimeOrigin::now && __builtin_add_overflow(at, now.count(), &at))
        return std::nullopt;
    return std::min(WallTime(at), kNoDeadline - WallTime(1));
}

std::string invalid_expire(const CommandContext& c) {
    return "ERR invalid expire time in '" + lower(c.args[0]) + "' command";
}

bool ScanOptions::matches(std::string_view text) const {
    return !pattern || glob_matches(*pattern, text);
}

std::optional<std::uint64_t> scan_cursor(CommandContext& c, std::string_view text) {
    std::uint64_t cursor = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), cursor);
    if (failure == std::errc{} && end == text.data() + text.size() && !text.empty()) return cursor;
    c.reply.error("ERR invalid cursor");
    return std::nullopt;
}

std::optional<ScanOptions> scan_options(CommandContext& c, std::size_t first, bool with_type) {
    ScanOptions options;
    for (std::size_t i = first; i < c.count(); i += 2) {
        if (i + 1 >= c.count()) {
            c.reply.error(kSyntaxError);
            return std::nullopt;
        }
        if (c.says(i, "COUNT")) {
            const auto count = integer(c, c.args[i + 1]);
            if (!count) return std::nullopt;
            if (*count < 1) {
                c.reply.error(kSyntaxError);
                return std::nullopt;
            }
            options.count = static_cast<std::uint64_t>(*count);
        } else if (c.says(i, "MATCH")) {
            options.pattern = c.args[i + 1];
        } else if (with_type && c.says(i, "TYPE")) {
            options.type = lower(c.args[i + 1]);
        } else {
            c.reply.error(kSyntaxError);
            return std::nullopt;
        }
    }
    return options;
}

void scan_elements(CommandContext& c, LeafKind kind, std::uint64_t cursor,
                   const ScanOptions& options) {
    std::vector<Picked> found;
    std::uint64_t looked_at = 0;
    std::uint64_t last = 0;
    std::uint64_t next = 0;
    c.db.for_each(c.database(), c.args[1], kind, Hash128{cursor, 0}, [&](const Element& element) {
        const std::uint64_t here = element.place.hash.high;
        if (looked_at >= options.count && here != last) {
            next = here;
            return false;
        }
        ++looked_at;
        last = here;
        if (options.matches(element.sub)) found.push_back(picked(kind, element));
        return true;
    });
    c.reply.array(2);
    c.reply.bulk(std::to_string(next));
    c.reply.array(kind == LeafKind::field ? 2 * found.size() : found.size());
    for (const Picked& one : found) {
        c.reply.bulk(one.sub);
        if (kind == LeafKind::field) c.reply.bulk(one.value);
    }
}

// The first element at or behind a random point of the hash space: nearly even, and O(log n)
// whatever the size.
std::optional<Picked> pick_one(CommandContext& c, std::string_view key, LeafKind kind) {
    std::optional<Picked> found;
    const auto take = [&](const Element& element) {
        found = picked(kind, element);
        return false;
    };
    c.db.for_each(c.database(), key, kind, Hash128{c.random(), c.random()}, take);
    if (!found) c.db.for_each(c.database(), key, kind, Hash128{}, take);
    return found;
}

std::vector<Picked> pick_distinct(CommandContext& c, std::string_view key, LeafKind kind,
                                  std::uint64_t count) {
    std::vector<Picked> result;
    const std::uint64_t total = c.db.count(c.database(), key, kind);
    if (count < total / 4) {  // few of many: draw again what has been drawn
        absl::flat_hash_set<std::string> seen;
        for (std::uint64_t draws = 0; result.size() < count && draws < 64 * count; ++draws) {
            auto one = pick_one(c, key, kind);
            if (one && seen.insert(one->sub).second) result.push_back(*std::move(one));
        }
        if (result.size() == count) return result;
        result.clear();
    }
    std::uint64_t left = total;  // selection sampling: every subset is equally likely
    std::uint64_t wanted = std::min(count, total);
    c.db.for_each(c.database(), key, kind, Hash128{}, [&](const Element& element) {
        if (wanted > 0 && c.random_below(left) < wanted) {
            result.push_back(picked(kind, element));
            --wanted;
        }
        --left;
        return wanted > 0 && left > 0;
    });
    return result;
}

}  // namespace commands
}  // namespace skerry
