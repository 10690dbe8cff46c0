// node/config.cpp — one table of keys, from which flags, file keys and CONFIG GET are made; see the header.
#include "node/config.hpp"

#include <toml++/toml.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>
#include <numeric>
#include <span>

#include "crdt/assert.hpp"

namespace skerry {
namespace {

using Texts = std::vector<std::string>;
using Apply = Result<std::string> (*)(Config& config,
                                      const Texts& values);  // yields the canonical text

struct Key {
    std::string_view name;
    std::string_view form;
    bool repeatable;
    Texts defaults;  // empty = nothing is set
    Apply apply;
    std::string_view help;
};

[[nodiscard]] Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t min,
                                                 std::uint64_t max) {
    std::uint64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc{} || end != text.data() + text.size() || value < min || value > max) {
        return fail(Code::malformed, "\"" + std::string(text) + "\" is not a number from " +
                                         std::to_string(min) + " to " + std::to_string(max));
    }
    return value;
}

template <std::string Config::* member>
Result<std::string> apply_name(Config& config, const Texts& values) {
    const std::string& text = values.front();
    const bool printable =
        std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c != 0x7f; });
    if (text.empty() || text.size() > 255 || !printable) {
        return fail(Code::malformed,
                    "\"" + text + "\" is not a name: 1 to 255 bytes without blanks");
    }
    return config.*member = text;
}

Result<std::string> apply_dir(Config& config, const Texts& values) {
    if (values.front().empty()) return fail(Code::malformed, "a directory is wanted");
    return config.dir = values.front();
}

Result<std::string> apply_password(Config& config, const Texts& values) {
    return config.password = values.front();
}

template <std::vector<HostPort> Config::* member>
Result<std::string> apply_addresses(Config& config, const Texts& values) {
    std::vector<HostPort> addresses;
    std::string text;
    for (const std::string& value : values) {
        auto address = parse_host_port(value);
        if (!address) return std::unexpected(address.error());
        text += (text.empty() ? "" : " ") + address->text();
        addresses.push_back(std::move(*address));
    }
    config.*member = std::move(addresses);
    return text;
}

template <std::optional<HostPort> Config::* member>
Result<std::string> apply_address(Config& config, const Texts& values) {
    if (values.front().empty()) {
        (config.*member).reset();
        return std::string();
    }
    auto address = parse_host_port(values.front());
    if (!address) return std::unexpected(address.error());
    return (config.*member = std::move(*address))->text();
}

template <std::uint64_t Config::* member>
Result<std::string> apply_bytes(Config& config, const Texts& values) {
    const auto bytes = parse_bytes(values.front());
    if (!bytes) return std::unexpected(bytes.error());
    config.*member = *bytes;
    return std::to_string(*bytes);
}

template <auto member, std::uint64_t min, std::uint64_t max>
Result<std::string> apply_number(Config& config, const Texts& values) {
    const auto number = parse_number(values.front(), min, max);
    if (!number) return std::unexpected(number.error());
    using Field = std::remove_reference_t<decltype(config.*member)>;
    config.*member = Field(static_cast<Field>(*number));
    return std::to_string(*number);
}

template <auto member, std::int64_t min, std::int64_t max>
Result<std::string> apply_duration(Config& config, const Texts& values) {
    const auto number = parse_number(values.front(), min, max);
    if (!number) return std::unexpected(number.error());
    config.*member =
        std::remove_reference_t<decltype(config.*member)>(static_cast<std::int64_t>(*number));
    return std::to_string(*number);
}

Result<std::string> apply_durability(Config& config, const Texts& values) {
    constexpr std::array<std::pair<std::string_view, Durability>, 3> kNames{
        {{"always", Durability::always},
         {"interval", Durability::interval},
         {"none", Durability::none}}};
    for (const auto& [name, durability] : kNames) {
        if (values.front() != name) continue;
        config.durability = durability;
        return std::string(name);
    }
    return fail(Code::malformed, "\"" + values.front() + "\" is not one of always, interval, none");
}

