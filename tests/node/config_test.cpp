// tests/node/config_test.cpp — flags and files say the same, and what is wrong is said clearly.
#include "node/config.hpp"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>

#include "tests/catch.hpp"

namespace skerry {
namespace {

struct TomlFile {
    explicit TomlFile(const std::string& text)
        : path((std::filesystem::temp_directory_path() /
                ("skerry_config_test_" + std::to_string(::getpid()) + ".toml"))
                   .string()) {
        std::ofstream(path) << text;
    }
    ~TomlFile() { std::filesystem::remove(path); }
    std::string path;
};

Config good(const std::vector<std::string>& arguments) {
    const ConfigOutcome outcome = load_config(arguments, "box");
    INFO(outcome.message);
    REQUIRE(outcome.config.has_value());
    return *outcome.config;
}

std::string refusal(const std::vector<std::string>& arguments) {
    const ConfigOutcome outcome = load_config(arguments, "box");
    REQUIRE_FALSE(outcome.config.has_value());
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.message.ends_with("(see --help)\n"));
    return outcome.message;
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("config: without arguments the defaults hold", "[node][config]") {
    const Config config = good({});
    CHECK(config.name == "box");
    CHECK(config.listen == std::vector<HostPort>{{"127.0.0.1", 6379}, {"::1", 6379}});
    CHECK_FALSE(config.gossip.has_value());
    CHECK_FALSE(config.publish.has_value());
    CHECK(config.durability == Durability::always);
    CHECK(config.memory_bytes == 1ULL << 30);
    CHECK(config.shard_count == 256);
    CHECK(config.drift_max == std::chrono::minutes(5));
    CHECK(config.text.at("listen") == "127.0.0.1:6379 [::1]:6379");
    CHECK(config.text.at("memory") == "1073741824");
    CHECK(config.text.at("gossip").empty());
    CHECK(config.text.at("refuse-until-synced") == "no");
    CHECK(config.member_silent_max == std::chrono::hours(24 * 7));
    CHECK(config.role == Role::core);
    CHECK(config.edge_silent_max == std::chrono::hours(24 * 30));
    CHECK(config.domains.empty());
    CHECK(config.holds_main);
    CHECK(config.text.size() == 26);
}

TEST_CASE("config: a file and flags set the same keys, flags last", "[node][config]") {
    const TomlFile file(
        "name = \"north\"\nlisten = [\"0.0.0.0:7000\"]\ngossip = \"[::]:8000\"\npeer = \"a:1\"\n"
        "memory = \"64mb\"\nshards = 16\ndurability = \"interval\"\nlog-level = \"debug\"\n");
    const Config config =
        good({"--config", file.path, "--shards", "32", "--peer", "b:2", "--peer=c:3"});
    CHECK(config.name == "north");
    CHECK(config.listen == std::vector<HostPort>{{"0.0.0.0", 7000}});
    CHECK(config.publish == HostPort{"::", 8001});
    CHECK(config.text.at("publish") == "[::]:8001");
    CHECK(config.peers == std::vector<HostPort>{{"b", 2}, {"c", 3}});
    CHECK(config.memory_bytes == 64ULL << 20);
    CHECK(config.shard_count == 32);
    CHECK(config.durability == Durability::interval);
    CHECK(config.log_level == NoteLevel::debug);
}

TEST_CASE("config: every key of CONFIG GET is a flag, and can be given in a file",
          "[node][config]") {
    const std::string help = load_config({"--help"}, "box").message;
    Config config = good({"--gossip", "h:1", "--peer", "p:2", "--announce", "n:3", "--http", "w:4",
                          "--domain", "site=17,prefix=s:"});
    std::string toml;
    std::vector<std::string> flags;
    for (const auto& [key, text] : config.text) {
        INFO(key);
        CHECK(has(help, "--" + key + " "));
        const bool list = key == "listen" || key == "peer";
        const std::string one = list ? text.substr(0, text.find(' ')) : text;
        toml += key + " = \"" + one + "\"\n";
        flags.push_back("--" + key + "=" + one);
        config.text[key] = one;
    }
    const TomlFile file(toml);
    CHECK(good({"--config", file.path}).text == config.text);
    CHECK(good(flags).text == config.text);
}

TEST_CASE("config: domains are declared once each, and only an edge goes without main",
          "[node][config]") {
    const Config config = good({"--domain", "a=1,db=3", "--domain", "b=2,prefix=b:,="});
    REQUIRE(config.domains.size() == 2);
    CHECK(config.domains[1].prefix == "b:,=");
    CHECK(config.text.at("domain") == "a=1,db=3 b=2,prefix=b:,=");
    CHECK(has(refusal({"--domain", "a=1,db=3", "--domain", "b=2,db=3"}),
              "no key can be of two domains"));
    CHECK(has(refusal({"--domain", "a"}), "NAME=NUMBER,db=N or NAME=NUMBER,prefix=TEXT is wanted"));
    CHECK(has(refusal({"--main", "no", "--domain", "a=1,db=3"}), "only an edge"));
    CHECK(has(refusal({"--main", "no", "--role", "edge", "--peer", "h:1"}),
              "at least one domain is wanted"));
    CHECK_FALSE(good({"--main", "no", "--role", "edge", "--peer", "h:1", "--domain", "a=1,db=3"})
                    .holds_main);
}

TEST_CASE("config: what is wrong is named with its place", "[node][config]") {
    CHECK(has(refusal({"--lisen", "a:1"}), "unknown flag --lisen; did you mean --listen?"));
    CHECK(has(refusal({"--zzzzzzzzzzz"}), "unknown flag --zzzzzzzzzzz (see"));
    CHECK(has(refusal({"stray"}), "unexpected argument \"stray\""));
    CHECK(has(refusal({"--shards", "0"}), "--shards: \"0\" is not a number from 1 to 16384"));
    CHECK(has(refusal({"--memory", "1tb"}), "--memory: \"1tb\" is not a size"));
    CHECK(has(refusal({"--listen", "6379"}), "--listen: \"6379\" is not HOST:PORT"));
    CHECK(has(refusal({"--durability", "yes"}), "always, interval, none"));
    CHECK(has(refusal({"--shards", "1", "--shards", "2"}),
              "--shards: At Most 1 required but received 2"));
    CHECK(has(refusal({"--peer", "a:1"}), "of no use without gossip"));
    CHECK(has(refusal({"--config", "/nonexistent/skerry.toml"}), "/nonexistent/skerry.toml: "));
    {
        const TomlFile file("name = \"a\"\n\nmemry = \"1gb\"\n");
        CHECK(has(refusal({"--config", file.path}),
                  file.path + ":3: unknown key \"memry\"; did you mean memory?"));
    }
    {
        const TomlFile file("shards = 1.5\n");
        CHECK(has(refusal({"--config", file.path}),
                  file.path + ":1: shards: a string or a whole number is wanted"));
    }
    {
        const TomlFile file("name = \"a\"\nshards = \n");
        CHECK(has(refusal({"--config", file.path}), file.path + ":2: "));
    }
    {
        const TomlFile file("listen = []\n");
        CHECK(has(refusal({"--config", file.path}), "listen: at least one address is wanted"));
    }
}

TEST_CASE("config: an edge only dials out, and a hub can be dialled", "[node][config]") {
    const Config edge = good({"--role", "edge", "--peer", "hub.example:7379"});
    CHECK(edge.role == Role::edge);
    CHECK_FALSE(edge.publish.has_value());
    CHECK(has(refusal({"--role", "edge", "--peer", "a:1", "--gossip", ":7379"}), "only dials out"));
    CHECK(
        has(refusal({"--role", "edge", "--peer", "a:1", "--publish", ":7379"}), "only dials out"));
    CHECK(has(refusal({"--role", "edge"}), "at least one peer is wanted"));
    CHECK(has(refusal({"--role", "hub"}), "gossip is wanted"));
    CHECK(has(refusal({"--role", "relay"}), "is not one of core, hub, edge"));
}

TEST_CASE("config: help and version are answers, not errors", "[node][config]") {
    const ConfigOutcome help = load_config({"--help"}, "box");
    CHECK(help.exit_code == 0);
    CHECK(has(help.message, "(default: 127.0.0.1:6379 [::1]:6379)"));
    const ConfigOutcome version = load_config({"--version"}, "box");
    CHECK(version.exit_code == 0);
    CHECK(std::regex_match(version.message, std::regex("skerryd [0-9]+\\.[0-9]+\\.[0-9]+\n")));
}

TEST_CASE("config: addresses and sizes are read strictly", "[node][config]") {
    CHECK(parse_host_port(":80")->host.empty());
    CHECK(parse_host_port("[::1]:80")->text() == "[::1]:80");
    for (const char* text : {"", "a", "a:", "a:65536", "a:-1", "a:1x", "::1:80", "[::1]80", "[a]:1",
                             "a b:1", "[]:1"}) {
        INFO(text);
        CHECK_FALSE(parse_host_port(text).has_value());
    }
    CHECK(parse_bytes("2K").value() == 2000);
    CHECK(parse_bytes("2Kb").value() == 2048);
    for (const char* text :
         {"", "mb", "-1", "1.5gb", "1 gb", "99999999999gb", "18446744073709551616"}) {
        INFO(text);
        CHECK_FALSE(parse_bytes(text).has_value());
    }
}

}  // namespace skerry
