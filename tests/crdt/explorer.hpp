// tests/crdt/explorer.hpp — every history of a few operations on three replicas, and every order of delivering it.
//
// History  operations in an order that causality allows; each has the set of operations that its replica had seen.
// Orders   not enumerated but proved: for every causally closed set D of operations and every last operation m of D,
//          state(D without m) + delta(m) is the same state(D). By induction all orders of delivery of D agree.
// Joins    join(state(D), state(past of m with m)) = state(D with that past), which with associativity (laws_test)
//          gives every join of two replicas; where the past is within D it is the delivery of a duplicate.
// Spec     what the type reads in state(D) is what a function of the history says, written from docs/SEMANTICS.md.
// Pruned   distinct clocks: replicas are numbered by first use, because ids decide nothing then. Tied clocks: of two
//          neighbouring concurrent operations the one of the smaller replica stands first. Prefixes are shared.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string>
#include <vector>

#include "crdt/leaf.hpp"
#include "tests/catch.hpp"

namespace skerry::testing {

using OpSet = std::uint32_t;  // bit i: operation i
inline constexpr std::size_t kOpsMax = 5;
inline constexpr std::size_t kReplicas = 3;

struct Op {
    std::size_t index = 0;
    ReplicaId replica;
    std::size_t command = 0;
    OpSet seen = 0;
    Hlc hlc;

    [[nodiscard]] bool saw(const Op& other) const { return (seen >> other.index & 1) != 0; }
};

// The operations of a set, in order of their index.
class History {
  public:
    History(const std::array<Op, kOpsMax>& ops, OpSet visible) {
        for (const Op& op : ops)
            if (visible >> op.index & 1) visible_[count_++] = op;
    }
    // Those for which `wanted` holds and that no operation for which `undoes` holds has seen.
    // Lifetime: into this.
    template <class Wanted, class Undoes>
    [[nodiscard]] std::vector<const Op*> surviving(Wanted wanted, Undoes undoes) const {
        std::vector<const Op*> left;
        for (std::size_t i = 0; i < count_; ++i) {
            const Op& op = visible_[i];
            if (!wanted(op)) continue;
            const bool undone =
                std::any_of(visible_.begin(), visible_.begin() + count_,
                            [&](const Op& other) { return undoes(other) && other.saw(op); });
            if (!undone) left.push_back(&op);
        }
        return left;
    }

    // What `op`, one of them, had seen.
    [[nodiscard]] History seen_by(const Op& op) const {
        History past;
        for (std::size_t i = 0; i < count_; ++i)
            if (op.saw(visible_[i])) past.visible_[past.count_++] = visible_[i];
        return past;
    }
    // The same operations in other words.
    template <class Words>
    [[nodiscard]] History mapped(Words words) const {
        History other = *this;
        for (Op& op : other.visible_) op = words(op);
        return other;
    }

  private:
    History() = default;
    std::array<Op, kOpsMax> visible_{};
    std::size_t count_ = 0;
};

enum class Clocks { distinct, tied };

// A type under test has: kCommands (their names), kLeaves, and the static functions
//   bool allowed(const Leaves&, const Op&)                    may this command run here and now?
//   Deltas run(const Leaves& seen, const Op&, const Dots&)    the mutators behind the command, one
//   dot a leaf std::string observe(const Leaves&)                        what a reader sees, in
//   words std::string spec(const History&)                          what he must see
//   Deltas run(..., const VersionVector& clock)               instead, if they need the clock they ran at
//   void settle(Leaves&)                                      if leaves bear on each other in storage, too: done at once
template <class Type>
class Explorer {
  public:
    static constexpr std::size_t kLeaves = Type::kLeaves;
    using Leaves = std::array<Leaf, kLeaves>;
    using Deltas = std::array<std::optional<LeafDelta>, kLeaves>;

