#include "node/pacing.hpp"

#include "tests/catch.hpp"

namespace skerry {

TEST_CASE("pacing: the credit grows while turns are short, up to its greatest", "[node]") {
    Pacing pacing(std::uint64_t{1} << 20);
    CHECK(pacing.credit() == Pacing::kCreditFirst);
    for (int i = 0; i < 10; ++i) pacing.answered(MonoTime(100));
    CHECK(pacing.credit() == std::uint64_t{1} << 20);
    CHECK(pacing.patience() == Pacing::kPatienceMin);
}

TEST_CASE("pacing: on a slow link the credit finds what passes in some seconds", "[node]") {
    Pacing pacing(std::uint64_t{1} << 20);
    constexpr std::uint64_t kBytesPerMs = 100;  // 100 kB/s
    std::uint64_t credit = 0;
    for (int i = 0; i < 50; ++i) {
        credit = pacing.credit();
        pacing.answered(MonoTime(200 + static_cast<MonoTime::rep>(credit / kBytesPerMs)));
        // The answer to what is asked now comes before it would be asked for again.
        CHECK(pacing.patience().count() > static_cast<std::int64_t>(pacing.credit() / kBytesPerMs));
    }
    CHECK(credit >= std::uint64_t{128} << 10);
    CHECK(credit <= std::uint64_t{512} << 10);
}

TEST_CASE("pacing: without answers it asks for less, and less often", "[node]") {
    Pacing pacing(std::uint64_t{1} << 20);
    for (int i = 0; i < 10; ++i) pacing.unanswered();
    CHECK(pacing.credit() == Pacing::kCreditMin);
    CHECK(pacing.patience() == Pacing::kPatienceMax);
    pacing.answered(MonoTime(200));
    CHECK(pacing.credit() == 2 * Pacing::kCreditMin);
    CHECK(pacing.patience() == Pacing::kPatienceMin);
}

TEST_CASE("pacing: a small greatest credit is the only one", "[node]") {
    Pacing pacing(50);
    pacing.unanswered();
    CHECK(pacing.credit() == 50);
    pacing.answered(MonoTime(1));
    CHECK(pacing.credit() == 50);
}

}  // namespace skerry
