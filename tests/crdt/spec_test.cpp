// tests/crdt/spec_test.cpp — in small, everything: each type against a function of the visible history.
//
// The functions named spec() are written from docs/SEMANTICS.md and know nothing of leaves, dots or cancels: who had
// seen whom is all they look at. Explorer says what is enumerated and what is pruned.
#include <string_view>

#include "crdt/types/clear.hpp"
#include "crdt/types/deadline.hpp"
#include "crdt/types/flags.hpp"
#include "crdt/types/multi_value.hpp"
#include "crdt/types/presence.hpp"
#include "crdt/types/value.hpp"
#include "tests/catch.hpp"
#include "tests/crdt/explorer.hpp"

using namespace skerry;
using testing::Clocks;
using testing::Explorer;
using testing::History;
using testing::Op;

namespace {

constexpr auto kAny = [](const Op&) { return true; };

// (g++ 12 takes a literal + std::to_string for an overflow, once inlined.)
std::string numbered(std::string_view word, std::int64_t number) {
    std::string text(word);
    text += std::to_string(number);
    return text;
}

template <std::size_t Count>
struct Leafy {
    static constexpr std::size_t kLeaves = Count;
    using Leaves = std::array<Leaf, Count>;
    using Deltas = std::array<std::optional<LeafDelta>, Count>;
    using Dots = std::array<Dot, Count>;
    static bool allowed(const Leaves&, const Op&) { return true; }
};

// Last writer wins: the later clock, then the greater replica.
const Op* last_writer(const std::vector<const Op*>& writes) {
    const Op* winner = nullptr;
    for (const Op* op : writes)
        if (winner == nullptr || op->hlc > winner->hlc ||
            (op->hlc == winner->hlc && op->replica > winner->replica))
            winner = op;
    return winner;
}

std::vector<const Op*> by_replica(std::vector<const Op*> ops) {
    std::ranges::sort(ops, {}, &Op::replica);
    return ops;
}

struct PresenceType : Leafy<1> {
    enum Command : std::size_t { add, remove };
    static constexpr std::array<std::string_view, 2> kCommands{"SADD", "SREM"};
    static Deltas run(const Leaves& seen, const Op& op, const Dots& dots) {
        return {op.command == add ? presence::add(seen[0], dots[0], op.hlc)
                                  : presence::remove(seen[0], dots[0], op.hlc)};
    }
    static std::string observe(const Leaves& leaves) {
        if (!presence::present(leaves[0])) return "absent";
        return numbered("since ", presence::latest(leaves[0]).wall().count());
    }
    // A delete removes what the deleting replica had observed, and nothing else.
    static std::string spec(const History& history) {
        const auto adds = history.surviving([](const Op& op) { return op.command == add; },
                                            [](const Op& op) { return op.command == remove; });
        if (adds.empty()) return "absent";
        return numbered("since ", last_writer(adds)->hlc.wall().count());
    }
};

struct DisableWinsType : Leafy<1> {
    enum Command : std::size_t { enable, disable };
    static constexpr std::array<std::string_view, 2> kCommands{"enable", "disable"};
    static Deltas run(const Leaves& seen, const Op& op, const Dots& dots) {
        return {op.command == enable ? disable_wins::enable(seen[0], dots[0], op.hlc)
                                     : disable_wins::disable(seen[0], dots[0], op.hlc)};
    }
    static std::string observe(const Leaves& leaves) {
        return disable_wins::enabled(leaves[0]) ? "on" : "off";
    }
    // On iff somebody enabled it and every disable has been seen by an enable.
    static std::string spec(const History& history) {
        const auto enables = [](const Op& op) { return op.command == enable; };
        const auto open =
            history.surviving([](const Op& op) { return op.command == disable; }, enables);
        const auto ever = history.surviving(enables, [](const Op&) { return false; });
        return !ever.empty() && open.empty() ? "on" : "off";
    }
};

struct MultiValueType : Leafy<1> {
    enum Command : std::size_t { write, clear };
    static constexpr std::array<std::string_view, 2> kCommands{"write", "clear"};
    static Deltas run(const Leaves& seen, const Op& op, const Dots& dots) {
        if (op.command == clear) return {multi_value::clear(seen[0], dots[0], op.hlc)};
        return {multi_value::write(seen[0], dots[0], op.hlc,
                                   numbered("v", static_cast<std::int64_t>(op.index)))};
    }
    static std::string observe(const Leaves& leaves) {
        std::string text;
        for (const std::string_view value : multi_value::values(leaves[0]))
            text += std::string(value) + " ";
        return text;
    }
    static std::string spec(const History& history) {
        std::string text;
        for (const Op* op :
             by_replica(history.surviving([](const Op& o) { return o.command == write; }, kAny)))
            text += numbered("v", static_cast<std::int64_t>(op->index)) + " ";
        return text;
    }
};

// Strings and hash fields: a register that can count. Amounts differ by operation, so that every
// subset has its own sum; reals are binary fractions, so that sums are exact in any order.
struct ValueType : Leafy<1> {
    enum Command : std::size_t { set_number, set_text, increment, increment_real, remove };
    static constexpr std::array<std::string_view, 5> kCommands{"SET number", "SET text", "INCRBY",
                                                               "INCRBYFLOAT", "DEL"};

