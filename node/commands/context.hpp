// node/commands/context.hpp — what a handler is given, and the small checks and replies that all handlers share.
//
// Form     a handler replies exactly once, or blocks the connection; a failed check has replied its error already.
// Thread   core thread.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "node/commands.hpp"

namespace skerry {

struct CommandContext {
    Database& db;
    Connection& connection;
    ReplyWriter& reply;
    std::mt19937_64& random;
    NodeFacts& node;
    Commands& commands;
    std::span<const std::string_view> args;

    [[nodiscard]] DatabaseId database() const {
        return static_cast<DatabaseId>(connection.client().database);
    }
    [[nodiscard]] WallTime now() const { return db.store().now(); }
    [[nodiscard]] std::size_t count() const { return args.size(); }
    // Does the argument say `word` (upper case), in letters of either case?
    [[nodiscard]] bool says(std::size_t index, std::string_view word) const;
    // A number in 0 .. bound - 1. Requires: bound > 0.
    [[nodiscard]] std::uint64_t random_below(std::uint64_t bound) {
        return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(random);
    }
};

namespace commands {

inline constexpr std::string_view kSyntaxError = "ERR syntax error";
inline constexpr std::string_view kNotInteger = "ERR value is not an integer or out of range";
inline constexpr std::string_view kNotFloat = "ERR value is not a valid float";
inline constexpr std::string_view kNoSuchKey = "ERR no such key";
inline constexpr std::string_view kOutOfRange = "ERR value is out of range";
inline constexpr std::string_view kTooLong =
    "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
inline constexpr std::string_view kTooMuch =
    "ERR more than 2000000 elements or 400 MiB in one command: nothing is changed; use several";
inline constexpr std::string_view kWrongType =
    "WRONGTYPE Operation against a key holding the wrong kind of value";

[[nodiscard]] bool equals_folded(std::string_view text, std::string_view upper);
[[nodiscard]] std::string lower(std::string_view text);
[[nodiscard]] std::string upper(std::string_view text);

// As TYPE replies it.
[[nodiscard]] std::string_view name_of(KeyType type);
// The type of the key, `wanted` or none. nullopt: it is another one, and WRONGTYPE has been
// replied.
[[nodiscard]] std::optional<KeyType> typed(CommandContext& c, std::string_view key, KeyType wanted);
// The argument as an integer; nullopt: `error` has been replied.
[[nodiscard]] std::optional<std::int64_t> integer(CommandContext& c, std::string_view text,
                                                  std::string_view error = kNotInteger);
// The argument as an integer from `least` on; nullopt: an error has been replied.
[[nodiscard]] std::optional<std::int64_t> integer_from(CommandContext& c, std::string_view text,
                                                       std::int64_t least, std::string_view error);
// Are the sub-keys short enough to be members or fields? Every `step`-th from `first` on. False:
// replied.
[[nodiscard]] bool subs_fit(CommandContext& c, std::size_t first, std::size_t step,
                            std::string_view what);
// That the key is of a domain which this node does not hold.
[[nodiscard]] std::string no_domain(const Database& db, DatabaseId database, std::string_view key);
// Replies why nothing that needs room may be written, if so.
[[nodiscard]] bool refuse_growth(CommandContext& c);

void reply_optional(ReplyWriter& reply, const std::optional<std::string>& value);
void unknown_subcommand(CommandContext& c);
void wrong_arity(CommandContext& c, std::string_view subcommand = {});
// Replies a HELP text: each line as a simple string, framed as Redis frames it.
void help(CommandContext& c, std::span<const std::string_view> lines);

// How a time to live is given.
enum class TimeUnit : std::uint8_t { seconds, milliseconds };
enum class TimeOrigin : std::uint8_t { now, epoch };
// The moment that `amount` means. nullopt: it does not fit.
[[nodiscard]] std::optional<WallTime> moment(WallTime now, std::int64_t amount, TimeUnit unit,
                                             TimeOrigin origin);
[[nodiscard]] std::string invalid_expire(const CommandContext& c);

// MATCH, COUNT and TYPE of the SCAN family, from args[first] on.
struct ScanOptions {
    std::uint64_t count = 10;
    std::optional<std::string_view> pattern;
    std::optional<std::string> type;
    [[nodiscard]] bool matches(std::string_view text) const;
};
[[nodiscard]] std::optional<std::uint64_t> scan_cursor(CommandContext& c, std::string_view text);
[[nodiscard]] std::optional<ScanOptions> scan_options(CommandContext& c, std::size_t first,
                                                      bool with_type);

// SSCAN and HSCAN of the key args[1]. The cursor is the upper half of an element's hash.
void scan_elements(CommandContext& c, LeafKind kind, std::uint64_t cursor,
                   const ScanOptions& options);

// Members or fields chosen at random.
struct Picked {
    std::string sub;
    std::string value;  // of a field
};
// One of them. nullopt: there is none.
[[nodiscard]] std::optional<Picked> pick_one(CommandContext& c, std::string_view key,
                                             LeafKind kind);
// `count` different ones, or all there are.
[[nodiscard]] std::vector<Picked> pick_distinct(CommandContext& c, std::string_view key,
                                                LeafKind kind, std::uint64_t count);

}  // namespace commands
}  // namespace skerry