Result<std::string> apply_role(Config& config, const Texts& values) {
    const auto role = parse_role(values.front());
    if (!role)
        return fail(Code::malformed, "\"" + values.front() + "\" is not one of core, hub, edge");
    config.role = *role;
    return values.front();
}

Result<std::string> apply_domains(Config& config, const Texts& values) {
    std::vector<DomainRule> rules;
    std::string text;
    for (const std::string& value : values) {
        auto rule = parse_domain_rule(value);
        if (!rule) return std::unexpected(rule.error());
        for (const DomainRule& other : rules)
            if (const auto why = conflict(other, "one flag", *rule, "another"))
                return fail(Code::malformed, *why);
        text += (text.empty() ? "" : " ") + rule->text();
        if (std::ranges::find(rules, *rule) == rules.end()) rules.push_back(std::move(*rule));
    }
    config.domains = std::move(rules);
    return text;
}

template <bool Config::* member>
Result<std::string> apply_switch(Config& config, const Texts& values) {
    const std::string& text = values.front();
    if (text != "yes" && text != "no")
        return fail(Code::malformed, "\"" + text + "\" is not one of yes, no");
    config.*member = text == "yes";
    return text;
}

Result<std::string> apply_log_level(Config& config, const Texts& values) {
    const auto level = parse_note_level(values.front());
    if (!level) return std::unexpected(level.error());
    config.log_level = *level;
    return values.front();
}

[[nodiscard]] const std::vector<Key>& keys() {
    // clang-format off: a table, one key a line or two
    static const std::vector<Key> kKeys{
        {"name", "NAME", false, {}, apply_name<&Config::name>, "what this node is called (default: the host name)"},
        {"region", "NAME", false, {"local"}, apply_name<&Config::region>, "where it stands"},
        {"role", "core|hub|edge", false, {"core"}, apply_role,
         "a hub takes edges in; an edge only dials out, to the hubs given by peer"},
        {"cluster", "NAME", false, {"skerry"}, apply_name<&Config::cluster>, "nodes of other clusters are refused"},
        {"dir", "DIR", false, {"./skerry-data"}, apply_dir, "where data is kept"},
        {"listen", "HOST:PORT", true, {"127.0.0.1:6379", "[::1]:6379"}, apply_addresses<&Config::listen>,
         "where clients connect; may be given several times"},
        {"gossip", "HOST:PORT", false, {}, apply_address<&Config::gossip>,
         "where other nodes connect (default: none, standalone)"},
        {"publish", "HOST:PORT", false, {}, apply_address<&Config::publish>,
         "where other nodes subscribe (default: gossip's port + 1)"},
        {"peer", "HOST:PORT", true, {}, apply_addresses<&Config::peers>,
         "gossip address of another node; may be given several times"},
        {"announce", "HOST:PORT", false, {}, apply_address<&Config::announce>,
         "the client address that is told to cluster clients"},
        {"http", "HOST:PORT", false, {}, apply_address<&Config::http>, "serves /metrics and /health (default: none)"},
        {"durability", "always|interval|none", false, {"always"}, apply_durability, "when a write is acknowledged"},
        {"memory", "SIZE", false, {"1gb"}, apply_bytes<&Config::memory_bytes>, "memory for data"},
        {"log-keep", "SIZE", false, {"256mb"}, apply_bytes<&Config::log_keep_bytes>,
         "log kept for nodes that were away"},
        {"repair", "yes|no", false, {"yes"}, apply_switch<&Config::repairs>,
         "repairs by itself what differs from another node at the same clock"},
        {"shards", "COUNT", false, {"256"}, apply_number<&Config::shard_count, 1, 16384>,
         "shards; the same on every node of a cluster"},
        {"domain", "NAME=NUMBER,db=N|NAME=NUMBER,prefix=TEXT", true, {}, apply_domains,
         "a part of the keys that this node holds as a domain of its own; may be given several times"},
        {"main", "yes|no", false, {"yes"}, apply_switch<&Config::holds_main>,
         "holds what is of no domain, too; only an edge may say no"},
        {"log-level", "error|warn|info|debug", false, {"info"}, apply_log_level, "what is logged to stderr"},
        {"password", "TEXT", false, {""}, apply_password, "what clients must AUTH with (default: none)"},
        {"drift-max-ms", "MS", false, {"300000"}, apply_duration<&Config::drift_max, 1, 86'400'000>,
         "clocks of other nodes further ahead are refused"},
        {"clients-max", "COUNT", false, {"10000"}, apply_number<&Config::clients_max, 1, 1'000'000>,
         "client connections at a time"},
        {"member-silent-ms", "MS", false, {"604800000"},
         apply_duration<&Config::member_silent_max, kMemberSilentMsMin, 31'536'000'000>,
         "how long a node may be silent before it counts as a member no more (CONFIG SET, too)"},
        {"edge-silent-ms", "MS", false, {"2592000000"},
         apply_duration<&Config::edge_silent_max, kMemberSilentMsMin, 31'536'000'000>,
         "the same of an edge (CONFIG SET, too)"},
        {"idle-timeout", "SECONDS", false, {"0"}, apply_duration<&Config::idle_timeout, 0, 31'536'000>,
         "closes clients that are idle as long (default: never)"},
        {"refuse-until-synced", "yes|no", false, {"no"}, apply_switch<&Config::refuse_until_synced>,
         "after a start, refuses clients until it has what its peers had"},
    };
    // clang-format on
    return kKeys;
}

