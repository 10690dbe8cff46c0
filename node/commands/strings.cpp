// node/commands/strings.cpp — commands on string values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"

namespace skerry::commands {
namespace {

struct SetOptions {
    bool only_new = false;
    bool only_old = false;
    bool keep_deadline = false;
    bool give_old = false;
    std::optional<WallTime> deadline;
};

struct TimeOption {
    std::string_view word;
    TimeUnit unit;
    TimeOrigin origin;
};
constexpr TimeOption kTimeOptions[] = {
    {"EX", TimeUnit::seconds, TimeOrigin::now},
    {"PX", TimeUnit::milliseconds, TimeOrigin::now},
    {"EXAT", TimeUnit::seconds, TimeOrigin::epoch},
    {"PXAT", TimeUnit::milliseconds, TimeOrigin::epoch},
};

[[nodiscard]] const TimeOption* time_option(const CommandContext& c, std::size_t index) {
    for (const TimeOption& option : kTimeOptions)
        if (c.says(index, option.word)) return &option;
    return nullptr;
}

// A time to live as SET and its kin take it: above zero. nullopt: an error has been replied.
[[nodiscard]] std::optional<WallTime> deadline_from(CommandContext& c, std::string_view text,
                                                    TimeUnit unit, TimeOrigin origin) {
    const auto amount = integer(c, text);
    if (!amount) return std::nullopt;
    const auto at = *amount > 0 ? moment(c.now(), *amount, unit, origin) : std::nullopt;
    if (!at) c.reply.error(invalid_expire(c));
    return at;
}

[[nodiscard]] std::optional<SetOptions> set_options(CommandContext& c) {
    SetOptions options;
    for (std::size_t i = 3; i < c.count(); ++i) {
        const TimeOption* const time = time_option(c, i);
        if (c.says(i, "NX") && !options.only_old) {
            options.only_new = true;
        } else if (c.says(i, "XX") && !options.only_new) {
            options.only_old = true;
        } else if (c.says(i, "GET")) {
            options.give_old = true;
        } else if (c.says(i, "KEEPTTL") && !options.deadline) {
            options.keep_deadline = true;
        } else if (time != nullptr && !options.keep_deadline && !options.deadline &&
                   i + 1 < c.count()) {
            options.deadline = deadline_from(c, c.args[++i], time->unit, time->origin);
            if (!options.deadline) return std::nullopt;
        } else {
            c.reply.error(kSyntaxError);
            return std::nullopt;
        }
    }
    return options;
}

void set_until(CommandContext& c, std::string_view key, std::string_view bytes, WallTime at) {
    if (at > c.now()) {
        c.db.set(c.database(), key, bytes, at);
    } else {
        c.db.remove(c.database(), key);  // it would have expired at once
    }
}

void set_with_life(CommandContext& c, TimeUnit unit) {
    const auto at = deadline_from(c, c.args[2], unit, TimeOrigin::now);
    if (!at) return;
    set_until(c, c.args[1], c.args[3], *at);
    c.reply.ok();
}

void add(CommandContext& c, std::int64_t increment) {
    if (!typed(c, c.args[1], KeyType::string)) return;
    const auto sum = c.db.add(c.database(), c.args[1], increment);
    if (sum) return c.reply.integer(*sum);
    c.reply.error(sum.error().code == Code::not_a_number
                      ? kNotInteger
                      : "ERR increment or decrement would overflow");
}

[[nodiscard]] bool values_follow_keys(CommandContext& c) {
    if (c.count() % 2 == 1) return true;
    wrong_arity(c);
    return false;
}

void set_all(CommandContext& c) {
    for (std::size_t i = 1; i < c.count(); i += 2) c.db.set(c.database(), c.args[i], c.args[i + 1]);
}

struct LcsOptions {
    bool length_only = false;
    bool ranges = false;
    bool with_lengths = false;
    std::size_t least = 0;
};

struct LcsMatch {
    std::size_t a_begin;
    std::size_t b_begin;
    std::size_t length;
};

struct LcsResult {
    std::string text;
    std::vector<LcsMatch> matches;  // from the end of the strings, as Redis gives them
};

constexpr std::size_t kLcsCellsMax = 16 * 1024 * 1024;

[[nodiscard]] std::optional<LcsOptions> lcs_options(CommandContext& c) {
    LcsOptions options;
    for (std::size_t i = 3; i < c.count(); ++i) {
        if (c.says(i, "IDX")) {
            options.ranges = true;
        } else if (c.says(i, "LEN")) {
            options.length_only = true;
        } else if (c.says(i, "WITHMATCHLEN")) {
            options.with_lengths = true;
        } else if (c.says(i, "MINMATCHLEN") && i + 1 < c.count()) {
            const auto least = integer(c, c.args[++i]);
            if (!least) return std::nullopt;
            options.least = static_cast<std::size_t>(std::max<std::int64_t>(*least, 0));
        } else {
            c.reply.error(kSyntaxError);
            return std::nullopt;
        }
    }
    if (options.ranges && options.length_only) {
        c.reply.error("ERR If you want both the length and indexes, please just use IDX.");
        return std::nullopt;
    }
    return options;
}

// By dynamic programming over all pairs of prefixes.
[[nodiscard]] LcsResult longest_common(std::string_view a, std::string_view b) {
    const std::size_t width = b.size() + 1;
    std::vector<std::uint32_t> length((a.size() + 1) * width, 0);
    for (std::size_t i = 1; i <= a.size(); ++i) {
        for (std::size_t j = 1; j <= b.size(); ++j) {
            length[i * width + j] = a[i - 1] == b[j - 1] ? length[(i - 1) * width + j - 1] + 1
                                                         : std::max(length[(i - 1) * width + j],
                                                                    length[i * width + j - 1]);
        }
    }
    LcsResult result;
    std::size_t i = a.size();
    std::size_t j = b.size();
    while (i > 0 && j > 0) {
        if (a[i - 1] != b[j - 1]) {
            (length[(i - 1) * width + j] > length[i * width + j - 1] ? i : j) -= 1;
            continue;
        }
        --i;
        --j;
        result.text.push_back(a[i]);
        LcsMatch* const last = result.matches.empty() ? nullptr : &result.matches.back();
        if (last != nullptr && last->a_begin == i + 1 && last->b_begin == j + 1) {
            *last = LcsMatch{i, j, last->length + 1};
        } else {
            result.matches.push_back(LcsMatch{i, j, 1});
        }
    }
    std::ranges::reverse(result.text);
    return result;
}

void reply_range(ReplyWriter& reply, std::size_t begin, std::size_t length) {
    reply.array(2);
    reply.integer(static_cast<std::int64_t>(begin));
    reply.integer(static_cast<std::int64_t>(begin + length - 1));
}

void reply_matches(CommandContext& c, LcsResult result, const LcsOptions& options) {
    std::erase_if(result.matches,
                  [&](const LcsMatch& match) { return match.length < options.least; });
    c.reply.map(2);
    c.reply.bulk("matches");
    c.reply.array(result.matches.size());
    for (const LcsMatch& match : result.matches) {
        c.reply.array(options.with_lengths ? 3 : 2);
        reply_range(c.reply, match.a_begin, match.length);
        reply_range(c.reply, match.b_begin, match.length);
        if (options.with_lengths) c.reply.integer(static_cast<std::int64_t>(match.length));
    }
    c.reply.bulk("len");
    c.reply.integer(static_cast<std::int64_t>(result.text.size()));
}

}  // namespace

void get(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::string)) return;
    std::string buffer;
    if (const auto bytes = c.db.get_view(c.database(), c.args[1], buffer))
        return c.reply.bulk(*bytes);
    c.reply.null();
}