    static std::string bytes_of(const Op& op) {
        return op.command == set_text ? numbered("t", static_cast<std::int64_t>(op.index))
                                      : std::to_string(1000000 * (op.index + 1));
    }
    static std::int64_t integer_of(const Op& op) {
        constexpr std::array<std::int64_t, testing::kOpsMax> amounts{1, -10, 100, -1000, 10000};
        return amounts[op.index];
    }
    static std::int64_t sixteenths_of(const Op& op) {
        constexpr std::array<std::int64_t, testing::kOpsMax> amounts{8, -4, 2, -1, 24};
        return amounts[op.index];
    }

    static Deltas run(const Leaves& seen, const Op& op, const Dots& dots) {
        switch (op.command) {
            case set_number:
            case set_text:
                return {value::set(seen[0], dots[0], op.hlc, {bytes_of(op), value::kNoDeadline})};
            case increment:
                return {value::add(seen[0], dots[0], op.hlc, value::amount_of(integer_of(op)))};
            case increment_real:
                return {value::add(
                    seen[0], dots[0], op.hlc,
                    value::amount_of_real(static_cast<long double>(sixteenths_of(op)) / 16))};
            default:
                return {value::remove(seen[0], dots[0], op.hlc)};
        }
    }
    static std::string observe(const Leaves& leaves) {
        std::string text = value::text(value::read(leaves[0])).value_or("(nil)");
        for (const std::string_view loser : value::siblings(leaves[0]))
            text += " beside " + std::string(loser);
        return text;
    }

    static bool is_set(const Op& op) { return op.command == set_number || op.command == set_text; }
    static bool is_reset(const Op& op) { return is_set(op) || op.command == remove; }

    // Exact decimal of a count of sixteenths.
    static std::string decimal(std::int64_t sixteenths) {
        std::string text = sixteenths < 0 ? "-" : "";
        const std::int64_t magnitude = sixteenths < 0 ? -sixteenths : sixteenths;
        text += std::to_string(magnitude / 16);
        std::string fraction = std::to_string(10000 + magnitude % 16 * 625).substr(1);
        fraction.erase(fraction.find_last_not_of('0') + 1);
        return fraction.empty() ? text : text + "." + fraction;
    }

    // SET and DEL undo what they had seen, be it a base or an increment. Of the bases left the last
    // writer's is the value and the others its siblings; what is left of the increments adds to it,
    // and is hidden if it is no number.
    static std::string spec(const History& history) {
        const auto bases = history.surviving(is_set, is_reset);
        const auto increments =
            history.surviving([](const Op& op) { return !is_reset(op); }, is_reset);
        if (bases.empty() && increments.empty()) return "(nil)";
        const Op* winner = last_writer(bases);
        std::string text;
        if (winner != nullptr && winner->command == set_text) {
            text = bytes_of(*winner);
        } else {
            std::int64_t sixteenths =
                winner == nullptr ? 0 : 16000000 * static_cast<std::int64_t>(winner->index + 1);
            for (const Op* op : increments)
                sixteenths += op->command == increment ? 16 * integer_of(*op) : sixteenths_of(*op);
            text = decimal(sixteenths);
        }
        for (const Op* op : by_replica(bases))
            if (op != winner) text += " beside " + bytes_of(*op);
        return text;
    }
};

// The same with the commands that make epochs and cancels alone: cheap enough for one operation
// more.
struct CounterType : ValueType {
    static constexpr std::array<std::string_view, 3> kCommands{"SET number", "INCRBY", "DEL"};
    static Op as_value_op(Op op) {
        constexpr std::array<std::size_t, 3> commands{set_number, increment, remove};
        op.command = commands[op.command];
        return op;
    }
    // A DEL of an absent key writes nothing.
    static bool allowed(const Leaves& seen, const Op& op) {
        return as_value_op(op).command != remove || value::read(seen[0]).exists;
    }
    static Deltas run(const Leaves& seen, const Op& op, const Dots& dots) {
        return ValueType::run(seen, as_value_op(op), dots);
    }
    static std::string spec(const History& history) {
        return ValueType::spec(history.mapped(as_value_op));
    }
};

// A string key and its time to live: commands that touch two leaves, as the command layer composes
// them. A command that brings an absent key into being starts without a time to live.
struct DeadlineType : Leafy<2> {
    enum Command : std::size_t { set, set_ex, expire, persist, increment, remove };
    static constexpr std::array<std::string_view, 6> kCommands{"SET",     "SETEX", "EXPIRE",
                                                               "PERSIST", "INCR",  "DEL"};

