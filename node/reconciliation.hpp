// node/reconciliation.hpp — finds the leaves in which this node and a peer differ at one clock, and mends them here.
//
// Repair   of one shard: each leaf that differs is united with the peer's (crdt/leaf.hpp), each slice at a moment when both
//          clocks are equal, and at the end the shard's digest and counts are made those of its rows. Nothing that either side
//          has is lost.
// Steps    slices -> where a sum differs, coded symbols until they decode -> the leaves. Each slice stands for itself; one
//          request is in flight at a time.
// Bounds   own items of one stretch, its symbols, and one reply: some MiB, whatever the data. A shard that is busy at either
//          side is waited for, kPatience at most.
// Pure     messages in, messages out; time comes in.   Thread: core thread.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "net/transport.hpp"
#include "node/note.hpp"
#include "node/stretch.hpp"
#include "node/verification.hpp"

namespace skerry {

class Reconciliation {
  public:
    static constexpr MonoTime kPatience{10'000};     // for a shard that is busy, or unequal clocks
    static constexpr MonoTime kAgain{50};            // while waiting
    static constexpr MonoTime kAnswerWithin{1000};   // then the peer is asked again
    static constexpr MonoTime kSilentMax{5000};      // then it is given up
    static constexpr MonoTime kProgressEvery{1000};  // told

    struct Subject {
        LinkId link;
        std::string name;
        std::uint64_t nonce = 0;  // of its boot
        SipKey key;               // of this session, random
    };
    struct Outcome {
        std::string failure;  // empty: done
        std::uint64_t slices = 0;
        std::uint64_t items = 0;        // that differ
        std::uint64_t symbols = 0;      // that it took
        std::uint64_t leaves = 0;       // that came
        std::uint64_t changed = 0;      // of these
        bool recounted = false;         // digest or counts were not those of the rows
        std::vector<std::string> keys;  // hashes of some of the leaves' keys, for the operator
    };

    explicit Reconciliation(Store& store) : store_(store) {}

    // `back`: the peer is asked to repair from here, too.   Requires: none is under way.
    void begin(Subject subject, ShardId shard, bool back, MonoTime now);
    void stop() { session_.reset(); }

    [[nodiscard]] bool under_way() const { return session_.has_value(); }

    void on_reply(LinkId link, SliceReply& reply, MonoTime now);
    void on_reply(LinkId link, SymbolReply& reply, MonoTime now);
    void on_reply(LinkId link, LeafReply& reply, MonoTime now);
    void tick(MonoTime now);

    [[nodiscard]] std::vector<std::pair<LinkId, Message>> take_requests() {
        return std::exchange(requests_, {});
    }
    [[nodiscard]] std::vector<Note> take_notes() { return std::exchange(notes_, {}); }
    [[nodiscard]] std::optional<Outcome> take_outcome() { return std::exchange(outcome_, {}); }

  private:
    // A stretch to compare, and what the peer has said of it.
    struct Task {
        Stretch stretch;
        std::optional<Slice> said;  // nullopt: nothing, or of a longer one
    };
    struct Session {
        Subject subject;
        ShardId shard;
        bool back = false;
        VersionVector clock;  // of both, when the slices were asked for
        std::string from;     // the next slice begins here
        bool sliced = false;  // up to the shard's end
        std::deque<Task> todo;
        // Of the first of these:
        std::optional<DifferenceDecoder> decoder;
        std::uint64_t own_items = 0;
        std::vector<std::uint64_t> items;  // that it alone has, to be asked for
        std::vector<LeafKey> keys;         // of what this side alone has: to be asked for, too
        bool fetching = false;
        std::string part;  // of a leaf that comes in pieces

        std::uint64_t request = 0;  // in flight; 0 = none
        Message asked;
        MonoTime asked_at{};
        MonoTime heard_at{};
        MonoTime moved_at{};  // a step forward
        MonoTime told_at{};
        double per_slice = 0;  // differences, about
        Outcome outcome;
    };

    // Is the shard here in the state that its slices were asked for at, and the peer's at `theirs`, too?
    [[nodiscard]] bool comparable(const VersionVector& theirs) const;
    [[nodiscard]] bool expects(LinkId link, std::uint64_t request, std::uint64_t nonce,
                               MonoTime now);
    void proceed(MonoTime now);
    void ask_slices(MonoTime now);
    [[nodiscard]] bool compare(std::size_t& rows_left, MonoTime now);
    void ask_symbols(MonoTime now);
    void decoded(MonoTime now);
    // False: not all are as they were.
    [[nodiscard]] bool collect_keys(const std::vector<std::uint64_t>& mine_only);
    void ask_leaves(MonoTime now);
    [[nodiscard]] std::optional<Repair> repair_of(LeafReply& reply);
    void forget_wanted(const std::vector<StagedLeaf>& leaves);
    void take(Repair repair);
    void slice_done(MonoTime now);
    void slice_again();
    void finish();
    void fail_with(std::string why);
    void send(Message message, MonoTime now);
    void tell_progress(MonoTime now);

    Store& store_;
    std::optional<Session> session_;
    std::uint64_t asked_ = 0;
    std::optional<Outcome> outcome_;
    std::vector<std::pair<LinkId, Message>> requests_;
    std::vector<Note> notes_;
};

}  // namespace skerry
