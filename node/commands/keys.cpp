// node/commands/keys.cpp — commands on keys of any type: removal, times to live, walking, copying.
#include <algorithm>
#include <array>

#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"
#include "node/glob.hpp"

namespace skerry::commands {
namespace {

// Counts the arguments from the first on for which `what` holds.
template <class What>
void count_keys(CommandContext& c, What&& what) {
    std::int64_t found = 0;
    for (const std::string_view key : c.args.subspan(1)) found += what(key) ? 1 : 0;
    c.reply.integer(found);
}

struct ExpireConditions {
    bool absent = false;   // NX
    bool present = false;  // XX
    bool later = false;    // GT
    bool sooner = false;   // LT

    // `before` kNoDeadline: no deadline, which counts as infinite.
    [[nodiscard]] bool allow(WallTime before, WallTime after) const {
        if (absent && before != kNoDeadline) return false;
        if (present && before == kNoDeadline) return false;
        return !(later && after <= before) && !(sooner && after >= before);
    }
};

[[nodiscard]] std::optional<ExpireConditions> expire_conditions(CommandContext& c) {
    ExpireConditions conditions;
    for (std::size_t i = 3; i < c.count(); ++i) {
        if (c.says(i, "NX")) {
            conditions.absent = true;
        } else if (c.says(i, "XX")) {
            conditions.present = true;
        } else if (c.says(i, "GT")) {
            conditions.later = true;
        } else if (c.says(i, "LT")) {
            conditions.sooner = true;
        } else {
            c.reply.error("ERR Unsupported option " + std::string(c.args[i]));
            return std::nullopt;
        }
    }
    if (conditions.absent && (conditions.present || conditions.later || conditions.sooner)) {
        c.reply.error("ERR NX and XX, GT or LT options at the same time are not compatible");
        return std::nullopt;
    }
    if (conditions.later && conditions.sooner) {
        c.reply.error("ERR GT and LT options at the same time are not compatible");
        return std::nullopt;
    }
    return conditions;
}

void expire_generic(CommandContext& c, TimeUnit unit, TimeOrigin origin) {
    const auto conditions = expire_conditions(c);
    if (!conditions) return;
    const auto amount = integer(c, c.args[2]);
    if (!amount) return;
    const auto at = moment(c.now(), *amount, unit, origin);
    if (!at) return c.reply.error(invalid_expire(c));
    const std::string_view key = c.args[1];
    if (!c.db.exists(c.database(), key) ||
        !conditions->allow(c.db.deadline(c.database(), key), *at))
        return c.reply.integer(0);
    if (*at <= c.now()) {
        c.db.remove(c.database(), key);
    } else {
        if (refuse_growth(c)) return;
        c.db.set_deadline(c.database(), key, *at);
    }
    c.reply.integer(1);
}

// -2: no key, -1: no deadline.
void deadline_generic(CommandContext& c, TimeUnit unit, TimeOrigin origin) {
    if (!c.db.exists(c.database(), c.args[1])) return c.reply.integer(-2);
    const WallTime at = c.db.deadline(c.database(), c.args[1]);
    if (at == kNoDeadline) return c.reply.integer(-1);
    const std::int64_t ms =
        origin == TimeOrigin::now ? std::max<std::int64_t>((at - c.now()).count(), 0) : at.count();
    if (unit == TimeUnit::milliseconds) return c.reply.integer(ms);
    c.reply.integer(origin == TimeOrigin::now ? ms / 1000 + (ms % 1000 >= 500 ? 1 : 0) : ms / 1000);
}

struct CopyOptions {
    DatabaseId database;
    bool replace = false;
};

[[nodiscard]] std::optional<CopyOptions> copy_options(CommandContext& c) {
    CopyOptions options{.database = c.database()};
    for (std::size_t i = 3; i < c.count(); ++i) {
        if (c.says(i, "REPLACE")) {
            options.replace = true;
        } else if (c.says(i, "DB") && i + 1 < c.count()) {
            const auto db = integer(c, c.args[++i]);
            if (!db) return std::nullopt;
            if (*db < 0 || *db >= kDatabaseCount) {
                c.reply.error("ERR DB index is out of range");
                return std::nullopt;
            }
            options.database = static_cast<DatabaseId>(*db);
        } else {
            c.reply.error(kSyntaxError);
            return std::nullopt;
        }
    }
    return options;
}

// False: there is no source; an error has been replied.
[[nodiscard]] bool move_key(CommandContext& c) {
    if (!c.db.exists(c.database(), c.args[1])) {
        c.reply.error(kNoSuchKey);
        return false;
    }
    if (c.args[1] == c.args[2]) return true;
    if (!c.db.copy_fits(c.database(), c.args[1])) {
        c.reply.error(kTooMuch);
        return false;
    }
    c.db.copy(c.database(), c.args[1], c.database(), c.args[2]);
    c.db.remove(c.database(), c.args[1]);
    return true;
}

// What Redis would keep such a value in.
[[nodiscard]] std::string_view encoding_of(CommandContext& c, std::string_view key, KeyType type) {
    if (type == KeyType::string) {
        std::string buffer;
        const std::string_view text = *c.db.get_view(c.database(), key, buffer);
        if (value::parse_integer(text)) return "int";
        return text.size() <= 44 ? "embstr" : "raw";
    }
    const LeafKind kind = type == KeyType::set ? LeafKind::member : LeafKind::field;
    bool compact = c.db.count(c.database(), key, kind) <= 512;
    if (compact) {
        c.db.for_each(c.database(), key, kind, {}, [&](const Element& element) {
            compact = kind == LeafKind::member ? value::parse_integer(element.sub).has_value()
                                               : element.sub.view().size() <= 64 &&
                                                     Database::value_of(element).size() <= 64;
            return compact;
        });
    }
    if (!compact) return "hashtable";
    return type == KeyType::set ? "intset" : "listpack";
}

// FLUSHDB and FLUSHALL take ASYNC or SYNC, which are the same here: the reply comes when all is gone, and others are served
// meanwhile.
void flush(CommandContext& c, Flush flush) {
    if (c.count() > 2 || (c.count() == 2 && !c.says(1, "ASYNC") && !c.says(1, "SYNC")))
        return c.reply.error(kSyntaxError);
    if (c.db.flush_some(flush, Flush::kKeysAtOnce)) return c.reply.ok();
    c.node.flush(c.connection, flush);
}

}  // namespace

void del(CommandContext& c) {
    count_keys(c, [&](std::string_view key) { return c.db.remove(c.database(), key); });
}
void unlink(CommandContext& c) { del(c); }

void exists(CommandContext& c) {
    count_keys(c, [&](std::string_view key) { return c.db.exists(c.database(), key); });
}
void touch(CommandContext& c) { exists(c); }

void type(CommandContext& c) { c.reply.simple(name_of(c.db.type(c.database(), c.args[1]))); }

void expire(CommandContext& c) { expire_generic(c, TimeUnit::seconds, TimeOrigin::now); }
void pexpire(CommandContext& c) { expire_generic(c, TimeUnit::milliseconds, TimeOrigin::now); }
void expireat(CommandContext& c) { expire_generic(c, TimeUnit::seconds, TimeOrigin::epoch); }
void pexpireat(CommandContext& c) { expire_generic(c, TimeUnit::milliseconds, TimeOrigin::epoch); }
void ttl(CommandContext& c) { deadline_generic(c, TimeUnit::seconds, TimeOrigin::now); }
void pttl(CommandContext& c) { deadline_generic(c, TimeUnit::milliseconds, TimeOrigin::now); }
void expiretime(CommandContext& c) { deadline_generic(c, TimeUnit::seconds, TimeOrigin::epoch); }
void pexpiretime(CommandContext& c) {
    deadline_generic(c, TimeUnit::milliseconds, TimeOrigin::epoch);
}

void persist(CommandContext& c) {
    if (c.db.deadline(c.database(), c.args[1]) == kNoDeadline) return c.reply.integer(0);
    c.db.set_deadline(c.database(), c.args[1], kNoDeadline);
    c.reply.integer(1);
}

void keys(CommandContext& c) {
    std::vector<std::string> found;
    c.db.for_each_key(c.database(), 0, [&](const KeyRecord& record) {
        if (glob_matches(c.args[1], record.key)) found.emplace_back(record.key);
        return true;
    });
    c.reply.array(found.size());
    for (const std::string& key : found) c.reply.bulk(key);
}

// The cursor is the order of the next key; keys of equal order go together.
void scan(CommandContext& c) {
    const auto cursor = scan_cursor(c, c.args[1]);
    if (!cursor) return;
    const auto options = scan_options(c, 2, true);
    if (!options) return;
    std::vector<std::string> found;
    std::uint64_t looked_at = 0;
    std::uint64_t last = 0;
    std::uint64_t next = 0;
    c.db.for_each_key(c.database(), *cursor, [&](const KeyRecord& record) {
        const std::uint64_t order = record.address.order.order;
        if (looked_at >= options->count && order != last) {
            next = order;
            return false;
        }
        ++looked_at;
        last = order;
        const bool wanted = !options->type || *options->type == name_of(record.type);
        if (wanted && options->matches(record.key)) found.emplace_back(record.key);
        return true;
    });
    c.reply.array(2);
    c.reply.bulk(std::to_string(next));
    c.reply.array(found.size());
    for (const std::string& key : found) c.reply.bulk(key);
}

void randomkey(CommandContext& c) {
    std::optional<std::string> found;
    const auto take = [&](const KeyRecord& record) {
        found = record.key;
        return false;
    };
    c.db.for_each_key(c.database(), c.random(), take);
    if (!found) c.db.for_each_key(c.database(), 0, take);
    reply_optional(c.reply, found);
}

void rename(CommandContext& c) {
    if (move_key(c)) c.reply.ok();
}

void renamenx(CommandContext& c) {
    const bool taken = c.db.exists(c.database(), c.args[2]);
    if (taken && c.db.exists(c.database(), c.args[1])) return c.reply.integer(0);
    if (move_key(c)) c.reply.integer(1);
}

void copy(CommandContext& c) {
    const auto options = copy_options(c);
    if (!options) return;
    if (c.args[1] == c.args[2] && options->database == c.database())
        return c.reply.error("ERR source and destination objects are the same");
    if (!c.db.holds(options->database, c.args[2]))
        return c.reply.error(no_domain(c.db, options->database, c.args[2]));
    const bool free = options->replace || !c.db.exists(options->database, c.args[2]);
    if (!free || !c.db.exists(c.database(), c.args[1])) return c.reply.integer(0);
    if (!c.db.copy_fits(c.database(), c.args[1])) return c.reply.error(kTooMuch);
    c.db.copy(c.database(), c.args[1], options->database, c.args[2]);
    c.reply.integer(1);
}

void object(CommandContext& c) {
    static constexpr auto kSubcommands =
        std::to_array<std::string_view>({"ENCODING", "FREQ", "IDLETIME", "REFCOUNT"});
    if (c.says(1, "HELP")) {
        static constexpr auto kLines = std::to_array<std::string_view>({
            "ENCODING <key>",
            "    Return what Redis would keep the value of <key> in.",
            "FREQ <key>",
            "    An error: access is not counted.",
            "IDLETIME <key>",
            "    Return 0: there is no access time.",
            "REFCOUNT <key>",
            "    Return 1.",
        });
        return help(c, kLines);
    }
    if (std::ranges::none_of(kSubcommands, [&](std::string_view name) { return c.says(1, name); }))
        return unknown_subcommand(c);
    if (c.count() != 3) return wrong_arity(c, c.args[1]);
    const KeyType found = c.db.type(c.database(), c.args[2]);
    if (found == KeyType::none) return c.reply.null();
    if (c.says(1, "ENCODING")) return c.reply.bulk(encoding_of(c, c.args[2], found));
    if (c.says(1, "FREQ")) {
        return c.reply.error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please "
            "note that when switching "
            "between policies at runtime LRU and LFU data will take some time to adjust.");
    }
    c.reply.integer(c.says(1, "REFCOUNT") ? 1 : 0);
}

void flushdb(CommandContext& c) { flush(c, {.stored = c.db.stored_for(c.database())}); }

void flushall(CommandContext& c) {
    Flush all;
    for (DatabaseId db = 0; db < kDatabaseCount; ++db)
        for (const DatabaseId stored : c.db.stored_for(db)) all.stored.push_back(stored);
    flush(c, all);
}

}  // namespace skerry::commands
