#include "node/sync_status.hpp"

#include "tests/catch.hpp"

namespace skerry {

TEST_CASE("sync_status: rate and end are those of this process, sums are not", "[node]") {
    const SyncProgress progress{.since = MonoTime(1000),
                                .leaves = 300,
                                .bytes = 50'000,
                                .leaves_before = 200,
                                .bytes_before = 40'000,
                                .leaves_left = 400};
    SyncStatus row;
    progress.show(row, MonoTime(3000));
    CHECK(row.leaves == 300);
    CHECK(row.bytes == 50'000);
    CHECK(row.bytes_per_second == 5000);
    CHECK(row.eta_ms == 8000);
    CHECK(progress.spent_ms(MonoTime(3000)) == 2000);
}

TEST_CASE("sync_status: pulls of others are remembered for a while, a bounded number of them",
          "[node]") {
    ServedPulls served;
    const MonoTime start{1000};
    served.served("eu", 7, {.leaves = 10, .bytes = 100, .leaves_left = 50}, start);
    served.served("eu", 7, {.leaves = 20, .bytes = 200, .leaves_left = 30}, start + MonoTime(1000));
    std::vector<SyncStatus> rows;
    served.append_to(rows, start + MonoTime(1000));
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].peer == "eu");
    CHECK(rows[0].direction == "out");
    CHECK(rows[0].leaves == 30);
    CHECK(rows[0].bytes == 300);
    CHECK(rows[0].leaves_left == 30);
    CHECK(pull_among(rows) == nullptr);
    for (std::uint64_t session = 0; session < 1000; ++session)
        served.served("us", session, {}, start + MonoTime(1000));
    rows.clear();
    served.append_to(rows, start + MonoTime(1000));
    CHECK(rows.size() == ServedPulls::kSessionsMax);
    rows.clear();
    served.append_to(rows, start + MonoTime(1001) + ServedPulls::kForgottenAfter);
    CHECK(rows.empty());
}

}  // namespace skerry