[[nodiscard]] const Key* find_key(std::string_view name) {
    const auto at = std::find_if(keys().begin(), keys().end(),
                                 [&](const Key& key) { return key.name == name; });
    return at == keys().end() ? nullptr : &*at;
}

[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[b.size()];
}

[[nodiscard]] std::string nearest_name(std::string_view name, std::string_view prefix) {
    if (name.size() > 64) return {};
    std::string_view best = "config";
    std::size_t distance = edit_distance(name, best);
    for (const Key& key : keys()) {
        const std::size_t other = edit_distance(name, key.name);
        if (other >= distance) continue;
        distance = other;
        best = key.name;
    }
    if (distance > std::max<std::size_t>(2, name.size() / 2)) return {};
    return "; did you mean " + std::string(prefix) + std::string(best) + "?";
}

[[nodiscard]] Result<void> set_key(Config& config, const Key& key, const Texts& values) {
    if (!key.repeatable && values.size() != 1) return fail(Code::malformed, "one value is wanted");
    auto canonical = key.apply(config, values);
    if (!canonical) return std::unexpected(canonical.error());
    config.text[std::string(key.name)] = std::move(*canonical);
    return {};
}

[[nodiscard]] Result<std::string> scalar_text(const toml::node& node) {
    if (const auto* text = node.as_string()) return text->get();
    if (const auto* number = node.as_integer()) return std::to_string(number->get());
    return fail(Code::malformed, "a string or a whole number is wanted");
}

[[nodiscard]] Result<Texts> texts_of(const toml::node& node, const Key& key) {
    Texts texts;
    if (const toml::array* list = node.as_array(); list != nullptr && key.repeatable) {
        for (const toml::node& element : *list) {
            auto text = scalar_text(element);
            if (!text) return std::unexpected(text.error());
            texts.push_back(std::move(*text));
        }
        return texts;
    }
    auto text = scalar_text(node);
    if (!text) return std::unexpected(text.error());
    texts.push_back(std::move(*text));
    return texts;
}

[[nodiscard]] Result<void> load_file(Config& config, const std::string& path) {
    toml::table table;
    try {
        table = toml::parse_file(path);
    } catch (const toml::parse_error& failure) {
        const auto line = failure.source().begin.line;
        const std::string place = line == 0 ? path : path + ":" + std::to_string(line);
        return fail(Code::malformed, place + ": " + std::string(failure.description()));
    } catch (const std::exception& failure) {
        return fail(Code::io_failed, path + ": " + failure.what());
    }
    for (const auto& [toml_key, node] : table) {
        const std::string_view name = toml_key.str();
        const std::string place = path + ":" + std::to_string(toml_key.source().begin.line) + ": ";
        const Key* key = find_key(name);
        if (key == nullptr) {
            return fail(Code::malformed, place + "unknown key \"" + std::string(name) + "\"" +
                                             nearest_name(name, ""));
        }
        const auto texts = texts_of(node, *key);
        const Result<void> done =
            texts ? set_key(config, *key, *texts) : std::unexpected(texts.error());
        if (!done)
            return fail(done.error().code, place + std::string(name) + ": " + done.error().where);
    }
    return {};
}