    // Not in the order of the operations, and sometimes equal: then the greater replica issues the
    // removal.
    static WallTime time_of(const Op& op) {
        constexpr std::array<int, testing::kOpsMax> times{300, 100, 400, 300, 100};
        return WallTime(times[op.index]);
    }
    static bool exists(const Leaves& leaves) { return value::read(leaves[0]).exists; }
    static bool allowed(const Leaves& seen, const Op& op) {
        return (op.command != expire && op.command != persist) || exists(seen);
    }
    static Deltas run(const Leaves& seen, const Op& op, const Dots& dots) {
        const auto& [string, deadlines] = seen;
        switch (op.command) {
            case set:
            case set_ex:
                return {value::set(string, dots[0], op.hlc,
                                   {"v", op.command == set ? value::kNoDeadline : time_of(op)}),
                        deadline::remove(deadlines, dots[1], op.hlc)};
            case expire:
                return {std::nullopt,
                        deadline::set(deadlines, string, dots[1], op.hlc, time_of(op))};
            case persist:
                return {std::nullopt,
                        deadline::set(deadlines, string, dots[1], op.hlc, value::kNoDeadline)};
            case increment: {
                Deltas deltas{value::add(string, dots[0], op.hlc, value::amount_of(1)),
                              std::nullopt};
                if (!exists(seen)) deltas[1] = deadline::remove(deadlines, dots[1], op.hlc);
                return deltas;
            }
            default:
                return {value::remove(string, dots[0], op.hlc),
                        deadline::remove(deadlines, dots[1], op.hlc)};
        }
    }
    static std::string observe(const Leaves& leaves) {
        if (!exists(leaves)) return "absent";
        const auto winner = deadline::read(leaves[1], leaves[0]);
        if (!winner) return "stays";
        return numbered("until ", winner->at.count()) +
               numbered(" by ", static_cast<std::int64_t>(winner->replica.value));
    }

    static bool is_set(const Op& op) { return op.command == set || op.command == set_ex; }
    static bool is_expire(const Op& op) { return op.command == expire || op.command == persist; }

    // What SET, DEL or a later EXPIRE had seen counts no more. Of what is left the longest wins;
    // SET and PERSIST are infinite. An INCR had created the key if nothing of what it had seen
    // survived among that.
    static std::string spec(const History& history) {
        const auto is_reset = [](const Op& op) { return is_set(op) || op.command == remove; };
        const auto sets = history.surviving(is_set, is_reset);
        const auto increments =
            history.surviving([](const Op& op) { return op.command == increment; }, is_reset);
        if (sets.empty() && increments.empty()) return "absent";
        const auto creates = [&](const Op& op) {
            return op.command == increment &&
                   history.seen_by(op)
                       .surviving([&](const Op& o) { return is_set(o) || o.command == increment; },
                                  is_reset)
                       .empty();
        };
        auto claims = history.surviving(
            is_expire, [&](const Op& op) { return is_reset(op) || is_expire(op) || creates(op); });
        for (const Op* op :
             history.surviving(is_set, [&](const Op& op) { return is_reset(op) || is_expire(op); }))
            claims.push_back(op);
        const Op* longest = nullptr;
        for (const Op* op : claims) {
            if (op->command == set || op->command == persist) return "stays";
            if (longest == nullptr || time_of(*op) > time_of(*longest) ||
                (time_of(*op) == time_of(*longest) && op->replica > longest->replica))
                longest = op;
        }
        if (longest == nullptr) return "stays";
        return numbered("until ", time_of(*longest).count()) +
               numbered(" by ", static_cast<std::int64_t>(longest->replica.value));
    }
};

// A hash field and the clear of its hash, which is DEL of a large one: the field is removed apart if it counts. One
// thing is pinned down here: who increments beside its own losing text keeps that text from a clear (allowed()).
struct ClearedType : Leafy<2> {
    enum Command : std::size_t { set_number, set_text, increment, remove, clear };
    static constexpr std::array<std::string_view, 5> kCommands{"HSET number", "HSET text",
                                                               "HINCRBY", "HDEL", "DEL"};
    static Op as_value_op(Op op) {
        constexpr std::array<std::size_t, 5> commands{ValueType::set_number, ValueType::set_text,
                                                      ValueType::increment, ValueType::remove,
                                                      ValueType::remove};
        op.command = commands[op.command];
        return op;
    }
    static bool allowed(const Leaves& seen, const Op& op) {
        const Entry* own = seen[0].of(op.replica);
        if (op.command != increment || own == nullptr || own->removed) return true;
        const auto payload = value::decode(*own);
        return !payload->base || value::parse_real(payload->base->bytes).has_value();
    }
    static Deltas run(const Leaves& seen, const Op& op, const Dots& dots,
                      const VersionVector& clock) {
        const Op same = as_value_op(op);
        if (op.command != clear || value::counts(seen[0])) {
            auto [field] = ValueType::run({seen[0]}, same, {dots[0]});
            if (op.command != clear || clock.empty()) return {std::move(field), std::nullopt};
            return {std::move(field), skerry::clear::all(seen[1], dots[1], op.hlc, clock)};
        }
        if (clock.empty()) return {};
        return {std::nullopt, skerry::clear::all(seen[1], dots[1], op.hlc, clock)};
    }
    static void settle(Leaves& leaves) {
        skerry::clear::unmask(leaves[0], skerry::clear::covered(leaves[1]));
    }
    static std::string observe(const Leaves& leaves) { return ValueType::observe({leaves[0]}); }
    static std::string spec(const History& history) {
        return ValueType::spec(history.mapped(as_value_op));
    }
};

// A set member and the clear of its set.
struct ClearedMemberType : Leafy<2> {
    enum Command : std::size_t { add, remove, clear };
    static constexpr std::array<std::string_view, 3> kCommands{"SADD", "SREM", "DEL"};
    static Deltas run(const Leaves& seen, const Op& op, const Dots& dots,
                      const VersionVector& clock) {
        if (op.command != clear)
            return {PresenceType::run({seen[0]}, op, {dots[0]})[0], std::nullopt};
        if (clock.empty()) return {};
        return {std::nullopt, skerry::clear::all(seen[1], dots[1], op.hlc, clock)};
    }
    static void settle(Leaves& leaves) {
        skerry::clear::unmask(leaves[0], skerry::clear::covered(leaves[1]));
    }
    static std::string observe(const Leaves& leaves) { return PresenceType::observe({leaves[0]}); }
    static std::string spec(const History& history) {
        return PresenceType::spec(history.mapped([](Op op) {
            if (op.command == clear) op.command = remove;
            return op;
        }));
    }
};

}  // namespace

