// node/commands/connection.cpp — PING, AUTH, HELLO, SELECT, CLIENT and the like.
#include <algorithm>
#include <array>

#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"

namespace skerry::commands {
namespace {

constexpr std::string_view kWrongPassword =
    "WRONGPASS invalid username-password pair or user is disabled.";

// Takes as long whatever the first difference is.
[[nodiscard]] bool same_secret(std::string_view given, std::string_view wanted) {
    unsigned difference = given.size() == wanted.size() ? 0 : 1;
    for (std::size_t i = 0; i < given.size(); ++i) {
        const char other = wanted.empty() ? '\0' : wanted[i % wanted.size()];
        difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(other);
    }
    return difference == 0;
}

// False: an error has been replied.
[[nodiscard]] bool log_in(CommandContext& c, std::string_view user, std::string_view secret) {
    const auto password = c.node.password();
    if (user != "default" || (password && !same_secret(secret, *password))) {
        c.reply.error(kWrongPassword);
        return false;
    }
    Commands::session_of(c.connection).authenticated = true;
    c.connection.set_trusted(true);
    return true;
}

[[nodiscard]] bool plain_name(std::string_view text) {
    return std::ranges::all_of(text, [](char x) { return x >= '!' && x <= '~'; });
}

[[nodiscard]] bool set_name(CommandContext& c, std::string_view name) {
    if (!plain_name(name)) {
        c.reply.error("ERR Client names cannot contain spaces, newlines or special characters.");
        return false;
    }
    c.connection.client().name = name;
    return true;
}

[[nodiscard]] std::string describe(CommandContext& c, const Connection& connection) {
    const std::uint64_t now_ms = c.node.mono_us() / 1000;
    const auto seconds = [now_ms](std::uint64_t since) {
        return std::to_string((std::max(now_ms, since) - since) / 1000);
    };
    const ConnectionInfo& info = connection.info();
    const ClientFields& client = connection.client();
    std::string text = "id=" + std::to_string(info.id) + " addr=" + info.peer +
                       " laddr=" + info.local + " fd=-1 name=" + client.name +
                       " age=" + seconds(info.created_mono_ms) +
                       " idle=" + seconds(connection.last_command_mono_ms());
    text += connection.blocked() ? " flags=b" : " flags=N";
    text += " db=" + std::to_string(client.database) + " sub=0 psub=0 ssub=0 multi=-1";
    text += " qbuf=" + std::to_string(connection.pending_bytes()) +
            " qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0";
    text += " obl=" + std::to_string(connection.unsent_bytes()) +
            " oll=0 omem=0 tot-mem=0 events=r cmd=" +
            std::string(connection.last_command().empty() ? "NULL" : connection.last_command());
    const auto protocol = const_cast<Connection&>(connection).reply().protocol();
    return text + " user=default redir=-1 resp=" + std::to_string(static_cast<int>(protocol)) +
           " lib-name=" + client.library_name + " lib-ver=" + client.library_version + "\n";
}

void client_list(CommandContext& c) {
    std::vector<std::uint64_t> wanted;
    bool none = false;
    if (c.count() > 2 && c.says(2, "ID") && c.count() > 3) {
        for (std::size_t i = 3; i < c.count(); ++i) {
            const auto id = integer_from(c, c.args[i], 1, "ERR Invalid client ID");
            if (!id) return;
            wanted.push_back(static_cast<std::uint64_t>(*id));
        }
    } else if (c.count() == 4 && c.says(2, "TYPE")) {
        const bool known = c.says(3, "NORMAL") || c.says(3, "MASTER") || c.says(3, "REPLICA") ||
                           c.says(3, "SLAVE") || c.says(3, "PUBSUB");
        if (!known)
            return c.reply.error("ERR Unknown client type '" + std::string(c.args[3]) + "'");
        none = !c.says(3, "NORMAL");
    } else if (c.count() != 2) {
        return c.reply.error(kSyntaxError);
    }
    std::string text;
    for (const Connection* const connection : c.node.clients()) {
        if (none || (!wanted.empty() && !std::ranges::count(wanted, connection->id()))) continue;
        text += describe(c, *connection);
    }
    c.reply.verbatim("txt", text);
}

struct KillFilter {
    std::optional<std::uint64_t> id;
    std::optional<std::string_view> peer;
    std::optional<std::string_view> local;
    bool nobody = false;  // a type or user that no client here has
    bool skip_self = true;