// What only the whole tells.
[[nodiscard]] Result<void> complete(Config& config) {
    if (config.listen.empty())
        return fail(Code::malformed, "listen: at least one address is wanted");
    if (config.role == Role::edge && (config.gossip || config.publish))
        return fail(
            Code::malformed,
            "an edge only dials out, and nobody connects to it: role edge goes without gossip "
            "and publish");
    if (config.role == Role::edge && config.peers.empty())
        return fail(Code::malformed,
                    "role edge: at least one peer is wanted, the gossip address of a hub");
    if (!config.holds_main && config.role != Role::edge)
        return fail(Code::malformed, "main no: only an edge goes without the domain main");
    if (!config.holds_main && config.domains.empty())
        return fail(Code::malformed, "main no: at least one domain is wanted, to hold instead");
    if (config.role == Role::hub && !config.gossip)
        return fail(Code::malformed,
                    "role hub: gossip is wanted, where edges and other nodes connect");
    if (config.role != Role::edge && !config.gossip && (config.publish || !config.peers.empty())) {
        return fail(Code::malformed, "publish and peer are of no use without gossip");
    }
    if (config.gossip && config.gossip->port == 65535 && !config.publish) {
        return fail(Code::malformed, "publish: must be given, since gossip has the last port");
    }
    if (config.gossip && !config.publish) {
        config.publish =
            HostPort{config.gossip->host, static_cast<std::uint16_t>(config.gossip->port + 1)};
        config.text["publish"] = config.publish->text();
    }
    return {};
}

[[nodiscard]] Result<Config> make_config(const std::string& path, std::span<const Texts> flags,
                                         const std::string& host_name) {
    Config config;
    for (const Key& key : keys()) {
        config.text[std::string(key.name)] = "";
        if (key.defaults.empty()) continue;
        const auto done = set_key(config, key, key.defaults);
        ASSERT(done.has_value());
    }
    config.name = config.text["name"] = host_name;
    if (!path.empty()) {
        const auto done = load_file(config, path);
        if (!done) return std::unexpected(done.error());
    }
    for (std::size_t i = 0; i < flags.size(); ++i) {
        if (flags[i].empty()) continue;
        const auto done = set_key(config, keys()[i], flags[i]);
        if (!done)
            return fail(done.error().code,
                        "--" + std::string(keys()[i].name) + ": " + done.error().where);
    }
    const auto done = complete(config);
    if (!done) return std::unexpected(done.error());
    return config;
}

// In the order CLI11 wants, and with "--key=value" as two words, since it takes the next word for
// the value of "--key=".
[[nodiscard]] Texts reversed_words(const Texts& arguments) {
    Texts words;
    for (const std::string& argument : arguments) {
        const std::size_t equals = argument.find('=');
        const std::string name = argument.substr(0, equals);
        if (equals == std::string::npos || !name.starts_with("--") ||
            (name != "--config" && find_key(std::string_view(name).substr(2)) == nullptr)) {
            words.push_back(argument);
            continue;
        }
        words.push_back(name);
        words.push_back(argument.substr(equals + 1));
    }
    std::reverse(words.begin(), words.end());
    return words;
}

[[nodiscard]] ConfigOutcome refuse(const std::string& why) {
    return ConfigOutcome{std::nullopt, 2, "skerryd: " + why + " (see --help)\n"};
}

}  // namespace

std::string HostPort::text() const {
    const bool v6 = host.find(':') != std::string::npos;
    std::string out = v6 ? "[" : "";
    out.append(host).append(v6 ? "]:" : ":").append(std::to_string(port));
    return out;
}

