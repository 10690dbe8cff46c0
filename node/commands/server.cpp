// node/commands/server.cpp — COMMAND, CONFIG, INFO and what else concerns the node as a whole.
#include <absl/container/btree_set.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"
#include "node/glob.hpp"

namespace skerry::commands {
namespace {

struct FlagName {
    std::uint32_t flag;
    std::string_view name;
};
constexpr auto kFlagNames = std::to_array<FlagName>({
    {flag::kWrite, "write"},
    {flag::kReadonly, "readonly"},
    {flag::kGrows, "denyoom"},
    {flag::kAdmin, "admin"},
    {flag::kLoading, "loading"},
    {flag::kNoAuth, "no_auth"},
    {flag::kFast, "fast"},
    {flag::kNumkeys, "movablekeys"},
    {flag::kBlocking, "blocking"},
});

void reply_flags(ReplyWriter& reply, const Command& command) {
    const auto has = [&](const FlagName& x) { return command.has(x.flag); };
    reply.set(static_cast<std::size_t>(std::ranges::count_if(kFlagNames, has)));
    for (const FlagName& x : kFlagNames)
        if (has(x)) reply.simple(x.name);
}

void reply_categories(ReplyWriter& reply, const Command& command) {
    std::vector<std::string> categories;
    if (command.has(flag::kWrite)) categories.emplace_back("@write");
    if (command.has(flag::kReadonly)) categories.emplace_back("@read");
    if (command.has(flag::kAdmin)) categories.insert(categories.end(), {"@admin", "@dangerous"});
    categories.emplace_back(command.has(flag::kFast) ? "@fast" : "@slow");
    const std::string group(command.group);
    if (group == "generic") categories.emplace_back("@keyspace");
    if (group == "connection" || group == "string" || group == "bitmap" || group == "hash" ||
        group == "set")
        categories.push_back("@" + group);
    reply.set(categories.size());
    for (const std::string& category : categories) reply.simple(category);
}

void reply_command(ReplyWriter& reply, const Command& command) {
    reply.array(10);
    reply.bulk(command.name);
    reply.integer(command.arity);
    reply_flags(reply, command);
    reply.integer(command.keys.first);
    reply.integer(command.keys.last);
    reply.integer(command.keys.step);
    reply_categories(reply, command);
    reply.array(0);  // tips
    reply.array(0);  // key specifications
    reply.array(0);  // subcommands
}

void command_all(CommandContext& c) {
    const auto all = c.commands.table().all();
    c.reply.array(all.size());
    for (const Command& command : all) reply_command(c.reply, command);
}

void command_info(CommandContext& c) {
    if (c.count() == 2) return command_all(c);
    c.reply.array(c.count() - 2);
    for (const std::string_view name : c.args.subspan(2)) {
        if (const Command* const command = c.commands.table().find(name)) {
            reply_command(c.reply, *command);
        } else {
            c.reply.null_array();
        }
    }
}

void command_docs(CommandContext& c) {
    std::vector<const Command*> wanted;
    if (c.count() == 2) {
        for (const Command& command : c.commands.table().all()) wanted.push_back(&command);
    } else {
        for (const std::string_view name : c.args.subspan(2))
            if (const Command* const command = c.commands.table().find(name))
                wanted.push_back(command);
    }
    c.reply.map(wanted.size());
    for (const Command* const command : wanted) {
        c.reply.bulk(command->name);
        c.reply.map(3);
        c.reply.bulk("summary");
        c.reply.bulk(command->summary);
        c.reply.bulk("since");
        c.reply.bulk(command->since);
        c.reply.bulk("group");
        c.reply.bulk(command->group);
    }
}

void command_list(CommandContext& c) {
    std::string_view pattern = "*";
    if (c.count() == 5 && c.says(2, "FILTERBY") && c.says(3, "PATTERN")) {
        pattern = c.args[4];
    } else if (c.count() == 5 && c.says(2, "FILTERBY") &&
               (c.says(3, "ACLCAT") || c.says(3, "MODULE"))) {
        pattern = "";  // neither categories as a filter nor modules are kept
    } else if (c.count() != 2) {
        return c.reply.error(kSyntaxError);
    }
    std::vector<std::string_view> names;
    for (const Command& command : c.commands.table().all())
        if (glob_matches(pattern, command.name, GlobCase::insensitive))
            names.push_back(command.name);
    c.reply.array(names.size());
    for (const std::string_view name : names) c.reply.bulk(name);
}

void command_get_keys(CommandContext& c) {
    const auto arguments = c.args.subspan(2);
    const Command* const command = c.commands.table().find(arguments[0]);
    if (command == nullptr) return c.reply.error("ERR Invalid command specified");
    if (command->keys.first == 0 && !command->has(flag::kNumkeys))
        return c.reply.error("ERR The command has no key arguments");
    if (!command->takes(arguments.size()))
        return c.reply.error("ERR Invalid number of arguments specified for command");
    const KeyRange range = keys_of(*command, arguments);
    if (range.begin >= range.end)
        return c.reply.error("ERR Invalid arguments specified for command");
    c.reply.array((range.end - range.begin + range.step - 1) / range.step);
    for (std::size_t i = range.begin; i < range.end; i += range.step) c.reply.bulk(arguments[i]);
}

void config_get(CommandContext& c) {
    absl::btree_set<std::pair<std::string, std::string>> found;
    for (const std::string_view pattern : c.args.subspan(2))
        for (auto& setting : c.node.config_get(pattern)) found.insert(std::move(setting));
    c.reply.map(found.size());
    for (const auto& [name, text] : found) {
        c.reply.bulk(name);
        c.reply.bulk(text);
    }
}

void config_set(CommandContext& c) {
    if (c.count() % 2 != 0) return wrong_arity(c, "set");
    for (std::size_t i = 2; i < c.count(); i += 2) {
        const auto done = c.node.config_set(c.args[i], c.args[i + 1]);
        if (done) continue;
        const std::string name(c.args[i]);
        if (done.error().code == Code::unsupported)
            return c.reply.error("ERR Unknown option or number of arguments for CONFIG SET - '" +
                                 name + "'");
        return c.reply.error("ERR CONFIG SET failed (possibly related to argument '" + name +
                             "') - " + done.error().where);
    }
    c.reply.ok();
}

[[nodiscard]] std::string keyspace_lines(CommandContext& c) {
    std::string text;
    for (DatabaseId db = 0; db < kDatabaseCount; ++db) {
        const std::uint64_t keys = c.db.key_count(db);
        if (keys == 0) continue;
        text += "db" + std::to_string(db) + ":keys=" + std::to_string(keys) +
                ",expires=" + std::to_string(c.db.deadline_count(db)) + ",avg_ttl=0\r\n";
    }
    return text;
}

[[nodiscard]] std::string stats_lines(CommandContext& c) {
    std::string text;
    const auto all = c.commands.table().all();
    for (const Command& command : all) {
        const CommandStats& stats = c.commands.stats()[c.commands.table().index_of(command)];
        if (stats.calls == 0 && stats.rejected == 0) continue;
        const double calls = static_cast<double>(std::max<std::uint64_t>(stats.calls, 1));
        const double each = static_cast<double>(stats.microseconds) / calls;
        char per_call[40];
        std::snprintf(per_call, sizeof per_call, "%.2f", each);
        text += "cmdstat_" + std::string(command.name) + ":calls=" + std::to_string(stats.calls) +
                ",usec=" + std::to_string(stats.microseconds) + ",usec_per_call=" + per_call +
                ",rejected_calls=" + std::to_string(stats.rejected) +
                ",failed_calls=" + std::to_string(stats.failed) + "\r\n";
    }
    return text;
}

[[nodiscard]] std::string error_lines(CommandContext& c) {
    std::string text;
    for (const auto& [code, count] : c.commands.errors())
        text += "errorstat_" + code + ":count=" + std::to_string(count) + "\r\n";
    return text;
}

constexpr auto kDefaultSections = std::to_array<std::string_view>(
    {"server", "clients", "memory", "persistence", "stats", "replication", "cpu", "crdt",
     "errorstats", "cluster", "keyspace"});
// Shown without a line, too.
constexpr auto kOwnSections =
    std::to_array<std::string_view>({"keyspace", "commandstats", "errorstats"});

[[nodiscard]] std::string section_lines(CommandContext& c, std::string_view section) {
    if (section == "keyspace") return keyspace_lines(c);
    if (section == "commandstats") return stats_lines(c);
    if (section == "errorstats") return error_lines(c);
    return c.node.info(section);
}

void add_once(std::vector<std::string>& sections, std::string section) {
    if (!std::ranges::count(sections, section)) sections.push_back(std::move(section));
}

}  // namespace

void command(CommandContext& c) {
    if (c.count() == 1) return command_all(c);
    if (c.says(1, "COUNT")) {
        if (c.count() != 2) return wrong_arity(c, "count");
        return c.reply.integer(static_cast<std::int64_t>(c.commands.table().all().size()));
    }
    if (c.says(1, "INFO")) return command_info(c);
    if (c.says(1, "DOCS")) return command_docs(c);
    if (c.says(1, "LIST")) return command_list(c);
    if (c.says(1, "GETKEYS"))
        return c.count() < 3 ? wrong_arity(c, "getkeys") : command_get_keys(c);
    if (c.says(1, "HELP")) {
        static constexpr auto kLines = std::to_array<std::string_view>({
            "(no subcommand)",
            "    Return details about all commands.",
            "COUNT",
            "    Return the total number of commands in this server.",
            "DOCS [<command-name> ...]",
            "    Return documentation details about multiple commands.",
            "GETKEYS <full-command>",
            "    Return the keys from a full command.",
            "INFO [<command-name> ...]",
            "    Return details about multiple commands.",
            "LIST [FILTERBY PATTERN <pattern>]",
            "    Return a list of all commands in this server.",
        });
        return help(c, kLines);
    }
    unknown_subcommand(c);
}

void config(CommandContext& c) {
    if (c.says(1, "GET")) return c.count() < 3 ? wrong_arity(c, "get") : config_get(c);
    if (c.says(1, "SET")) return c.count() < 4 ? wrong_arity(c, "set") : config_set(c);
    if (c.says(1, "RESETSTAT")) {
        if (c.count() != 2) return wrong_arity(c, "resetstat");
        c.commands.reset_stats();
        c.node.reset_stats();
        return c.reply.ok();
    }
    if (c.says(1, "REWRITE"))
        return c.reply.error("ERR The server is running without a config file");
    if (c.says(1, "HELP")) {
        static constexpr auto kLines = std::to_array<std::string_view>({
            "GET <pattern>",
            "    Return parameters matching the glob-like <pattern> and their values.",
            "SET <directive> <value>",
            "    Set the configuration <directive> to <value>.",
            "RESETSTAT",
            "    Reset statistics reported by the INFO command.",
        });
        return help(c, kLines);
    }
    unknown_subcommand(c);
}

void dbsize(CommandContext& c) {
    c.reply.integer(static_cast<std::int64_t>(c.db.key_count(c.database())));
}

void info(CommandContext& c) {
    std::vector<std::string> sections;
    const auto add_default = [&] {
        for (const std::string_view section : kDefaultSections)
            add_once(sections, std::string(section));
    };
    if (c.count() == 1) add_default();
    for (const std::string_view argument : c.args.subspan(1)) {
        const std::string section = lower(argument);
        const bool everything = section == "all" || section == "everything";
        if (everything || section == "default") add_default();
        if (everything) add_once(sections, "commandstats");
        if (!everything && section != "default") add_once(sections, section);
    }
    std::string text;
    for (const std::string& section : sections) {
        const std::string lines = section_lines(c, section);
        if (lines.empty() && !std::ranges::count(kOwnSections, section)) continue;
        if (!text.empty()) text += "\r\n";
        text += "# " + upper(section.substr(0, 1)) + section.substr(1) + "\r\n" + lines;
    }
    c.reply.verbatim("txt", text);
}

void lastsave(CommandContext& c) { c.reply.integer(c.node.last_checkpoint_seconds()); }

void shutdown(CommandContext& c) {
    for (std::size_t i = 1; i < c.count(); ++i) {
        if (c.says(i, "ABORT")) return c.reply.error("ERR No shutdown in progress.");
        if (!c.says(i, "SAVE") && !c.says(i, "NOSAVE") && !c.says(i, "NOW") && !c.says(i, "FORCE"))
            return c.reply.error(kSyntaxError);
    }
    c.connection.close_after_reply();
    c.node.shutdown();
}

void time(CommandContext& c) {
    const std::int64_t now_ms = c.now().count();
    c.reply.array(2);
    c.reply.bulk(std::to_string(now_ms / 1000));
    c.reply.bulk(std::to_string(now_ms % 1000 * 1000));
}

}  // namespace skerry::commands
