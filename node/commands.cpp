// node/commands.cpp — the checks before a handler and what follows it; see the header.
#include "node/commands.hpp"

#include <algorithm>

#include "node/commands/context.hpp"
#include "node/resp.hpp"

namespace skerry {
namespace {

constexpr std::size_t kShownBytesMax = 128;  // of a name or arguments in an error

// What a client can spell out fits one log record; what a command finds (COPY, SUNIONSTORE) is
// weighed where it is found.
static_assert(kArgumentsMax <= WriteWeight::kElementsMax &&
              kQueryBytesMax + kArgumentsMax * WriteWeight::kElementBytes < WriteWeight::kBytesMax);

[[nodiscard]] std::string unknown_command(std::span<const std::string_view> arguments) {
    std::string shown;
    for (const std::string_view argument : arguments.subspan(1)) {
        if (shown.size() >= kShownBytesMax) break;
        shown += "'" + std::string(argument.substr(0, kShownBytesMax - shown.size())) + "' ";
    }
    return "ERR unknown command '" + std::string(arguments[0].substr(0, kShownBytesMax)) +
           "', with args beginning with: " + shown;
}

// Why the sizes of the arguments are not allowed; empty: they are.
[[nodiscard]] std::string oversized(const Command& command,
                                    std::span<const std::string_view> arguments) {
    if (command.has(flag::kWrite)) {
        for (const std::string_view argument : arguments)
            if (argument.size() > kValueBytesMax) return std::string(commands::kTooLong);
    }
    const KeyRange keys = keys_of(command, arguments);
    for (std::size_t i = keys.begin; i < keys.end; i += keys.step) {
        if (arguments[i].size() > kKeyBytesMax)
            return "ERR key exceeds " + std::to_string(kKeyBytesMax) + " bytes";
    }
    return {};
}

// Why the command is about what this node does not hold; empty: it is not.
[[nodiscard]] std::string not_held(const Database& database, DatabaseId db, const Command& command,
                                   std::span<const std::string_view> arguments) {
    if (command.has(flag::kWholeDatabase) && database.stored_for(db).empty())
        return "NODOMAIN nothing of database " + std::to_string(db) +
               " is held by this node: ask one that holds it";
    const KeyRange keys = keys_of(command, arguments);
    for (std::size_t i = keys.begin; i < keys.end; i += keys.step)
        if (!database.holds(db, arguments[i]))
            return commands::no_domain(database, db, arguments[i]);
    return {};
}

}  // namespace

void Commands::opened(Connection& connection) {
    auto session = std::make_unique<ClientSession>();
    session->authenticated = !node_.password().has_value();
    connection.set_trusted(session->authenticated);
    connection.session() = std::move(session);
}

bool Commands::admit(Connection& connection, const Command& command,
                     std::span<const std::string_view> arguments) {
    ReplyWriter& reply = connection.reply();
    if (!command.takes(arguments.size())) {
        reply.error("ERR wrong number of arguments for '" + std::string(command.name) +
                    "' command");
        return false;
    }
    if (!session_of(connection).authenticated && !command.has(flag::kNoAuth)) {
        reply.error("NOAUTH Authentication required.");
        return false;
    }
    const Store& store = database_.store();
    if (store.halted() && !command.has(flag::kLoading)) {
        reply.error("ERR the node has halted: " + store.halted()->text());
        return false;
    }
    // What Redis lets through while it loads, and all that tells how far it is.
    const bool always = command.has(flag::kLoading) && !command.has(flag::kReadiness);
    if (!always && command.group != "crdt") {
        if (const auto refused = node_.clients_refused()) {
            reply.error(*refused);
            return false;
        }
    }
    if (command.has(flag::kWrite)) {
        const auto writes =
            command.has(flag::kGrows) ? NodeFacts::Writes::that_grow : NodeFacts::Writes::all;
        if (const auto refused = node_.refused(writes)) {
            reply.error(*refused);
            return false;
        }
    }
    if (const std::string text = oversized(command, arguments); !text.empty()) {
        reply.error(text);
        return false;
    }
    if (!database_.lacks_domains()) [[likely]]
        return true;
    const auto db = static_cast<DatabaseId>(connection.client().database);
    if (const std::string text = not_held(database_, db, command, arguments); !text.empty()) {
        reply.error(text);
        return false;
    }
    return true;
}

void Commands::execute(Connection& connection, std::span<const std::string_view> arguments) {
    ASSERT(!arguments.empty());
    if (!connection.session()) opened(connection);
    ++executed_;
    const ReplyWriter& reply = connection.reply();
    const std::uint64_t errors_before = reply.error_count();
    if (const Command* const command = table_.find(arguments[0])) {
        run(connection, *command, arguments);
    } else {
        connection.reply().error(unknown_command(arguments));
    }
    if (reply.error_count() != errors_before) ++errors_[reply.error_code()];
}

void Commands::run(Connection& connection, const Command& command,
                   std::span<const std::string_view> arguments) {
    CommandStats& stats = stats_[table_.index_of(command)];
    connection.set_last_command(command.name);
    if (!admit(connection, command, arguments)) {
        ++stats.rejected;
        return;
    }
    const std::uint64_t begin_us = node_.mono_us();
    database_.reset_observed();
    CommandContext context{.db = database_,
                           .connection = connection,
                           .reply = connection.reply(),
                           .random = random_,
                           .node = node_,
                           .commands = *this,
                           .args = arguments};
    const std::uint64_t errors_before = context.reply.error_count();
    command.handler(context);
    if (context.reply.error_count() != errors_before) ++stats.failed;
    if (database_.store().halted() && !command.has(flag::kLoading)) {
        return connection.close_now(
            "the store halted");  // during this command: its reply may be wrong
    }
    hold_reply(connection, command);
    ++stats.calls;
    const std::uint64_t took_us = node_.mono_us() - begin_us;
    stats.microseconds += took_us;
    stats.latency.record(took_us * 1000);
}

void Commands::hold_reply(Connection& connection, const Command& command) {
    Store& store = database_.store();
    LogPosition position = database_.observed();
    if (command.has(flag::kWrite)) {
        // Whatever it wrote lies at or before this; a write that found nothing to do waits for its
        // neighbours.
        position = std::max(position, store.applied());
        session_of(connection).last_write = store.applied();
    }
    if (position > store.durable()) connection.hold_until(position);
    if (command.has(flag::kWrite)) store.end_command();
}

void Commands::reset_stats() {
    std::ranges::fill(stats_, CommandStats{});
    errors_.clear();
}

}  // namespace skerry