void set(CommandContext& c) {
    if (c.count() == 3) {
        c.db.set(c.database(), c.args[1], c.args[2]);
        return c.reply.ok();
    }
    const auto options = set_options(c);
    if (!options) return;
    const std::string_view key = c.args[1];
    std::optional<std::string> old;
    if (options->give_old) {
        if (!typed(c, key, KeyType::string)) return;
        old = c.db.get(c.database(), key);
    }
    const bool there = (options->only_new || options->only_old) && c.db.exists(c.database(), key);
    if ((options->only_new && there) || (options->only_old && !there)) {
        return options->give_old ? reply_optional(c.reply, old) : c.reply.null();
    }
    if (options->keep_deadline) {
        const WallTime at = c.db.deadline(c.database(), key);
        if (c.db.type(c.database(), key) == KeyType::string) {
            c.db.set_keep_deadline(c.database(), key, c.args[2]);
        } else {
            c.db.set(c.database(), key, c.args[2], at);
        }
    } else {
        set_until(c, key, c.args[2], options->deadline.value_or(kNoDeadline));
    }
    options->give_old ? reply_optional(c.reply, old) : c.reply.ok();
}

void setnx(CommandContext& c) {
    if (c.db.exists(c.database(), c.args[1])) return c.reply.integer(0);
    c.db.set(c.database(), c.args[1], c.args[2]);
    c.reply.integer(1);
}

