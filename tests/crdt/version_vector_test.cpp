#include "crdt/version_vector.hpp"

#include "tests/catch.hpp"

using namespace skerry;
namespace {
constexpr ReplicaId kA{1}, kB{2};
}

TEST_CASE("version_vector: a partial order, with concurrent vectors unordered",
          "[crdt][version_vector]") {
    const VersionVector a{{kA, Seq{2}}}, b{{kB, Seq{1}}}, both{{kA, Seq{2}}, {kB, Seq{1}}};
    CHECK((a <=> b) == std::partial_ordering::unordered);
    CHECK((a <=> both) == std::partial_ordering::less);
    CHECK((both <=> b) == std::partial_ordering::greater);
    CHECK((a <=> a) == std::partial_ordering::equivalent);
}

TEST_CASE("version_vector: the join is the least upper bound and tells growth",
          "[crdt][version_vector]") {
    VersionVector a{{kA, Seq{2}}, {kB, Seq{1}}};
    const VersionVector b{{kA, Seq{1}}, {kB, Seq{3}}};
    CHECK(a.join(b));
    CHECK(a == VersionVector{{kA, Seq{2}}, {kB, Seq{3}}});
    CHECK_FALSE(a.join(b));
    CHECK(a.meet(b) == b);
}

TEST_CASE("version_vector: zero is nothing seen and is not stored", "[crdt][version_vector]") {
    VersionVector a;
    CHECK_FALSE(a.advance(Dot{kA, Seq{0}}));
    CHECK(a.empty());
    CHECK(a.contains(Dot{kA, Seq{0}}));
}
