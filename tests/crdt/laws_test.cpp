// tests/crdt/laws_test.cpp — the laws that every lattice and every type obeys, on random reachable states.
//
// A new lattice or type is one more name in `Lattices` below, nothing else.
#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "crdt/codec.hpp"
#include "crdt/types/deadline.hpp"
#include "crdt/types/flags.hpp"
#include "crdt/types/multi_value.hpp"
#include "crdt/types/presence.hpp"
#include "crdt/types/value.hpp"
#include "tests/catch.hpp"
#include "tests/seeds.hpp"

using namespace skerry;
using testing::for_each_seed;
using testing::Random;

namespace {

constexpr std::size_t kSites = 4;
constexpr std::uint64_t kSeeds = 60;

std::string random_bytes(Random& random) {
    constexpr std::array<std::string_view, 6> words{"", "0", "12", "-7", "2.5", "word"};
    return std::string(words[random.below(words.size())]);
}

// The mutators of a type, one chosen at random; `seen` is the leaf where it runs.
struct RegisterType {
    static LeafDelta mutate(Random& random, const Leaf& seen, Dot dot, Hlc now) {
        if (random.one_in(4)) return value::remove(seen, dot, now);
        const WallTime deadline =
            random.one_in(3) ? WallTime(random.below(9000)) : value::kNoDeadline;
        return value::set(seen, dot, now, {random_bytes(random), deadline});
    }
};
struct CounterType {
    static LeafDelta mutate(Random& random, const Leaf& seen, Dot dot, Hlc now) {
        if (random.one_in(6)) return value::remove(seen, dot, now);
        const auto amount = static_cast<std::int64_t>(random.below(2000)) - 1000;
        if (random.one_in(3))
            return value::add(seen, dot, now,
                              value::amount_of_real(static_cast<long double>(amount) / 7));
        return value::add(seen, dot, now,
                          value::amount_of(random.one_in(9) ? INT64_MIN + amount + 1000 : amount));
    }
};
struct ValueType {
    static LeafDelta mutate(Random& random, const Leaf& seen, Dot dot, Hlc now) {
        return random.one_in(3) ? RegisterType::mutate(random, seen, dot, now)
                                : CounterType::mutate(random, seen, dot, now);
    }
};
struct PresenceType {
    static LeafDelta mutate(Random& random, const Leaf& seen, Dot dot, Hlc now) {
        return random.one_in(2) ? presence::add(seen, dot, now) : presence::remove(seen, dot, now);
    }
};
struct DeadlineType {
    static LeafDelta mutate(Random& random, const Leaf& seen, Dot dot, Hlc now) {
        if (random.one_in(4)) return deadline::remove(seen, dot, now);
        Leaf string;  // what the key holds where EXPIRE runs: some bases
        for (std::uint64_t writer = 1; writer <= random.below(3); ++writer) {
            Leaf elsewhere;
            string.apply(value::set(elsewhere, {ReplicaId{writer}, Seq{1 + random.below(9)}}, now,
                                    {"v", {}}));
        }
        return deadline::set(seen, string, dot, now,
                             random.one_in(3) ? value::kNoDeadline : WallTime(random.below(9000)));
    }
};
struct MultiValueType {
    static LeafDelta mutate(Random& random, const Leaf& seen, Dot dot, Hlc now) {
        if (random.one_in(4)) return multi_value::clear(seen, dot, now);
        return multi_value::write(seen, dot, now, random_bytes(random));
    }
};
struct DisableWinsType {
    static LeafDelta mutate(Random& random, const Leaf& seen, Dot dot, Hlc now) {
        return random.one_in(2) ? disable_wins::enable(seen, dot, now)
                                : disable_wins::disable(seen, dot, now);
    }
};

// A body packed with a table of writers in front, as messages are, or with every id spelled.
template <class Body>
std::string pack(bool with_table, std::size_t parts, Body body) {
    WriterTable table;
    std::string packed_body;
    Packer body_packer(packed_body, with_table ? &table : nullptr);
    body(body_packer);
    std::string out;
    Packer packer(out);
    packer.array(parts + (with_table ? 1 : 0));
    if (with_table) packer.put(table);
    return out + packed_body;
}
Unpacker open(const std::string& bytes, bool with_table, std::size_t parts) {
    Unpacker in(bytes);
    in.array_of(parts + (with_table ? 1 : 0));
    if (with_table) in.writer_table();
    return in;
}

// A lattice under test has: State; States states(Random&): reachable from one history, joined pairs
// among them; encode and decode. Version vectors are one by themselves.
struct VersionVectorLattice {
    using State = VersionVector;
    static std::vector<State> states(Random& random) {
        std::vector<State> states(1);
        while (states.size() < 8) {
            State state = states[random.below(states.size())];
            for (std::size_t i = random.below(4); i > 0; --i)
                state.advance({ReplicaId{1 + random.below(kSites)}, Seq{random.below(6)}});
            states.push_back(state);
        }
        return states;
    }
    static std::string encode(const State& state, bool with_table) {
        return pack(with_table, 1, [&](Packer& packer) { packer.put(state); });
    }
    static Result<State> decode(const std::string& bytes, bool with_table) {
        Unpacker in = open(bytes, with_table, 1);
        State state = in.clock();
        if (auto done = in.done("state"); !done) return std::unexpected(done.error());
        return state;
    }
};

// A type's leaf at its shard's clock, from a world of sites that write, tell each other of single
// operations in causal order, or join whole states.
template <class Type>
struct LeafLattice {
    using State = LeafAtClock;
    struct Site {
        State state{};
        std::vector<std::size_t> seen{};  // operations, in the order in which they arrived
        HlcClock clock{};
    };
    struct World {
        std::array<Site, kSites> sites{};
        std::vector<LeafDelta> operations{};
        std::vector<Site> snapshots{};
    };