void setex(CommandContext& c) { set_with_life(c, TimeUnit::seconds); }
void psetex(CommandContext& c) { set_with_life(c, TimeUnit::milliseconds); }

void mget(CommandContext& c) {
    c.reply.array(c.count() - 1);
    std::string buffer;
    for (const std::string_view key : c.args.subspan(1)) {
        if (const auto bytes = c.db.get_view(c.database(), key, buffer)) {
            c.reply.bulk(*bytes);
        } else {
            c.reply.null();
        }
    }
}

void mset(CommandContext& c) {
    if (!values_follow_keys(c)) return;
    set_all(c);
    c.reply.ok();
}

void msetnx(CommandContext& c) {
    if (!values_follow_keys(c)) return;
    for (std::size_t i = 1; i < c.count(); i += 2)
        if (c.db.exists(c.database(), c.args[i])) return c.reply.integer(0);
    set_all(c);
    c.reply.integer(1);
}

void getset(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::string)) return;
    const auto old = c.db.get(c.database(), c.args[1]);
    c.db.set(c.database(), c.args[1], c.args[2]);
    reply_optional(c.reply, old);
}

void getdel(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::string)) return;
    const auto old = c.db.get(c.database(), c.args[1]);
    if (old) c.db.remove(c.database(), c.args[1]);
    reply_optional(c.reply, old);
}

void getex(CommandContext& c) {
    std::optional<WallTime> at;
    if (c.count() > 2) {
        const TimeOption* const time = time_option(c, 2);
        if (time != nullptr && c.count() == 4) {
            at = deadline_from(c, c.args[3], time->unit, time->origin);
            if (!at) return;
        } else if (c.says(2, "PERSIST") && c.count() == 3) {
            at = kNoDeadline;
        } else {
            return c.reply.error(kSyntaxError);
        }
    }
    if (!typed(c, c.args[1], KeyType::string)) return;
    const auto bytes = c.db.get(c.database(), c.args[1]);
    if (bytes && at && *at <= c.now()) {
        c.db.remove(c.database(), c.args[1]);
    } else if (bytes && at && *at != c.db.deadline(c.database(), c.args[1])) {
        if (refuse_growth(c)) return;
        c.db.set_deadline(c.database(), c.args[1], *at);
    }
    reply_optional(c.reply, bytes);
}

void append(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::string)) return;
    std::string bytes = c.db.get(c.database(), c.args[1]).value_or(std::string());
    if (bytes.size() + c.args[2].size() > kValueBytesMax) return c.reply.error(kTooLong);
    bytes.append(c.args[2]);
    c.db.set_keep_deadline(c.database(), c.args[1], bytes);
    c.reply.integer(static_cast<std::int64_t>(bytes.size()));
}

