// node/config.hpp — what an operator can set: a TOML file, and a flag of the same name for every key.
//
// Order    defaults, then the file given with --config, then flags; a repeatable key in a later place replaces the list.
// Errors   one sentence with the place (file and line, or flag), the key, and what would have been right; unknown keys
//          are refused with the nearest known name. Nothing is guessed.
// Library  toml++ and CLI11, included by config.cpp alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/domain_rules.hpp"
#include "crdt/result.hpp"
#include "net/role.hpp"
#include "node/note.hpp"
#include "store/log.hpp"

namespace skerry {

struct HostPort {
    std::string host;  // without brackets; empty = every address
    std::uint16_t port = 0;
    friend bool operator==(const HostPort&, const HostPort&) = default;
    [[nodiscard]] std::string text() const;
};

// "127.0.0.1:6379", "[::1]:6379", "db.example:6379", ":6379"; port 0 = any free one.   Errors:
// malformed.
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view text);
// "1048576", "1mb" (1024 * 1024), "1m" (1000 * 1000), as Redis has it.   Errors: malformed,
// out_of_range.
[[nodiscard]] Result<std::uint64_t> parse_bytes(std::string_view text);
[[nodiscard]] Result<NoteLevel> parse_note_level(std::string_view text);
[[nodiscard]] std::string_view name_of(NoteLevel level);

// Three heartbeats: below that a node that runs would be left out all the time.
inline constexpr std::int64_t kMemberSilentMsMin = 3000;

struct Config {
    std::string name;
    std::string region;
    Role role = Role::core;
    std::string cluster;
    std::string dir;
    std::vector<HostPort> listen;
    std::optional<HostPort> gossip;   // nothing = standalone
    std::optional<HostPort> publish;  // nothing given = the port after gossip's
    std::vector<HostPort> peers;
    std::optional<HostPort> announce;
    std::optional<HostPort> http;
    Durability durability = Durability::always;
    std::uint64_t memory_bytes = 0;
    std::uint64_t log_keep_bytes = 0;
    bool repairs = true;
    std::uint16_t shard_count = 0;
    std::vector<DomainRule> domains;  // that this node declares, and holds
    bool holds_main = true;
    NoteLevel log_level = NoteLevel::info;
    std::string password;  // empty = none
    std::chrono::milliseconds drift_max{0};
    std::chrono::milliseconds member_silent_max{0};
    std::chrono::milliseconds edge_silent_max{0};
    std::size_t clients_max = 0;
    std::chrono::seconds idle_timeout{0};
    bool refuse_until_synced = false;  // clients, after a start

    // Every key with its canonical text, for CONFIG GET: sizes in bytes, lists joined by blanks.
    std::map<std::string, std::string> text;
};

// What the command line asked for: a configuration to run with, or something to print and an exit
// code.
struct ConfigOutcome {
    std::optional<Config> config;
    int exit_code = 0;    // 0 = print `message` to stdout (--help, --version), 2 = to stderr
    std::string message;  // ends with a newline
};

// `arguments` without the program's name; `host_name` is the default of `name`.
[[nodiscard]] ConfigOutcome load_config(const std::vector<std::string>& arguments,
                                        const std::string& host_name);

}  // namespace skerry