    Explorer(std::size_t op_count, Clocks clocks) : op_count_(op_count), clocks_(clocks) {
        ASSERT(op_count <= kOpsMax);
        states_.resize(std::size_t{1} << op_count);
        states_[0].reachable = true;
        for (std::size_t i = 0; i < kOpsMax; ++i) ops_[i].index = i;
    }

    // Returns how many histories were checked, those of fewer operations included. Fails the test
    // at the first fault.
    std::size_t run() {
        extend(0, 0);
        return history_count_;
    }

  private:
    struct State {
        bool reachable = false;
        Leaves leaves;
        VersionVector clock;
    };

    void extend(std::size_t n, std::size_t replicas_used) {
        if (n == op_count_) return;
        const std::size_t choices =
            clocks_ == Clocks::tied ? kReplicas : std::min(replicas_used + 1, kReplicas);
        const OpSet all = (OpSet{1} << n) - 1;
        for (std::size_t replica = 0; replica < choices; ++replica) {
            const ReplicaId id{replica + 1};
            for (OpSet seen = 0; seen <= all; ++seen) {
                if (!states_[seen].reachable || !sees_its_own(n, id, seen)) continue;
                if (clocks_ == Clocks::tied && n > 0 && !(seen >> (n - 1) & 1) &&
                    id < ops_[n - 1].replica)
                    continue;
                for (std::size_t command = 0; command < Type::kCommands.size(); ++command) {
                    Op& op = ops_[n];
                    op.replica = id;
                    op.command = command;
                    op.seen = seen;
                    op.hlc = Hlc::at(WallTime(1000 + (clocks_ == Clocks::tied ? depth(seen) : n)));
                    if (!Type::allowed(states_[seen].leaves, op)) continue;
                    ++history_count_;
                    check_with_last(n);
                    extend(n + 1, std::max(replicas_used, replica + 1));
                }
            }
        }
        for (OpSet set = all + 1; set < (OpSet{1} << (n + 1)); ++set)
            states_[set].reachable = false;
    }

    [[nodiscard]] bool sees_its_own(std::size_t n, ReplicaId id, OpSet seen) const {
        for (std::size_t i = 0; i < n; ++i)
            if (ops_[i].replica == id && !(seen >> i & 1)) return false;
        return true;
    }

    [[nodiscard]] std::size_t depth(OpSet seen) const {
        std::size_t depth = 0;
        for (std::size_t i = 0; i < kOpsMax; ++i)
            if (seen >> i & 1) depth = std::max(depth, 1 + depth_of(i));
        return depth;
    }
    [[nodiscard]] std::size_t depth_of(std::size_t i) const {
        return static_cast<std::size_t>(ops_[i].hlc.wall().count()) - 1000;
    }

    [[nodiscard]] typename Type::Dots dots_of(std::size_t n) const {
        std::uint64_t seq = 0;
        for (std::size_t i = 0; i < n; ++i)
            if (ops_[i].replica == ops_[n].replica) seq += kLeaves;
        typename Type::Dots dots;
        for (std::size_t i = 0; i < kLeaves; ++i) dots[i] = Dot{ops_[n].replica, Seq{seq + i + 1}};
        return dots;
    }

    // The state of every closed set that contains the last operation, by every way into it.
    void check_with_last(std::size_t n) {
        const Op& last = ops_[n];
        const State& seen = states_[last.seen];
        if constexpr (requires { Type::run(seen.leaves, last, dots_of(n), seen.clock); })
            deltas_[n] = Type::run(seen.leaves, last, dots_of(n), seen.clock);
        else
            deltas_[n] = Type::run(seen.leaves, last, dots_of(n));
        const OpSet bit = OpSet{1} << n;
        for (OpSet before = 0; before < bit; ++before) {
            State& state = states_[before | bit];
            state.reachable = states_[before].reachable && (before & last.seen) == last.seen;
            if (!state.reachable) continue;
            state.leaves = states_[before].leaves;
            state.clock = states_[before].clock;
            deliver(state, n);
            check_other_orders(before | bit, n);
            check_spec(before | bit);
        }
        for (OpSet set = 0; set < 2 * bit; ++set)
            if (states_[set].reachable) check_joins(set, n);
    }

