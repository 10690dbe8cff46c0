#include "crdt/domain_rules.hpp"

#include "tests/catch.hpp"

using namespace skerry;

namespace {
DomainRule rule(std::string_view text) {
    const auto parsed = parse_domain_rule(text);
    INFO(text);
    REQUIRE(parsed.has_value());
    return *parsed;
}
bool refused(std::string_view text) { return !parse_domain_rule(text).has_value(); }
bool apart(std::string_view one, std::string_view other) {
    const bool conflicts = conflict(rule(one), "here", rule(other), "there").has_value();
    CHECK(conflicts == conflict(rule(other), "there", rule(one), "here").has_value());
    return !conflicts;
}
}  // namespace

TEST_CASE("domain_rules: a rule reads as it is written", "[crdt][domain_rules]") {
    CHECK(rule("site-17=17,prefix=site-17:").prefix == "site-17:");
    CHECK(rule("a=2000,db=15").database == 15);
    CHECK(rule("a=1,prefix=x,=y").prefix == "x,=y");
    for (const std::string_view text : {"site-17=17,prefix=site-17:", "a=2000,db=15"})
        CHECK(rule(text).text() == text);
    for (const std::string_view text : {"", "a", "a=1", "a=0,db=1", "a=2001,db=1", "a=1,db=16",
                                        "a=1,db=", "a=1,prefix=", "=1,db=1", "main=1,db=1",
                                        "a b=1,db=1", "a=x,db=1", "a=1,other=1", "a=1,db=1,db=2"})
        CHECK(refused(text));
    CHECK(refused("a=1,prefix=" + std::string(257, 'p')));
}

TEST_CASE("domain_rules: one number, name, database and key has one meaning",
          "[crdt][domain_rules]") {
    CHECK(apart("a=1,db=1", "a=1,db=1"));
    CHECK(apart("a=1,db=1", "b=2,db=2"));
    CHECK(apart("a=1,db=1", "b=2,prefix=x"));
    CHECK(apart("a=1,prefix=ab", "b=2,prefix=ac"));
    CHECK_FALSE(apart("a=1,db=1", "a=1,db=2"));
    CHECK_FALSE(apart("a=1,db=1", "b=1,db=2"));
    CHECK_FALSE(apart("a=1,db=1", "a=2,db=2"));
    CHECK_FALSE(apart("a=1,db=1", "b=2,db=1"));
    CHECK_FALSE(apart("a=1,db=0", "b=2,prefix=x"));
    CHECK_FALSE(apart("a=1,prefix=ab", "b=2,prefix=a"));
    const auto why = conflict(rule("a=1,db=1"), "'x'", rule("b=1,db=2"), "'y'");
    CHECK(*why ==
          "'x' has the domain 'a' as number 1 with db=1, and 'y' has the domain 'b' as number 1 "
          "with db=2: one number has one meaning, so give both the same --domain, or others");
}

TEST_CASE("domain_rules: a key leads to the domain whose rule names it, else to main",
          "[crdt][domain_rules]") {
    DomainRules rules;
    CHECK(rules.stored_in(3, "b:x") == 3);
    for (const std::string_view text :
         {"three=3,db=3", "b=20,prefix=b:", "a=10,prefix=a:", "ba=30,prefix=ba"})
        rules.add(rule(text));
    rules.add(rule("three=3,db=3"));
    CHECK(rules.all().size() == 4);
    CHECK(rules.stored_in(3, "b:x") == database_of_domain(3));
    CHECK(rules.stored_in(4, "b:x") == 4);
    CHECK(rules.stored_in(0, "b:x") == database_of_domain(20));
    CHECK(rules.stored_in(0, "b:") == database_of_domain(20));
    CHECK(rules.stored_in(0, "a:\xff") == database_of_domain(10));
    CHECK(rules.stored_in(0, "bax") == database_of_domain(30));
    for (const std::string_view key : {"", "a", "b", "bb", "c", "b;", "A:"})
        CHECK(rules.stored_in(0, key) == 0);
    CHECK(rules.stored_in(kConfigurationDatabase, "a:") == kConfigurationDatabase);
    CHECK(rules.stored_for(3) == std::vector<DatabaseId>{database_of_domain(3)});
    CHECK(rules.stored_for(0) == std::vector<DatabaseId>{0, database_of_domain(10),
                                                         database_of_domain(20),
                                                         database_of_domain(30)});
    CHECK(rules.stored_for(7) == std::vector<DatabaseId>{7});
    CHECK(rules.find(20)->name == "b");
    CHECK(rules.find(21) == nullptr);
}
