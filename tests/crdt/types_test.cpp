#include "crdt/codec.hpp"
#include "crdt/types/deadline.hpp"
#include "crdt/types/flags.hpp"
#include "crdt/types/multi_value.hpp"
#include "crdt/types/presence.hpp"
#include "crdt/types/value.hpp"
#include "tests/catch.hpp"

using namespace skerry;
namespace {
constexpr ReplicaId kA{1}, kB{2};

// One replica of one leaf, deltas delivered by hand.
struct Side {
    ReplicaId id;
    LeafAtClock state{};
    std::uint64_t wall = 1000;

    template <class Mutator, class... Args>
    LeafDelta run(Mutator mutator, const Args&... args) {
        const Dot dot{id, state.clock.at(id).next()};
        const LeafDelta delta = mutator(state.leaf, dot, Hlc::at(WallTime(++wall)), args...);
        state.leaf.apply(delta);
        state.clock.advance(dot);
        return delta;
    }
    [[nodiscard]] std::string text() const {
        return value::text(value::read(state.leaf)).value_or("(nil)");
    }
};
struct Two {
    Side a{kA}, b{kB};
    void exchange() {
        const LeafAtClock old_a = a.state;
        a.state.join(b.state);
        b.state.join(old_a);
        REQUIRE(a.state == b.state);
        a.wall = b.wall = std::max(a.wall, b.wall);
    }
};
const auto set = [](const Leaf& seen, const Dot& dot, Hlc now, std::string_view bytes) {
    return value::set(seen, dot, now, {bytes, value::kNoDeadline});
};
const auto add = [](const Leaf& seen, const Dot& dot, Hlc now, std::int64_t n) {
    return value::add(seen, dot, now, value::amount_of(n));
};
const auto add_real = [](const Leaf& seen, const Dot& dot, Hlc now, long double n) {
    return value::add(seen, dot, now, value::amount_of_real(n));
};
}  // namespace

TEST_CASE("presence: a concurrent add beats a remove", "[crdt][presence]") {
    Two r;
    r.a.run(presence::add);
    r.exchange();
    r.a.run(presence::remove);
    r.b.run(presence::add);
    r.exchange();
    CHECK(presence::present(r.a.state.leaf));
}

TEST_CASE("value: concurrent increments sum exactly, decrements too", "[crdt][value]") {
    Two r;
    r.a.run(set, "10");
    r.exchange();
    r.a.run(add, 5);
    r.b.run(add, -2);
    r.a.run(add, 1);
    r.exchange();
    CHECK(r.a.text() == "14");
}

TEST_CASE("value: DEL cancels what it had seen and no more: 10; DEL || INCR 1 -> 1",
          "[crdt][value]") {
    Two r;
    r.a.run(add, 10);
    r.exchange();
    r.b.run(value::remove);
    r.a.run(add, 1);
    r.exchange();
    CHECK(r.a.text() == "1");
    r.a.run(add, 4);
    r.exchange();
    CHECK(r.b.text() == "5");
}

TEST_CASE("value: DEL || INCR 1 on a base of 10 -> 1", "[crdt][value]") {
    Two r;
    r.a.run(set, "10");
    r.exchange();
    r.b.run(value::remove);
    r.a.run(add, 1);
    r.exchange();
    CHECK(r.a.text() == "1");
}

TEST_CASE("value: SET cancels the increments it saw, unseen ones add to the new base",
          "[crdt][value]") {
    Two r;
    r.a.run(add, 10);
    r.exchange();
    r.b.run(set, "100");
    r.a.run(add, 7);
    r.exchange();
    CHECK(r.a.text() == "107");
    r.b.run(set, "text");
    r.a.run(add, 1);
    r.exchange();
    CHECK(r.b.text() == "text");
}

TEST_CASE("value: a third replica that saw only the DEL still carries its cancel",
          "[crdt][value]") {
    Side a{kA}, b{kB}, c{ReplicaId{3}};
    a.run(add, 10);
    b.state.join(a.state);
    b.run(value::remove);
    c.state.join(b.state);
    c.run(set, "100");
    a.run(add, 1);
    a.state.join(c.state);
    CHECK(a.text() == "101");
}

TEST_CASE("value: the later SET wins, the other stays as a sibling until it is seen",
          "[crdt][value]") {
    Two r;
    r.a.run(set, "first");
    r.b.wall += 10;
    r.b.run(set, "second");
    r.exchange();
    CHECK(r.a.text() == "second");
    CHECK(value::siblings(r.a.state.leaf) == std::vector<std::string_view>{"first"});
    r.a.run(set, "third");
    r.exchange();
    CHECK(value::siblings(r.b.state.leaf).empty());
    CHECK(r.b.text() == "third");
}

