// crdt/domain.hpp — domains as runs of numbers: which shards and which stored database each has, and what a node holds of them.
//
// Numbers  of shards: 0..n-1 are those of main, by slot; n is the configuration domain's; then each further domain, by its
//          number, has a run of min(16, n), by slot again. n is fixed when the cluster is made. A number is a name: a node
//          keeps the shards that it holds, and no others.
// Same     everywhere, whichever domains a node has been told of: what a key's shard is depends on nothing but these numbers.
// Held     a domain is held whole or not at all; the configuration domain is held by every node.
// Source   docs/decisions/0017-domains.md
#pragma once

#include <algorithm>
#include <vector>

#include "crdt/leaf_key.hpp"

namespace skerry {

// Chosen by an operator, 1..kDomainNumberMax; 0 is main.
using DomainNumber = std::uint16_t;
inline constexpr DomainNumber kMainDomain = 0;
inline constexpr DomainNumber kDomainNumberMax = 2000;
inline constexpr std::uint16_t kDomainShardsMax = 16;

// All that can be stored; a domain's database follows that of the configuration.
inline constexpr DatabaseId kDatabaseIdCount = kConfigurationDatabase + 1 + kDomainNumberMax;
[[nodiscard]] constexpr DatabaseId database_of_domain(DomainNumber domain) {
    return static_cast<DatabaseId>(kConfigurationDatabase + domain);
}

// How many shards have numbers, held or not.
[[nodiscard]] constexpr std::uint16_t domain_shard_count(std::uint16_t slot_shard_count) {
    return std::min(kDomainShardsMax, slot_shard_count);
}
[[nodiscard]] constexpr std::uint16_t shard_number_count(std::uint16_t slot_shard_count) {
    return static_cast<std::uint16_t>(slot_shard_count + 1 +
                                      kDomainNumberMax * domain_shard_count(slot_shard_count));
}
inline constexpr std::uint16_t kShardCountMax = shard_number_count(kSlotCount);
static_assert(std::uint32_t{kSlotCount} + 1 + kDomainNumberMax * kDomainShardsMax ==
              kShardCountMax);

[[nodiscard]] constexpr ShardId configuration_shard(std::uint16_t slot_shard_count) {
    return ShardId{slot_shard_count};
}

// The shards of one domain: run i of `count` equal runs of slots is in shard `first` + i. The databases that they hold.
struct ShardRun {
    ShardId first;
    std::uint16_t count = 1;
    DatabaseId database_first = 0;
    DatabaseId database_last = 0;

    [[nodiscard]] constexpr ShardId at(std::uint16_t slot) const {
        return ShardId{static_cast<std::uint16_t>(first.value + shard_of_slot(slot, count).value)};
    }
};
[[nodiscard]] constexpr ShardRun run_of_main(std::uint16_t slot_shard_count) {
    return {ShardId{0}, slot_shard_count, 0, kDatabaseCount - 1};
}
[[nodiscard]] constexpr ShardRun run_of_configuration(std::uint16_t slot_shard_count) {
    return {configuration_shard(slot_shard_count), 1, kConfigurationDatabase,
            kConfigurationDatabase};
}
// Requires: 1 <= domain <= kDomainNumberMax.
[[nodiscard]] constexpr ShardRun run_of_domain(DomainNumber domain,
                                               std::uint16_t slot_shard_count) {
    const std::uint16_t count = domain_shard_count(slot_shard_count);
    return {ShardId{static_cast<std::uint16_t>(slot_shard_count + 1 + (domain - 1) * count)}, count,
            database_of_domain(domain), database_of_domain(domain)};
}
// Requires: database < kDatabaseIdCount.
[[nodiscard]] constexpr ShardRun run_of(DatabaseId database, std::uint16_t slot_shard_count) {
    if (database < kDatabaseCount) return run_of_main(slot_shard_count);
    if (database == kConfigurationDatabase) return run_of_configuration(slot_shard_count);
    return run_of_domain(static_cast<DomainNumber>(database - kConfigurationDatabase),
                         slot_shard_count);
}
// Requires: the shard has a number, and is not of main or the configuration.
[[nodiscard]] constexpr DomainNumber domain_of(ShardId shard, std::uint16_t slot_shard_count) {
    return static_cast<DomainNumber>(
        (shard.value - slot_shard_count - 1) / domain_shard_count(slot_shard_count) + 1);
}
// Requires: shard.value < shard_number_count(slot_shard_count).
[[nodiscard]] constexpr ShardRun run_of(ShardId shard, std::uint16_t slot_shard_count) {
    if (shard.value < slot_shard_count) return run_of_main(slot_shard_count);
    if (shard.value == slot_shard_count) return run_of_configuration(slot_shard_count);
    return run_of_domain(domain_of(shard, slot_shard_count), slot_shard_count);
}

// The shard of a key with that slot in that database.
[[nodiscard]] constexpr ShardId shard_of(DatabaseId database, std::uint16_t slot,
                                         std::uint16_t slot_shard_count) {
    if (database < kDatabaseCount) [[likely]]
        return shard_of_slot(slot, slot_shard_count);
    return run_of(database, slot_shard_count).at(slot);
}

// Where the counts of a database stand among those of a shard: a shard of main has 16 databases, others have one.
[[nodiscard]] constexpr std::size_t place_in_shard(DatabaseId database) {
    return database < kDatabaseCount ? database : 0;
}

// The domains that a node holds.
struct Holdings {
    bool main = true;
    std::vector<DomainNumber> domains;  // sorted; the configuration domain is held by all
    friend bool operator==(const Holdings&, const Holdings&) = default;

    [[nodiscard]] bool holds_domain(DomainNumber domain) const {
        return domain == kMainDomain ? main : std::ranges::binary_search(domains, domain);
    }
    [[nodiscard]] bool holds(ShardId shard, std::uint16_t slot_shard_count) const {
        if (shard.value < slot_shard_count) return main;
        if (shard.value == slot_shard_count) return true;
        return shard.value < shard_number_count(slot_shard_count) &&
               holds_domain(domain_of(shard, slot_shard_count));
    }
    [[nodiscard]] bool holds_database(DatabaseId database) const {
        if (database < kDatabaseCount) return main;
        return database == kConfigurationDatabase ||
               holds_domain(static_cast<DomainNumber>(database - kConfigurationDatabase));
    }
    // Does it hold all that the other does?
    [[nodiscard]] bool covers(const Holdings& other) const {
        return (main || !other.main) && std::ranges::includes(domains, other.domains);
    }
    // All shards, by number.
    [[nodiscard]] std::vector<ShardId> shards(std::uint16_t slot_shard_count) const {
        std::vector<ShardId> all;
        const auto add = [&all](const ShardRun& run) {
            for (std::uint16_t i = 0; i < run.count; ++i)
                all.push_back(ShardId{static_cast<std::uint16_t>(run.first.value + i)});
        };
        if (main) add(run_of_main(slot_shard_count));
        add(run_of_configuration(slot_shard_count));
        for (const DomainNumber domain : domains) add(run_of_domain(domain, slot_shard_count));
        return all;
    }
};

// A node that does not hold all, by the upper half of its writer ids.
struct PartHolder {
    std::uint64_t lineage = 0;
    Holdings holds = {};
    friend bool operator==(const PartHolder&, const PartHolder&) = default;
};

}  // namespace skerry