// Sanitizers, or no optimisation, make this ten times as slow and more: there, all but the counters
// go one operation less deep where it says so.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr bool kDeep = true;
#else
constexpr bool kDeep = false;
#endif

// The counts are those of the enumeration as it stands: a change that prunes more than it says is
// noticed.
TEST_CASE("spec: presence, every history of five operations", "[crdt][spec]") {
    CHECK(Explorer<PresenceType>(kDeep ? 5 : 4, Clocks::distinct).run() == (kDeep ? 55646 : 2654));
    CHECK(Explorer<PresenceType>(4, Clocks::tied).run() == 5950);
}

TEST_CASE("spec: disable_wins, every history of five operations", "[crdt][spec]") {
    CHECK(Explorer<DisableWinsType>(kDeep ? 5 : 4, Clocks::distinct).run() ==
          (kDeep ? 55646 : 2654));
    CHECK(Explorer<DisableWinsType>(4, Clocks::tied).run() == 5950);
}

TEST_CASE("spec: multi_value, every history of five operations", "[crdt][spec]") {
    CHECK(Explorer<MultiValueType>(kDeep ? 5 : 4, Clocks::distinct).run() ==
          (kDeep ? 55646 : 2654));
    CHECK(Explorer<MultiValueType>(4, Clocks::tied).run() == 5950);
}

TEST_CASE("spec: value as register and counter, every history of four operations", "[crdt][spec]") {
    CHECK(Explorer<ValueType>(4, Clocks::distinct).run() == 99830);
    CHECK(Explorer<ValueType>(kDeep ? 4 : 3, Clocks::tied).run() == (kDeep ? 219565 : 7690));
}

TEST_CASE("spec: value as counter with resets, every history of five operations", "[crdt][spec]") {
    CHECK(Explorer<CounterType>(5, Clocks::distinct).run() == 180350);
}

TEST_CASE("spec: deadline beside its string, every history of four operations", "[crdt][spec]") {
    CHECK(Explorer<DeadlineType>(4, Clocks::distinct).run() == 89692);
    CHECK(Explorer<DeadlineType>(kDeep ? 4 : 3, Clocks::tied).run() == (kDeep ? 213086 : 6776));
}

TEST_CASE("spec: members and fields under clears, every history of four operations",
          "[crdt][spec]") {
    CHECK(Explorer<ClearedMemberType>(4, Clocks::distinct).run() == 13152);
    CHECK(Explorer<ClearedType>(kDeep ? 4 : 3, Clocks::distinct).run() == (kDeep ? 95272 : 2273));
    CHECK(Explorer<ClearedType>(3, Clocks::tied).run() == 7501);
}