TEST_CASE("value: reals add up, and read alike on both sides", "[crdt][value]") {
    Two r;
    r.a.run(set, "10.5");
    r.exchange();
    r.a.run(add_real, 0.1L);
    r.b.run(add_real, -5.0L);
    r.exchange();
    CHECK(r.a.text() == "5.6");
    CHECK(r.b.text() == "5.6");
}

TEST_CASE("value: sums beyond 64 bits do not wrap", "[crdt][value]") {
    Two r;
    r.a.run(add, INT64_MAX);
    r.b.run(add, INT64_MAX);
    r.exchange();
    CHECK(r.a.text() == "18446744073709551614");
    CHECK_FALSE(value::integer(value::read(r.a.state.leaf)));
    r.b.run(add, -INT64_MAX);
    CHECK(value::integer(value::read(r.b.state.leaf)) == INT64_MAX);
}

TEST_CASE("value: a payload of every shape decodes to what was encoded", "[crdt][value]") {
    value::Payload payload;
    payload.base = value::Base{"bytes", WallTime(1234)};
    payload.epoch = Seq{3};
    payload.added = value::amount_of(5);
    payload.added.real = -1.5L;
    payload.added.real_count = 2;
    payload.cancels = {{kA, Seq{1}, value::amount_of(-3)}, {kB, Seq{2}, {}}};
    Entry entry{.replica = kA,
                .seq = Seq{9},
                .hlc = {},
                .removed = false,
                .payload = value::encode(payload, Seq{9})};
    const auto back = value::decode(entry);
    REQUIRE(back);
    CHECK(value::encode(*back, Seq{9}) == entry.payload);
    CHECK(back->added == payload.added);
    CHECK(back->cancels == payload.cancels);
    CHECK(back->base->bytes == "bytes");
    for (std::size_t cut = 0; cut < entry.payload.size(); ++cut) {
        Entry damaged = entry;
        damaged.payload.resize(cut);
        (void)value::decode(damaged);
    }
}

TEST_CASE("value: a real that no long double holds is malformed, not infinite", "[crdt][value]") {
    std::string payload(1, static_cast<char>(16));  // kReal: mantissa, exponent and sign, count
    Packer packer(payload);
    packer.array(3);
    packer.number(std::uint64_t{1} << 63);
    packer.number(0x1ffff);
    packer.number(1);
    const Entry entry{
        .replica = kA, .seq = Seq{1}, .hlc = {}, .removed = false, .payload = payload};
    const auto decoded = value::decode(entry);
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error().code == Code::malformed);
}

TEST_CASE("flags: a concurrent disable beats an enable", "[crdt][flags]") {
    Two r;
    r.a.run(disable_wins::enable);
    r.exchange();
    CHECK(disable_wins::enabled(r.b.state.leaf));
    r.a.run(disable_wins::enable);
    r.b.run(disable_wins::disable);
    r.exchange();
    CHECK_FALSE(disable_wins::enabled(r.a.state.leaf));
    r.a.run(disable_wins::enable);
    r.exchange();
    CHECK(disable_wins::enabled(r.b.state.leaf));
}

TEST_CASE("multi_value: concurrent values stand side by side until one has seen them",
          "[crdt][multi_value]") {
    Two r;
    r.a.run(multi_value::write, std::string_view("x"));
    r.b.run(multi_value::write, std::string_view("y"));
    r.exchange();
    CHECK(multi_value::values(r.a.state.leaf) == std::vector<std::string_view>{"x", "y"});
    r.b.run(multi_value::write, std::string_view("z"));
    r.exchange();
    CHECK(multi_value::values(r.a.state.leaf) == std::vector<std::string_view>{"z"});
}

TEST_CASE("deadline: the longest wins, an unseen SET without one is infinite", "[crdt][deadline]") {
    Side string{kA};
    string.run(set, "v");
    Leaf deadlines;
    CHECK_FALSE(deadline::read(deadlines, string.state.leaf));
    deadlines.apply(
        deadline::set(deadlines, string.state.leaf, {kA, Seq{2}}, Hlc{2}, WallTime(5000)));
    REQUIRE(deadline::read(deadlines, string.state.leaf));
    CHECK(deadline::read(deadlines, string.state.leaf)->at == WallTime(5000));
    Leaf other;  // concurrent, longer
    const LeafDelta longer =
        deadline::set(other, string.state.leaf, {kB, Seq{1}}, Hlc{2}, WallTime(9000));
    deadlines.apply(longer);
    CHECK(deadline::read(deadlines, string.state.leaf)->at == WallTime(9000));
    CHECK(deadline::read(deadlines, string.state.leaf)->replica == kB);
    string.run(set, "again");  // a SET that the EXPIRE has not seen
    CHECK_FALSE(deadline::read(deadlines, string.state.leaf));
}
