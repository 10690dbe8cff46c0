// crdt/types/value.hpp — the value of a string key or hash field: a last-writer-wins register that can count.
//
// Leaf     a live entry holds an optional base (the bytes of a SET, with the deadline that the SET gave), the epoch
//          it belongs to, and what its writer has added since. Any entry, a REMOVED marker too, may hold cancels:
//          (writer, epoch) -> the amount of that writer which SET, DEL or expiry had seen.
// Value    the winning base + the sum over writers of (added - the greatest cancel any entry holds for that writer
//          and epoch). A base whose epoch is cancelled is dead. Greatest HLC wins, then replica, then the bytes.
// Epoch    the dot of the SET, or of the first increment after the writer's entry was superseded or removed. So a
//          base stands at the birth of its epoch, and whoever cancels the epoch has seen the base.
// Exact    increments and decrements are held apart, in 128 bits; reals as 80-bit sums with their count.
// Cost     O(writers of that leaf).
// Source   observed-reset counters: Weidner, Almeida, "An Oblivious Observed-Reset Embeddable Replicated Counter",
//          PaPoC 2022. Differs: the maximum of cancels belongs to the interpretation, not to the join.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/leaf.hpp"
#include "crdt/result.hpp"

namespace skerry::value {

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

// A deadline that never comes; SET without a time to live says so, as does PERSIST.
inline constexpr WallTime kNoDeadline = WallTime::max();

// What one writer has added in one epoch, or how much of it is cancelled. Every part only grows,
// `real` with its count.
struct Amount {
    Uint128 up = 0;
    Uint128 down = 0;
    long double real = 0;
    std::uint64_t real_count = 0;

    [[nodiscard]] bool zero() const { return up == 0 && down == 0 && real_count == 0; }
    void raise_to(const Amount& other);
    void add(const Amount& other);
    friend bool operator==(const Amount&, const Amount&) = default;
};

struct Base {
    std::string_view bytes;  // into the payload
    WallTime deadline = kNoDeadline;
};

struct Cancel {
    ReplicaId replica;
    Seq epoch;
    Amount amount;
    friend bool operator==(const Cancel&, const Cancel&) = default;
};

// The decoded payload of an entry. Lifetime: `base` points into the entry.
struct Payload {
    std::optional<Base> base;
    Seq epoch;
    Amount added;
    std::vector<Cancel> cancels;  // sorted by replica, at most one epoch each: the latest
};
// Errors: malformed. An entry that arrived over the wire is checked with this before it is applied.
[[nodiscard]] Result<Payload> decode(const Entry& entry);
[[nodiscard]] std::string encode(const Payload& payload, Seq entry_seq);

// What a leaf means. Lifetime: views into the leaf.
struct Reading {
    bool exists = false;
    std::optional<std::string_view> base;  // of the winning entry
    Amount sum;                            // of all writers, what is cancelled taken off
    Int128 integers = 0;                   // sum.up - sum.down
    Hlc birth;                     // the latest epoch's beginning: decides between types of one key
    std::vector<Dot> base_epochs;  // (writer, epoch) of every live base, the winner's too
    WallTime deadline =
        WallTime::min();  // the longest that a live base gave; min() if there is no base

    [[nodiscard]] bool counted() const { return !sum.zero(); }
};
[[nodiscard]] Reading read(const Leaf& leaf);

// The value as text, the increments added to the base. nullopt: absent. Increments on a base that
// is no number are hidden.
[[nodiscard]] std::optional<std::string> text(const Reading& reading);
// For the common case of one plain base: no copy. nullopt: use text(read(leaf)).
[[nodiscard]] std::optional<std::string_view> plain(const Leaf& leaf);
// Does one entry make it, so that it exists, with no deadline of its own? Says so without decoding.
[[nodiscard]] bool simple(const Leaf& leaf);

// The whole value as an integer of 64 bits. Errors: not_a_number (an absent value reads as 0),
// out_of_range.
[[nodiscard]] Result<std::int64_t> integer(const Reading& reading);
[[nodiscard]] Result<long double> real(const Reading& reading);

[[nodiscard]] LeafDelta set(const Leaf& seen, const Dot& dot, Hlc now, const Base& base);
// Can what `self` has added in its epoch hold `amount` more? The value may be small and this not: others
// subtract. Requires of add(): it can.
[[nodiscard]] bool can_add(const Leaf& seen, ReplicaId self, const Amount& amount);
[[nodiscard]] LeafDelta add(const Leaf& seen, const Dot& dot, Hlc now, const Amount& amount);
[[nodiscard]] LeafDelta remove(const Leaf& seen, const Dot& dot, Hlc now);

// Writers of whose amounts some entry holds a cancel. None: a leaf of such markers means nothing beside what comes later.
[[nodiscard]] std::vector<ReplicaId> cancelled_writers(const Leaf& leaf);
// Is it live and has it counted, or could an increment join it that keeps what is here: amounts, cancels, a base that is
// a number? Then a clear does not reach it (crdt/types/clear.hpp).
[[nodiscard]] bool counts(const Leaf& leaf);

// The losers of a concurrent SET: the bytes of live bases other than the winner's.
[[nodiscard]] std::vector<std::string_view> siblings(const Leaf& leaf);

[[nodiscard]] Amount amount_of(std::int64_t increment);
[[nodiscard]] Amount amount_of_real(long double increment);

// Redis's own forms: decimal without exponent, at most 17 digits behind the point, no trailing
// zeros.
[[nodiscard]] std::string format_real(long double number);
[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view text);
[[nodiscard]] std::optional<long double> parse_real(std::string_view text);

}  // namespace skerry::value