    [[nodiscard]] bool matches(const Connection& connection) const {
        return !nobody && (!id || *id == connection.id()) &&
               (!peer || *peer == connection.info().peer) &&
               (!local || *local == connection.info().local);
    }
};

[[nodiscard]] std::optional<KillFilter> kill_filter(CommandContext& c) {
    KillFilter filter;
    for (std::size_t i = 2; i < c.count(); i += 2) {
        if (i + 1 >= c.count()) {
            c.reply.error(kSyntaxError);
            return std::nullopt;
        }
        const std::string_view text = c.args[i + 1];
        if (c.says(i, "ID")) {
            const auto id = integer_from(c, text, 1, "ERR client-id should be greater than 0");
            if (!id) return std::nullopt;
            filter.id = static_cast<std::uint64_t>(*id);
        } else if (c.says(i, "ADDR")) {
            filter.peer = text;
        } else if (c.says(i, "LADDR")) {
            filter.local = text;
        } else if (c.says(i, "TYPE")) {
            filter.nobody = filter.nobody || !c.says(i + 1, "NORMAL");
        } else if (c.says(i, "USER")) {
            filter.nobody = filter.nobody || text != "default";
        } else if (c.says(i, "SKIPME") && (c.says(i + 1, "YES") || c.says(i + 1, "NO"))) {
            filter.skip_self = c.says(i + 1, "YES");
        } else {
            c.reply.error(kSyntaxError);
            return std::nullopt;
        }
    }
    return filter;
}

std::int64_t kill(CommandContext& c, const KillFilter& filter) {
    std::int64_t killed = 0;
    for (Connection* const connection : c.node.clients()) {
        if (!filter.matches(*connection)) continue;
        if (connection == &c.connection) {
            if (filter.skip_self) continue;
            connection->close_after_reply();
        } else {
            connection->close_now("CLIENT KILL");
        }
        ++killed;
    }
    return killed;
}

void client_kill(CommandContext& c) {
    if (c.count() == 3) {  // the old form
        KillFilter filter;
        filter.peer = c.args[2];
        filter.skip_self = false;
        if (kill(c, filter) == 0) return c.reply.error("ERR No such client");
        return c.reply.ok();
    }
    if (c.count() < 3) return wrong_arity(c, c.args[1]);
    if (const auto filter = kill_filter(c)) c.reply.integer(kill(c, *filter));
}

void client_reply(CommandContext& c) {
    if (c.says(2, "ON")) {
        c.connection.set_reply_mode(ReplyMode::on);
        c.reply.ok();
    } else if (c.says(2, "OFF")) {
        c.connection.set_reply_mode(ReplyMode::off);
    } else if (c.says(2, "SKIP")) {
        if (c.connection.reply_mode() == ReplyMode::on)
            c.connection.set_reply_mode(ReplyMode::skip_next);
    } else {
        c.reply.error(kSyntaxError);
    }
}

void client_set_info(CommandContext& c) {
    ClientFields& client = c.connection.client();
    const bool name = c.says(2, "LIB-NAME");
    if (!name && !c.says(2, "LIB-VER"))
        return c.reply.error("ERR Unrecognized option '" + std::string(c.args[2]) + "'");
    if (!plain_name(c.args[3]))
        return c.reply.error("ERR " + lower(c.args[2]) +
                             " cannot contain spaces, newlines or special characters.");
    (name ? client.library_name : client.library_version) = c.args[3];
    c.reply.ok();
}

// NO-EVICT and NO-TOUCH.
void client_switch(CommandContext& c, bool& setting) {
    if (!c.says(2, "ON") && !c.says(2, "OFF")) return c.reply.error(kSyntaxError);
    setting = c.says(2, "ON");
    c.reply.ok();
}

void client_id(CommandContext& c) { c.reply.integer(static_cast<std::int64_t>(c.connection.id())); }
void client_get_name(CommandContext& c) {
    const std::string& name = c.connection.client().name;
    reply_optional(c.reply, name.empty() ? std::nullopt : std::optional(name));
}
void client_set_name(CommandContext& c) {
    if (set_name(c, c.args[2])) c.reply.ok();
}
void client_info(CommandContext& c) { c.reply.verbatim("txt", describe(c, c.connection)); }
void client_no_evict(CommandContext& c) { client_switch(c, c.connection.client().no_evict); }
void client_no_touch(CommandContext& c) { client_switch(c, c.connection.client().no_touch); }
void client_redirection(CommandContext& c) { c.reply.integer(-1); }
void client_unpause(CommandContext& c) { c.reply.ok(); }
void client_unblock(CommandContext& c) { c.reply.integer(0); }  // nobody waits for a key
void client_tracking_info(CommandContext& c) {
    c.reply.map(3);
    c.reply.bulk("flags");
    c.reply.set(1);
    c.reply.bulk("off");
    c.reply.bulk("redirect");
    c.reply.integer(-1);
    c.reply.bulk("prefixes");
    c.reply.array(0);
}

void client_help(CommandContext& c) {
    static constexpr auto kLines = std::to_array<std::string_view>({
        "GETNAME",
        "    Return the name of the current connection.",
        "GETREDIR",
        "    Return the client ID we are redirecting to when tracking is enabled.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>|<option> <value> [...]",
        "    Kill connections. Options: ADDR, LADDR, ID, TYPE, USER, SKIPME.",
        "LIST [options ...]",
        "    Return information about client connections.",
        "NO-EVICT (ON|OFF)",
        "    Accepted; clients are not evicted.",
        "NO-TOUCH (ON|OFF)",
        "    Accepted; there is no access time.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETINFO <option> <value>",
        "    Set LIB-NAME or LIB-VER.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
    });
    help(c, kLines);
}

struct Subcommand {
    std::string_view name;
    std::int16_t arity;  // as in Redis: both words count
    void (*handler)(CommandContext& c);
};

constexpr auto kClientSubcommands = std::to_array<Subcommand>({
    {"GETNAME", 2, client_get_name},
    {"GETREDIR", 2, client_redirection},
    {"HELP", 2, client_help},
    {"ID", 2, client_id},
    {"INFO", 2, client_info},
    {"KILL", -3, client_kill},
    {"LIST", -2, client_list},
    {"NO-EVICT", 3, client_no_evict},
    {"NO-TOUCH", 3, client_no_touch},
    {"REPLY", 3, client_reply},
    {"SETINFO", 4, client_set_info},
    {"SETNAME", 3, client_set_name},
    {"TRACKINGINFO", 2, client_tracking_info},
    {"UNBLOCK", -3, client_unblock},
    {"UNPAUSE", 2, client_unpause},
});

void reply_hello(CommandContext& c) {
    c.reply.map(7);
    c.reply.bulk("server");
    c.reply.bulk("redis");
    c.reply.bulk("version");
    c.reply.bulk("7.0.0");
    c.reply.bulk("proto");
    c.reply.integer(static_cast<std::int64_t>(c.reply.protocol()));
    c.reply.bulk("id");
    client_id(c);
    c.reply.bulk("mode");
    c.reply.bulk("cluster");
    c.reply.bulk("role");
    c.reply.bulk("master");
    c.reply.bulk("modules");
    c.reply.array(0);
}

}  // namespace

void auth(CommandContext& c) {
    if (c.count() > 3) return c.reply.error(kSyntaxError);
    if (c.count() == 2 && !c.node.password()) {
        return c.reply.error(
            "ERR AUTH <password> called without any password configured for the default user. Are "
            "you sure your "
            "configuration is correct?");
    }
    if (log_in(c, c.count() == 3 ? c.args[1] : "default", c.args.back())) c.reply.ok();
}

void client(CommandContext& c) {
    for (const Subcommand& subcommand : kClientSubcommands) {
        if (!c.says(1, subcommand.name)) continue;
        const auto count = static_cast<std::int64_t>(c.count());
        const bool fits =
            subcommand.arity >= 0 ? count == subcommand.arity : count >= -subcommand.arity;
        return fits ? subcommand.handler(c) : wrong_arity(c, c.args[1]);
    }
    unknown_subcommand(c);
}

void echo(CommandContext& c) { c.reply.bulk(c.args[1]); }

void hello(CommandContext& c) {
    Protocol protocol = c.reply.protocol();
    if (c.count() > 1) {
        const auto version =
            integer(c, c.args[1], "ERR Protocol version is not an integer or out of range");
        if (!version) return;
        if (*version != 2 && *version != 3)
            return c.reply.error("NOPROTO unsupported protocol version");
        protocol = *version == 3 ? Protocol::resp3 : Protocol::resp2;
    }
    std::optional<std::size_t> credentials;
    std::optional<std::string_view> name;
    for (std::size_t i = 2; i < c.count(); ++i) {
        if (c.says(i, "AUTH") && i + 2 < c.count()) {
            credentials = i + 1;
            i += 2;
        } else if (c.says(i, "SETNAME") && i + 1 < c.count()) {
            name = c.args[++i];
        } else {
            return c.reply.error("ERR Syntax error in HELLO option '" + std::string(c.args[i]) +
                                 "'");
        }
    }
    if (credentials && !log_in(c, c.args[*credentials], c.args[*credentials + 1])) return;
    if (!Commands::session_of(c.connection).authenticated) {
        return c.reply.error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
            "HELLO <proto> AUTH <user> "
            "<pass> option can be used to authenticate the client and select the RESP protocol "
            "version at the same time");
    }
    if (name && !set_name(c, *name)) return;
    c.reply.set_protocol(protocol);
    reply_hello(c);
}

void ping(CommandContext& c) {
    if (c.count() > 2) return wrong_arity(c);
    if (c.count() == 2) return c.reply.bulk(c.args[1]);
    c.reply.simple("PONG");
}

void quit(CommandContext& c) {
    c.reply.ok();
    c.connection.close_after_reply();
}

void reset(CommandContext& c) {
    const bool open = !c.node.password().has_value();
    Commands::session_of(c.connection).authenticated = open;
    c.connection.set_trusted(open);
    c.connection.client() = ClientFields{};
    c.connection.set_reply_mode(ReplyMode::on);
    c.reply.set_protocol(Protocol::resp2);
    c.reply.simple("RESET");
}

void select(CommandContext& c) {
    const auto index = integer(c, c.args[1], "ERR invalid DB index");
    if (!index) return;
    if (*index < 0 || *index >= kDatabaseCount)
        return c.reply.error("ERR DB index is out of range");
    c.connection.client().database = static_cast<std::uint32_t>(*index);
    c.reply.ok();
}

}  // namespace skerry::commands
