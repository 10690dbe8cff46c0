// tests/node/domains_test.cpp — commands on a node that holds some domains, and the table of domains.
#include <set>

#include "node/domain_table.hpp"
#include "tests/catch.hpp"
#include "tests/support/command_fixture.hpp"

namespace skerry {
namespace {

DomainRules rules_of(std::initializer_list<std::string_view> texts) {
    DomainRules rules;
    for (const std::string_view text : texts) rules.add(*parse_domain_rule(text));
    return rules;
}
DomainRules three() { return rules_of({"east=1,prefix=e:", "west=2,prefix=w:", "cold=3,db=3"}); }
constexpr ReplicaId kSelf{7};
constexpr std::string_view kWest =
    "-NODOMAIN the domain 'west', which the key belongs to, is not held by this node: ask one that "
    "holds it\r\n";

// All keys of SCAN, however many calls it takes; each must come once.
std::set<std::string> scanned(CommandFixture& f, std::string_view count) {
    std::set<std::string> found;
    std::string cursor = "0";
    do {
        std::string reply = f.run("scan " + cursor + " count " + std::string(count));
        const auto next = [&reply] {
            std::string line = reply.substr(0, reply.find("\r\n"));
            reply.erase(0, line.size() + 2);
            return line;
        };
        REQUIRE(next() == "*2");
        (void)next();
        cursor = next();
        for (std::size_t left = std::stoul(next().substr(1)); left > 0; --left) {
            (void)next();
            const std::string key = next();
            INFO(key);
            CHECK(found.insert(key).second);
        }
    } while (cursor != "0");
    return found;
}

TEST_CASE("domains: a command on a key of a domain that is not held says so", "[domains]") {
    CommandFixture f(kSelf, {.main = false, .domains = {1}}, three());
    CHECK(f.run("set e:1 v") == "+OK\r\n");
    CHECK(f.run("get e:1") == "$1\r\nv\r\n");
    CHECK(f.run("get w:1") == kWest);
    CHECK(f.run("set w:1 v") == kWest);
    CHECK(f.run("exists e:1 w:1") == kWest);
    CHECK(f.run("mset e:1 x w:1 x") == kWest);
    CHECK(f.run("rename e:1 w:1") == kWest);
    CHECK(f.run("get other").starts_with("-NODOMAIN the domain 'main'"));
    CHECK(f.run("dbsize") == ":1\r\n");
    CHECK(f.run("keys *") == "*1\r\n$3\r\ne:1\r\n");
    CHECK(f.run("copy e:1 e:1 db 3").starts_with("-NODOMAIN the domain 'cold'"));
    CHECK(f.run("select 3") == "+OK\r\n");
    CHECK(f.run("get e:1").starts_with("-NODOMAIN the domain 'cold'"));
    for (const std::string_view whole : {"dbsize", "keys *", "scan 0", "randomkey", "flushdb"})
        CHECK(f.run(whole).starts_with("-NODOMAIN nothing of database 3"));
    CHECK(f.run("ping") == "+PONG\r\n");
    CHECK(f.run("flushall") == "+OK\r\n");
    CHECK(f.run("select 0") == "+OK\r\n");
    CHECK(f.run("dbsize") == ":0\r\n");
}

TEST_CASE("domains: a walk over a database has each key of each domain once, in order",
          "[domains]") {
    CommandFixture f(kSelf, {.main = true, .domains = {1, 2, 3}}, three());
    std::set<std::string> all;
    for (int i = 0; i < 300; ++i)
        for (const std::string_view prefix : {"e:", "w:", ""}) {
            if (prefix == "w:" && i % 50 != 0) continue;
            const std::string key = std::string(prefix) + std::to_string(i);
            all.insert(key);
            CHECK(f.run("set " + key + " v") == "+OK\r\n");
        }
    CHECK(f.run("dbsize") == ":" + std::to_string(all.size()) + "\r\n");
    for (const std::string_view count : {"1", "7", "1000"}) CHECK(scanned(f, count) == all);
    std::uint64_t last = 0;
    f.database().for_each_key(0, 0, [&](const KeyRecord& record) {
        CHECK(record.address.order.order >= last);
        last = record.address.order.order;
        return true;
    });
    CHECK(f.store().key_count(database_of_domain(1)) == 300);
    CHECK(f.store().key_count(database_of_domain(2)) == 6);
    CHECK(f.run("select 3") == "+OK\r\n");
    CHECK(f.run("set e:1 cold") == "+OK\r\n");
    CHECK(f.run("dbsize") == ":1\r\n");
    CHECK(f.store().key_count(database_of_domain(3)) == 1);
    CHECK(f.run("flushdb") == "+OK\r\n");
    CHECK(f.run("dbsize") == ":0\r\n");
    CHECK(f.run("select 0") == "+OK\r\n");
    CHECK(f.run("dbsize") == ":" + std::to_string(all.size()) + "\r\n");
    CHECK(f.run("flushdb") == "+OK\r\n");
    CHECK(f.run("dbsize") == ":0\r\n");
}

TEST_CASE(
    "domains: a directory is not started with a rule that hides keys of main, or means "
    "something else than the cluster's",
    "[domains]") {
    CommandFixture f(kSelf, {.main = true, .domains = {1}});
    CHECK(f.run("set e:1 v") == "+OK\r\n");
    const DomainRule east = *parse_domain_rule("east=1,prefix=e:");
    const auto hidden = refusal_of(f.store(), {east});
    REQUIRE(hidden.has_value());
    CHECK(hidden->find("'e:1' for one") != std::string::npos);
    CHECK_FALSE(refusal_of(f.store(), {*parse_domain_rule("north=1,prefix=n:")}).has_value());
    CHECK(f.run("del e:1") == ":1\r\n");
    CHECK_FALSE(refusal_of(f.store(), {east}).has_value());
    DomainTable table(f.store());
    table.write(east);
    CHECK(table.rows() == std::vector{east});
    CHECK(refusal_of(f.store(), {*parse_domain_rule("north=1,prefix=n:")}).has_value());
    // Once it is known, what others bring to main stands in nobody's way.
    CHECK(f.run("set e:1 v") == "+OK\r\n");
    CHECK_FALSE(refusal_of(f.store(), {east}).has_value());
    f.database().set_rules(rules_of({"east=1,prefix=e:"}));
    CHECK(f.run("get e:1") == "$-1\r\n");
    CHECK(f.run("keys *") == "*0\r\n");
}

}  // namespace
}  // namespace skerry
