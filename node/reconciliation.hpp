// node/reconciliation.hpp — finds the leaves in which this node and a peer differ, and makes them equal: the asking side.
//
// Repair   of one shard in which both have one clock and different data: each leaf that differs is united with the peer's
//          (crdt/leaf.hpp), each slice at a moment when both clocks are equal, and at the end the shard's digest and counts are made
//          those of its rows. Nothing that either side has is lost.
// Full     behind the peer's purge floor: of leaves with nothing outside the base, those that only the peer has are staged, and
//          those that it has no more are staged as bottom, at the clock at which it said so. A pull does the rest.
// Steps    slices, each with its first coded symbol -> more symbols until those of a slice decode -> the leaves. Each slice
//          stands for itself.
// Lanes    each compares a run of shards, with one request in flight. A short way has one lane, so that nobody is asked faster
//          than before; a long one has more, that are halves of runs.
// Again    a full one that was interrupted goes on with the runs that were left, at any boot whose clocks cover what was said.
//          Where more than one boot has been asked, what only this side has is asked for by key: the one that says nothing of a
//          leaf, since the first pass brings it, need not be the one from which that pass did not bring it.
// Markers  of this side stay, whatever the peer has purged: what it has of their leaves is staged with them.
// Bounds   own items of one stretch, its symbols, and one reply: some MiB, whatever the data. A shard that is busy at either
//          side is waited for, kPatience at most.
// Pure     messages in, messages out; time comes in.   Thread: core thread.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "net/transport.hpp"
#include "node/note.hpp"
#include "node/pull_cursor.hpp"
#include "node/stretch.hpp"
#include "node/verification.hpp"

namespace skerry {

class Reconciliation {
  public:
    static constexpr MonoTime kPatience{
        10'000};                           // for a shard that is busy, or clocks that are unequal
    static constexpr MonoTime kAgain{50};  // while waiting
    static constexpr MonoTime kAnswerWithin{1000};   // then the peer is asked again
    static constexpr MonoTime kSilentMax{5000};      // then it is given up
    static constexpr MonoTime kProgressEvery{1000};  // told
    static constexpr std::size_t kLanesMax = 16;
    static constexpr MonoTime kLaneWorth{
        5};  // of the time until an answer comes, when it comes soonest

    struct Subject {
        LinkId link;
        std::string name;
        std::uint64_t nonce = 0;  // of its boot
        SipKey key;               // of this session, random
    };
    // away: the peer is silent, or began anew. unsound: an answer that cannot be, or from before what was said. stuck: one of the
    // two was never at rest.
    enum class End : std::uint8_t { done, away, unsound, stuck };
    struct Outcome {
        std::string failure;  // empty: done
        End end = End::done;
        std::uint64_t slices = 0;
        std::uint64_t items = 0;        // that differ
        std::uint64_t symbols = 0;      // that it took
        std::uint64_t leaves = 0;       // that came
        std::uint64_t changed = 0;      // of these, by a repair
        bool recounted = false;         // digest or counts were not those of the rows
        std::vector<std::string> keys;  // hashes of some of the leaves' keys, for the operator
        // Of a full one: all that it staged is from states up to here; and, unless it is done, what is left.
        ShardClocks clocks;
        std::vector<CompareRun> left;
    };
    struct FullStage {
        std::uint64_t session = 0;
        ShardClocks bases;             // the shards, by number
        std::vector<CompareRun> runs;  // of these; empty: nothing is left
        ShardClocks least = {};        // the peer's clocks cover this
        bool asks_for_absent = false;  // what only this side has is asked for by key
    };

    explicit Reconciliation(Store& store) : store_(store) {}

    // `back`: the peer is asked to repair from here, too.   Requires: none is under way.
    void begin_repair(Subject subject, ShardId shard, bool back, MonoTime now);
    // Leaves that the session has staged already are not compared.   Requires: none is under way.
    void begin_full(Subject subject, FullStage stage, MonoTime now);
    void stop() {
        session_.reset();
        outcome_.reset();
        requests_.clear();
    }

    [[nodiscard]] bool under_way() const { return session_.has_value(); }
    [[nodiscard]] bool full() const { return session_ && session_->stage != 0; }
    // What is still to be compared.   Requires: full().
    [[nodiscard]] std::vector<CompareRun> left() const;
    [[nodiscard]] const Subject& subject() const { return session_->subject; }

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
        VersionVector clock;        // at which it was said
    };
    struct Lane {
        std::size_t shard = 0;         // the next to slice, in bases,
        std::size_t end = 0;           // up to here,
        std::string from;              // from here on
        std::size_t shards_asked = 0;  // at once
        std::deque<Task> todo;
        // Of the first of these:
        std::optional<DifferenceDecoder> decoder;
        VersionVector clock;               // of the peer's symbols
        std::vector<std::uint64_t> items;  // that it alone has, to be asked for
        std::vector<LeafKey> keys;         // of what this side alone has: to be asked for,
        std::vector<LeafKey> absent;       // or taken for absent there
        bool fetching = false;
        std::string part;  // of a leaf that comes in pieces