    void deliver(State& state, std::size_t n) const {
        for (std::size_t i = 0; i < kLeaves; ++i)
            if (deltas_[n][i]) state.leaves[i].apply(*deltas_[n][i]);
        settle(state.leaves);
        for (const Dot& dot : dots_of(n)) state.clock.advance(dot);
    }

    static void settle(Leaves& leaves) {
        if constexpr (requires { Type::settle(leaves); }) Type::settle(leaves);
    }

    void check_other_orders(OpSet set, std::size_t n) {
        for (std::size_t m = 0; m < n; ++m) {
            if (!(set >> m & 1) || seen_within(set, n, m)) continue;
            State other = states_[set & ~(OpSet{1} << m)];
            deliver(other, m);
            if (other.leaves != states_[set].leaves || other.clock != states_[set].clock)
                fail_with(set, "delivered last, operation " + std::to_string(m) +
                                   " leads to another state");
        }
    }

    [[nodiscard]] bool seen_within(OpSet set, std::size_t n, std::size_t m) const {
        for (std::size_t k = m + 1; k <= n; ++k)
            if ((set >> k & 1) && ops_[k].saw(ops_[m])) return true;
        return false;
    }

    // With the past of each operation, in both directions; only pairs in which the last operation
    // takes part.
    void check_joins(OpSet set, std::size_t n) {
        for (std::size_t m = 0; m <= n; ++m) {
            const OpSet past = ops_[m].seen | OpSet{1} << m;
            if (((set | past) >> n & 1) == 0) continue;
            const State& expected = states_[set | past];
            const State& mine = states_[set];
            const State& theirs = states_[past];
            if (!expected.reachable)
                fail_with(set | past, "the union of two closed sets was not built");
            check_join(set | past, mine, theirs, expected, "join");
            check_join(set | past, theirs, mine, expected, "reverse join");
        }
    }

    void check_join(OpSet set, const State& mine, const State& theirs, const State& expected,
                    const std::string& name) const {
        Leaves joined = mine.leaves;
        VersionVector clock = mine.clock;
        bool grew = false;
        for (std::size_t i = 0; i < kLeaves; ++i) {
            LeafAtClock one{mine.leaves[i], mine.clock};
            grew |= one.join({theirs.leaves[i], theirs.clock});
            joined[i] = one.leaf;
            clock = one.clock;
        }
        settle(joined);
        if (joined != expected.leaves || clock != expected.clock ||
            grew != (mine.clock != expected.clock))
            fail_with(set, "the " + name + " with the past of an operation differs");
    }

    void check_spec(OpSet set) {
        const std::string read = Type::observe(states_[set].leaves);
        const std::string due = Type::spec(History(ops_, set));
        if (read != due) fail_with(set, "reads \"" + read + "\", must read \"" + due + "\"");
    }

    void fail_with(OpSet visible, const std::string& why) const {
        std::string text = why + "\nvisible history:";
        for (const Op& op : ops_) {
            if (!(visible >> op.index & 1)) continue;
            text += "\n  operation " + std::to_string(op.index) + " at replica " +
                    std::to_string(op.replica.value) + ", clock " +
                    std::to_string(op.hlc.wall().count()) + ": " +
                    std::string(Type::kCommands[op.command]) + ", had seen {";
            for (std::size_t i = 0; i < op.index; ++i)
                if (op.seen >> i & 1) text += " " + std::to_string(i);
            text += " }";
        }
        FAIL(text);
    }

    std::size_t op_count_;
    Clocks clocks_;
    std::array<Op, kOpsMax> ops_{};
    std::array<Deltas, kOpsMax> deltas_{};
    std::vector<State> states_;
    std::size_t history_count_ = 0;
};

}  // namespace skerry::testing