    static bool deliver(State& state, const LeafDelta& delta) {
        if (state.clock.contains(delta.entry.dot())) return false;
        state.leaf.apply(delta);
        state.clock.advance(delta.entry.dot());
        return true;
    }
    static void write(World& world, Random& random, std::size_t at) {
        Site& site = world.sites[at];
        const ReplicaId id{at + 1};
        const Hlc now = site.clock.next(
            WallTime(1000 + random.below(3)));  // clocks that tie, jump and run back
        world.operations.push_back(
            Type::mutate(random, site.state.leaf, {id, site.state.clock.at(id).next()}, now));
        deliver(site.state, world.operations.back());
        site.seen.push_back(world.operations.size() - 1);
    }
    // What arrives may have been there before, and stops after some operations.
    static void tell(World& world, Random& random, std::size_t from, std::size_t to) {
        Site& site = world.sites[to];
        std::size_t left = 1 + random.below(4);
        for (const std::size_t index : world.sites[from].seen) {
            if (!deliver(site.state, world.operations[index])) continue;
            site.seen.push_back(index);
            site.clock.observe(world.operations[index].entry.hlc, WallTime(1000));
            if (--left == 0) return;
        }
    }
    static World world(Random& random) {
        World world;
        for (std::size_t step = 0; step < 24; ++step) {
            const std::size_t at = random.below(kSites);
            if (random.one_in(2))
                write(world, random, at);
            else if (const std::size_t from = random.below(kSites); from != at)
                tell(world, random, from, at);
            if (random.one_in(4)) world.snapshots.push_back(world.sites[at]);
        }
        for (const Site& site : world.sites) world.snapshots.push_back(site);
        return world;
    }