void strlen(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::string)) return;
    std::string buffer;
    const auto bytes = c.db.get_view(c.database(), c.args[1], buffer);
    c.reply.integer(bytes ? static_cast<std::int64_t>(bytes->size()) : 0);
}

void setrange(CommandContext& c) {
    const auto offset = integer(c, c.args[2]);
    if (!offset) return;
    if (*offset < 0) return c.reply.error("ERR offset is out of range");
    if (!typed(c, c.args[1], KeyType::string)) return;
    std::string bytes = c.db.get(c.database(), c.args[1]).value_or(std::string());
    const std::string_view patch = c.args[3];
    if (patch.empty()) return c.reply.integer(static_cast<std::int64_t>(bytes.size()));
    const auto begin = static_cast<std::size_t>(*offset);
    if (begin > kValueBytesMax || begin + patch.size() > kValueBytesMax)
        return c.reply.error(kTooLong);
    if (bytes.size() < begin + patch.size()) bytes.resize(begin + patch.size(), '\0');
    std::ranges::copy(patch, bytes.begin() + static_cast<std::ptrdiff_t>(begin));
    c.db.set_keep_deadline(c.database(), c.args[1], bytes);
    c.reply.integer(static_cast<std::int64_t>(bytes.size()));
}

void getrange(CommandContext& c) {
    const auto first = integer(c, c.args[2]);
    if (!first) return;
    const auto last = integer(c, c.args[3]);
    if (!last || !typed(c, c.args[1], KeyType::string)) return;
    std::string buffer;
    const auto bytes = c.db.get_view(c.database(), c.args[1], buffer).value_or(std::string_view());
    const auto size = static_cast<std::int64_t>(bytes.size());
    std::int64_t begin = *first < 0 ? std::max<std::int64_t>(*first + size, 0) : *first;
    std::int64_t end = *last < 0 ? std::max<std::int64_t>(*last + size, 0) : *last;
    end = std::min(end, size - 1);
    if ((*first < 0 && *last < 0 && *first > *last) || begin > end) return c.reply.bulk("");
    c.reply.bulk(
        bytes.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin + 1)));
}

void incr(CommandContext& c) { add(c, 1); }
void decr(CommandContext& c) { add(c, -1); }
void incrby(CommandContext& c) {
    if (const auto increment = integer(c, c.args[2])) add(c, *increment);
}
void decrby(CommandContext& c) {
    const auto decrement = integer(c, c.args[2]);
    if (!decrement) return;
    if (*decrement == std::numeric_limits<std::int64_t>::min())
        return c.reply.error("ERR decrement would overflow");
    add(c, -*decrement);
}

void incrbyfloat(CommandContext& c) {
    if (!typed(c, c.args[1], KeyType::string)) return;
    const auto increment = value::parse_real(c.args[2]);
    if (!increment) return c.reply.error(kNotFloat);
    const auto sum = c.db.add_real(c.database(), c.args[1], *increment);
    if (sum) return c.reply.bulk(*sum);
    c.reply.error(sum.error().code == Code::not_a_number
                      ? kNotFloat
                      : "ERR increment would produce NaN or Infinity");
}

void lcs(CommandContext& c) {
    const bool strings = std::ranges::all_of(c.args.subspan(1, 2), [&](std::string_view key) {
        const KeyType found = c.db.type(c.database(), key);
        return found == KeyType::none || found == KeyType::string;
    });
    if (!strings) return c.reply.error("ERR The specified keys must contain string values");
    const auto options = lcs_options(c);
    if (!options) return;
    const std::string a = c.db.get(c.database(), c.args[1]).value_or(std::string());
    const std::string b = c.db.get(c.database(), c.args[2]).value_or(std::string());
    if ((a.size() + 1) > kLcsCellsMax / (b.size() + 1)) {
        return c.reply.error(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    }
    LcsResult result = longest_common(a, b);
    if (options->ranges) return reply_matches(c, std::move(result), *options);
    if (options->length_only) return c.reply.integer(static_cast<std::int64_t>(result.text.size()));
    c.reply.bulk(result.text);
}

}  // namespace skerry::commands
