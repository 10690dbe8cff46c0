// A store that holds some domains: what it keeps, over checkpoints and restarts, and what it refuses.
#include "store/leaf_walk.hpp"
#include "store/store.hpp"
#include "tests/catch.hpp"
#include "tests/support/store_place.hpp"

using namespace skerry;

namespace {
constexpr DatabaseId kSite = database_of_domain(17);
const Holdings kSiteAlone{.main = false, .domains = {17}};
const Holdings kBoth{.main = true, .domains = {17}};
}  // namespace

TEST_CASE("holdings: a store keeps the shards that it holds, over an image and a restart",
          "[store][holdings]") {
    StoreOptions options;
    options.holds = kSiteAlone;
    StorePlace place(1, options);
    place.use(kSite);
    CHECK(place->held().size() == 1 + 16);
    CHECK_FALSE(place->holds(ShardId{0}));
    for (int i = 0; i < 200; ++i) place.set("k" + std::to_string(i), "v");
    place.add_member("set", "member");
    place.checkpoint();
    for (int i = 0; i < 50; ++i) place.set("late" + std::to_string(i), "v");
    place.commit();
    const auto digests = place.digests();
    place.open();
    CHECK(place->key_count(kSite) == 251);
    CHECK(place->key_count(0) == 0);
    place.checkpoint();
    place.open();
    CHECK(place->key_count(kSite) == 251);
    CHECK(place.digests() == digests);
    CHECK(place.get("late7") == "v");
    std::uint64_t last = 0;
    std::size_t seen = 0;
    place->for_each_key(kSite, 0, [&](const KeyRecord& record) {
        CHECK(record.address.order.order >= last);
        last = record.address.order.order;
        return ++seen != 0;
    });
    CHECK(seen == 251);
}

TEST_CASE("holdings: a walk over the leaves of a domain of a high number meets each once",
          "[store][holdings]") {
    constexpr DomainNumber kHigh = 300;
    const DatabaseId high = database_of_domain(kHigh);
    StorePlace place(1);
    place.hold({.main = true, .domains = {kHigh}});
    place.use(high);
    for (int i = 0; i < 200; ++i) place.set("k" + std::to_string(i), "v");
    std::size_t met = 0;
    const ShardRun run = run_of(high, place->slot_shard_count());
    for (std::uint16_t i = 0; i < run.count; ++i) {
        WalkPlace at;
        std::size_t rows = 1000;
        CHECK(walk_leaves(*place, ShardId{static_cast<std::uint16_t>(run.first.value + i)}, at,
                          kWalkEnd, rows, [&](const WalkedLeaf&) { ++met; }));
    }
    CHECK(met == 200);
}

TEST_CASE("holdings: a domain can be added to a directory, and not be left out of it again",
          "[store][holdings]") {
    StorePlace place(1);
    place.set("k", "main's");
    place.commit();
    place.hold(kBoth);
    CHECK(place.get("k") == "main's");
    place.use(kSite);
    place.set("k", "the site's");
    place.commit();
    const auto without_site = place.try_open({});
    REQUIRE_FALSE(without_site.has_value());
    CHECK(without_site.error().code == Code::refused);
    CHECK(without_site.error().where.find("number 17") != std::string::npos);
    place.hold(kBoth);
    place.checkpoint();
    CHECK_FALSE(place.try_open(kSiteAlone).has_value());
    CHECK_FALSE(place.try_open({}).has_value());
    place.hold(kBoth);
    CHECK(place.get("k") == "the site's");
    place.use(0);
    CHECK(place.get("k") == "main's");
}
