#include "crdt/domain.hpp"

#include <set>

#include "tests/catch.hpp"

using namespace skerry;

TEST_CASE("domain: every shard number belongs to one run, and a run leads back to its domain",
          "[crdt][domain]") {
    for (const std::uint16_t slots : std::initializer_list<std::uint16_t>{1, 3, 16, 256, 16384}) {
        CHECK(run_of(DatabaseId{15}, slots).first == ShardId{0});
        CHECK(run_of(kConfigurationDatabase, slots).first == configuration_shard(slots));
        std::uint32_t next = slots + 1u;
        for (DomainNumber domain = 1; domain <= kDomainNumberMax; ++domain) {
            const ShardRun run = run_of_domain(domain, slots);
            REQUIRE(run.first.value == next);
            REQUIRE(run.database_first == database_of_domain(domain));
            REQUIRE(run_of(run.database_first, slots).first == run.first);
            const ShardId last = run.at(kSlotCount - 1);
            REQUIRE(last.value == next + run.count - 1u);
            REQUIRE(domain_of(run.first, slots) == domain);
            REQUIRE(domain_of(last, slots) == domain);
            next += run.count;
        }
        CHECK(next == shard_number_count(slots));
    }
}

TEST_CASE("domain: a node holds whole domains, and the configuration always", "[crdt][domain]") {
    constexpr std::uint16_t kSlots = 4;
    const Holdings site{.main = false, .domains = {2, 7}};
    const std::vector<ShardId> all = site.shards(kSlots);
    CHECK(all.size() == 1 + 2 * 4);
    CHECK(std::ranges::is_sorted(all));
    const std::set<ShardId> held(all.begin(), all.end());
    for (std::uint16_t i = 0; i < shard_number_count(kSlots) + 10; ++i)
        REQUIRE(site.holds(ShardId{i}, kSlots) == held.contains(ShardId{i}));
    CHECK(site.holds_database(kConfigurationDatabase));
    CHECK_FALSE(site.holds_database(0));
    CHECK(site.holds_database(database_of_domain(7)));
    CHECK_FALSE(site.holds_database(database_of_domain(3)));
    CHECK(Holdings{.main = true, .domains = {1, 2, 7}}.covers(site));
    CHECK_FALSE(site.covers(Holdings{}));
    CHECK_FALSE(Holdings{}.covers(site));
}