    static std::vector<State> states(Random& random) {
        std::vector<State> states;
        for (const Site& site : world(random).snapshots) states.push_back(site.state);
        return states;
    }
    static std::string encode(const State& state, bool with_table) {
        return pack(with_table, 2, [&](Packer& packer) {
            packer.put(state.clock);
            packer.put(state.leaf);
        });
    }
    static Result<State> decode(const std::string& bytes, bool with_table) {
        Unpacker in = open(bytes, with_table, 2);
        State state;
        state.clock = in.clock();
        state.leaf = in.leaf();
        if (auto done = in.done("state"); !done) return std::unexpected(done.error());
        return state;
    }
};

using Types = std::tuple<RegisterType, CounterType, ValueType, PresenceType, DeadlineType,
                         MultiValueType, DisableWinsType>;
using Lattices =
    std::tuple<VersionVectorLattice, LeafLattice<RegisterType>, LeafLattice<CounterType>,
               LeafLattice<ValueType>, LeafLattice<PresenceType>, LeafLattice<DeadlineType>,
               LeafLattice<MultiValueType>, LeafLattice<DisableWinsType>>;
static_assert(std::tuple_size_v<Lattices> == std::tuple_size_v<Types> + 1,
              "every type is in the list of lattices");

template <class State>
State joined(State a, const State& b) {
    a.join(b);
    return a;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("laws: a join is commutative and associative and idempotent",
                        "[crdt][laws]", Lattices) {
    for_each_seed(kSeeds, [](Random& random) {
        const auto states = TestType::states(random);
        for (const auto& a : states) {
            REQUIRE(joined(a, a) == a);
            for (const auto& b : states) {
                REQUIRE(joined(a, b) == joined(b, a));
                const auto& c = states[random.below(states.size())];
                REQUIRE(joined(joined(a, b), c) == joined(a, joined(b, c)));
            }
        }
    });
}

TEMPLATE_LIST_TEST_CASE("laws: grew is said iff the state changed", "[crdt][laws]", Lattices) {
    std::size_t grown = 0;
    std::size_t same = 0;
    for_each_seed(kSeeds, [&](Random& random) {
        const auto states = TestType::states(random);
        for (const auto& a : states) {
            for (const auto& b : states) {
                auto both = a;
                const bool grew = both.join(b);
                REQUIRE(grew == (both != a));
                REQUIRE_FALSE(both.join(b));
                ++(grew ? grown : same);
            }
        }
    });
    CHECK(grown > 0);
    CHECK(same > 0);
}

TEMPLATE_LIST_TEST_CASE("laws: equal states encode equally and decode back", "[crdt][laws]",
                        Lattices) {
    for_each_seed(kSeeds, [](Random& random) {
        const auto states = TestType::states(random);
        for (const bool with_table : {false, true}) {
            for (const auto& a : states) {
                const std::string bytes = TestType::encode(a, with_table);
                const auto back = TestType::decode(bytes, with_table);
                REQUIRE(back);
                REQUIRE(*back == a);
                const auto& b = states[random.below(states.size())];
                REQUIRE((a == b) == (bytes == TestType::encode(b, with_table)));
                REQUIRE(TestType::encode(joined(a, b), with_table) ==
                        TestType::encode(joined(b, a), with_table));
            }
        }
    });
}

TEMPLATE_LIST_TEST_CASE("laws: deltas applied give what states joined give", "[crdt][laws]",
                        Types) {
    using Lattice = LeafLattice<TestType>;
    for_each_seed(kSeeds, [](Random& random) {
        const auto world = Lattice::world(random);
        for (const auto& mine : world.snapshots) {
            for (const auto& theirs : world.snapshots) {
                LeafAtClock state = mine.state;
                for (const std::size_t index : theirs.seen)
                    Lattice::deliver(state, world.operations[index]);
                REQUIRE(state == joined(mine.state, theirs.state));
            }
        }
    });
}

TEMPLATE_LIST_TEST_CASE("laws: a delta decodes back and applies once", "[crdt][laws]", Types) {
    using Lattice = LeafLattice<TestType>;
    for_each_seed(kSeeds, [](Random& random) {
        const auto world = Lattice::world(random);
        for (const LeafDelta& delta : world.operations) {
            for (const bool with_table : {false, true}) {
                const std::string bytes =
                    pack(with_table, 1, [&](Packer& packer) { packer.put(delta); });
                Unpacker in = open(bytes, with_table, 1);
                REQUIRE(in.leaf_delta() == delta);
                REQUIRE(in.done("delta"));
            }
        }
        for (const auto& site : world.snapshots) {
            for (const Entry& entry : site.state.leaf) {
                Leaf leaf = site.state.leaf;
                REQUIRE_FALSE(
                    leaf.apply({.entry = entry, .superseded = leaf.dots_of_others(entry.replica)}));
                REQUIRE(leaf == site.state.leaf);
            }
        }
    });
}

TEMPLATE_TEST_CASE("laws: a payload decodes to what encodes to it", "[crdt][laws]", RegisterType,
                   CounterType, ValueType) {
    for_each_seed(kSeeds, [](Random& random) {
        for (const LeafDelta& delta : LeafLattice<TestType>::world(random).operations) {
            const auto payload = value::decode(delta.entry);
            REQUIRE(payload);
            if (!delta.entry.payload.empty())
                REQUIRE(value::encode(*payload, delta.entry.seq) == delta.entry.payload);
        }
    });
}
