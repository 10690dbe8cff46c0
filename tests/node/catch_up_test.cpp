#include "node/catch_up.hpp"

#include "tests/catch.hpp"

namespace skerry {
namespace {
constexpr MonoTime kStart{5000};
using Stage = CatchUp::Stage;
ShardClocks at(std::uint64_t seq) { return {{ShardId{0}, {{ReplicaId{9}, Seq{seq}}}}}; }
}  // namespace

TEST_CASE("catch_up: it is over once what all peers had first is here", "[node]") {
    CatchUp catch_up;
    catch_up.begin(kStart);
    CHECK_FALSE(catch_up.step({.any_known = true}, kStart));
    catch_up.reported(1, at(5));
    catch_up.reported(1, at(50));  // later: the ordinary lag
    catch_up.reported(2, at(7));
    CHECK(catch_up.target().at(ShardId{0}).at(ReplicaId{9}) == Seq{7});
    CHECK_FALSE(
        catch_up.step({.any_known = true, .all_reported = true, .any_ahead = true}, kStart));
    CHECK(catch_up.stage() == Stage::lacking);
    catch_up.reported(3, at(70));  // one that came when all had been met
    CHECK(catch_up.target().at(ShardId{0}).at(ReplicaId{9}) == Seq{7});
    CHECK(catch_up.step({.any_known = true, .all_reported = true, .target_covered = true}, kStart));
    CHECK(catch_up.stage() == Stage::done);
    CHECK_FALSE(catch_up.step({.any_ahead = true}, kStart));  // once
    CHECK(catch_up.over());
}

TEST_CASE("catch_up: peers that are not there are waited for so long, and no longer", "[node]") {
    CatchUp catch_up;
    catch_up.begin(kStart);
    const CatchUp::View nobody{.any_known = true, .target_covered = true};
    CHECK_FALSE(catch_up.step(nobody, kStart + CatchUp::kMeetWithin - MonoTime(1)));
    CHECK(catch_up.step(nobody, kStart + CatchUp::kMeetWithin));
    CHECK(catch_up.stage() == Stage::done);
}

TEST_CASE("catch_up: while somebody who has more is heard it waits, however long", "[node]") {
    CatchUp catch_up;
    catch_up.begin(kStart);
    catch_up.reported(1, at(5));
    const CatchUp::View ahead{.any_known = true, .all_reported = true, .any_ahead = true};
    const CatchUp::View gone{.any_known = true, .all_reported = true};
    MonoTime now = kStart;
    for (; now < kStart + MonoTime(3'600'000); now += MonoTime(1000))
        REQUIRE_FALSE(catch_up.step(ahead, now));
    CHECK_FALSE(catch_up.step(gone, now));
    CHECK_FALSE(catch_up.step(ahead, now + CatchUp::kAloneMax - MonoTime(2000)));  // it is back
    CHECK_FALSE(catch_up.step(gone, now + CatchUp::kAloneMax));
    CHECK(catch_up.step(gone, now + 2 * CatchUp::kAloneMax));
    CHECK(catch_up.stage() == Stage::given_up);
}

}  // namespace skerry