Result<HostPort> parse_host_port(std::string_view text) {
    const auto refused = [&] {
        return fail(Code::malformed, "\"" + std::string(text) +
                                         "\" is not HOST:PORT, as 127.0.0.1:6379 or [::1]:6379");
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return refused();
    std::string_view host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) {
        host = host.substr(1, host.size() - 2);
        if (host.find(':') == std::string_view::npos) return refused();
    } else if (host.find_first_of(":[]") != std::string_view::npos) {
        return refused();
    }
    if (host.size() > 255 || host.find_first_of(" \t\r\n") != std::string_view::npos)
        return refused();
    const auto port = parse_number(text.substr(colon + 1), 0, 65535);
    if (!port) return refused();
    return HostPort{std::string(host), static_cast<std::uint16_t>(*port)};
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    std::string unit(end, text.data() + text.size());
    std::transform(unit.begin(), unit.end(), unit.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    constexpr std::array<std::pair<std::string_view, std::uint64_t>, 8> kUnits{
        {{"", 1},
         {"b", 1},
         {"k", 1000},
         {"kb", 1ULL << 10},
         {"m", 1000 * 1000},
         {"mb", 1ULL << 20},
         {"g", 1000 * 1000 * 1000},
         {"gb", 1ULL << 30}}};
    for (const auto& [name, factor] : kUnits) {
        if (failure != std::errc{} || unit != name) continue;
        if (value > std::numeric_limits<std::int64_t>::max() / factor) {
            return fail(Code::out_of_range, "\"" + std::string(text) + "\" is too large");
        }
        return value * factor;
    }
    return fail(Code::malformed,
                "\"" + std::string(text) + "\" is not a size, as 1048576, 512kb, 64mb or 1gb");
}

Result<NoteLevel> parse_note_level(std::string_view text) {
    for (const NoteLevel level :
         {NoteLevel::error, NoteLevel::warn, NoteLevel::info, NoteLevel::debug}) {
        if (text == name_of(level)) return level;
    }
    return fail(Code::malformed,
                "\"" + std::string(text) + "\" is not one of error, warn, info, debug");
}

std::string_view name_of(NoteLevel level) {
    switch (level) {
        case NoteLevel::error:
            return "error";
        case NoteLevel::warn:
            return "warn";
        case NoteLevel::info:
            return "info";
        case NoteLevel::debug:
            return "debug";
    }
    return "unknown";
}

ConfigOutcome load_config(const std::vector<std::string>& arguments, const std::string& host_name) {
    CLI::App app("An active-active store that speaks the Redis protocol.", "skerryd");
    app.allow_extras();
    std::string path;
    bool version = false;
    app.add_option("--config", path, "a TOML file with the same keys as the flags")
        ->type_name("FILE");
    app.add_flag("--version", version, "print the version");
    std::vector<Texts> flags(keys().size());
    for (std::size_t i = 0; i < keys().size(); ++i) {
        const Key& key = keys()[i];
        std::string help(key.help);
        if (!key.defaults.empty() && !key.defaults.front().empty() &&
            help.find("(default") == std::string::npos) {
            help += " (default: " + CLI::detail::join(key.defaults, " ") + ")";
        }
        CLI::Option* option = app.add_option("--" + std::string(key.name), flags[i], help);
        option->type_name(std::string(key.form))->allow_extra_args(false);
        if (key.repeatable) {
            option->take_all();
        } else {
            option->expected(1);
        }
    }
    try {
        app.parse(reversed_words(arguments));
    } catch (const CLI::CallForHelp&) {
        return ConfigOutcome{std::nullopt, 0, app.help()};
    } catch (const CLI::Error& failure) {
        return refuse(failure.what());
    }
    if (version) return ConfigOutcome{std::nullopt, 0, "skerryd " SKERRY_VERSION "\n"};
    if (const auto extras = app.remaining(); !extras.empty()) {
        const std::string& extra = extras.front();
        if (!extra.starts_with("--")) return refuse("unexpected argument \"" + extra + "\"");
        const std::string name = extra.substr(2, extra.find('=') - 2);
        return refuse("unknown flag --" + name + nearest_name(name, "--"));
    }
    auto config = make_config(path, flags, host_name);
    if (!config) return refuse(config.error().where);
    return ConfigOutcome{std::move(*config), 0, {}};
}

}  // namespace skerry