        std::uint64_t request = 0;  // in flight; 0 = none
        Message asked;
        MonoTime asked_first_at{};
        MonoTime asked_at{};
        MonoTime moved_at{};  // a step forward
    };
    struct Session {
        Subject subject;
        std::uint64_t stage = 0;  // session of staged leaves; 0: a repair
        bool back = false;
        bool asks_for_absent = false;
        ShardClocks bases;
        std::map<ShardId, VersionVector> least;
        std::list<Lane> lanes;
        std::optional<MonoTime> soonest;  // that an answer came
        MonoTime heard_at{};
        MonoTime told_at{};
        double per_slice = 0;  // differences, about
        Outcome outcome;
    };

    [[nodiscard]] bool repairs() const { return session_->stage == 0; }
    void begin(Subject subject, ShardClocks bases, MonoTime now);
    // False: the peer has less than it must have; all has ended.
    [[nodiscard]] bool has_least(ShardId shard, const VersionVector& theirs);
    // Is the shard here in a state that can be compared with the peer's at `theirs`?
    [[nodiscard]] bool comparable(ShardId shard, const VersionVector& theirs) const;
    // The lane that waits for this answer to a Request; nullptr: none does.
    template <class Request>
    [[nodiscard]] Lane* expecting(LinkId link, std::uint64_t request, std::uint64_t nonce,
                                  MonoTime now);
    // Those that take a lane may end the session, and it.
    void proceed(Lane& lane, MonoTime now);
    void spread(MonoTime now);
    Lane& add_lane(std::size_t from, std::size_t end, MonoTime now);
    void lane_done(Lane& lane);
    void ask_slices(Lane& lane, MonoTime now);
    [[nodiscard]] bool compare(Lane& lane, std::size_t& rows_left, MonoTime now);
    void ask_symbols(Lane& lane, MonoTime now);
    [[nodiscard]] bool decoded(Lane& lane);
    // False: not all are as they were.
    [[nodiscard]] bool collect_keys(Lane& lane, const std::vector<std::uint64_t>& mine_only);
    void ask_leaves(Lane& lane, MonoTime now);
    [[nodiscard]] std::optional<Repair> repair_of(Lane& lane, LeafReply& reply);
    void forget_wanted(Lane& lane, const std::vector<StagedLeaf>& leaves);
    void keep_markers(StagedLeaf& staged, const VersionVector& clock);
    void take(Repair repair, const VersionVector& clock);
    void stage_bottoms(Lane& lane);
    void slice_done(Lane& lane, MonoTime now);
    void slice_again(Lane& lane);
    [[nodiscard]] std::size_t index_of(ShardId shard) const;
    void finish();
    void fail_with(std::string why, End end = End::unsound);
    void send(Lane& lane, Message message, MonoTime now);
    void tell_progress(MonoTime now);

    Store& store_;
    std::optional<Session> session_;
    std::uint64_t asked_ = 0;
    std::optional<Outcome> outcome_;
    std::vector<std::pair<LinkId, Message>> requests_;
    std::vector<Note> notes_;
};

}  // namespace skerry
