// node/verification.hpp — CRDT.VERIFY: is what this node's rows hold what a peer's rows hold? Read in slices, on demand.
//
// Compared per shard, at one clock: the digest kept with it, and what its rows add up to, by bucket. A row that a disk has lost
//          or changed shows against the digest kept beside it, so the verdict can say which side is damaged.
// Clocks   a shard counts only if both sides' durable clock was one and the same from its first row to its last, with nothing
//          under way; else it is tried again for kPatience, and then reported as not comparable, with the lag.
// Pace     both sides read kSliceRows at a time, the peer at each request, this node beside it: no round waits for more.
// Order    one peer after the other, kGroup shards at a time: what is held is a few numbers a bucket.
// Pure     frames in, requests out; time comes in.   Thread: core thread.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "net/message.hpp"
#include "net/transport.hpp"
#include "node/mono_time.hpp"
#include "node/note.hpp"
#include "store/bucket_digests.hpp"

namespace skerry {

// One slice of what the store holds.   Errors: malformed (a shard or a cursor that cannot be).
[[nodiscard]] Result<DigestReply> serve_digests(Store& store, const DigestRequest& request);

struct Verdict {
    enum class Damage : std::uint8_t { unknown, here, there, both };
    struct Difference {
        ShardId shard;
        std::vector<std::uint16_t> buckets;  // that differ between the two
        Damage damage = Damage::unknown;     // whose rows are not those of its own digest
    };
    struct Unequal {  // clocks
        ShardId shard;
        std::uint64_t lacking_here = 0;   // events that the peer has and this node has not
        std::uint64_t lacking_there = 0;  // and the other way round
    };
    std::string peer;
    bool answered = true;  // false: silent, and what was left is not compared
    std::uint64_t shards = 0;
    std::uint64_t equal = 0;
    std::uint64_t rows = 0;  // read here
    std::vector<Difference> differing;
    std::vector<Unequal> not_comparable;
    MonoTime took{};
};
[[nodiscard]] std::string_view name_of(Verdict::Damage damage);

class Verification {
  public:
    static constexpr std::size_t kGroup = 64;  // a round trip each, when they have few rows
    static constexpr std::size_t kSliceRows = 1000;
    static constexpr MonoTime kPatience{5000};      // for equal clocks of a shard
    static constexpr MonoTime kRetry{100};          // of shards whose clocks were unequal
    static constexpr MonoTime kAnswerWithin{1000};  // then the peer is asked again
    static constexpr MonoTime kSilentMax{5000};     // then it is given up
    static constexpr MonoTime kProgressEvery{1000};

    struct Subject {
        LinkId link;
        std::string name;
        std::vector<ShardId> shards = {};  // that both hold
    };

    explicit Verification(Store& store) : store_(store) {}

    [[nodiscard]] bool under_way() const { return current_.has_value() || !subjects_.empty(); }
    // Requires: none is under way.
    void begin(std::vector<Subject> subjects, MonoTime now);
    void on_reply(LinkId link, const DigestReply& reply, MonoTime now);
    void tick(MonoTime now);

    // What is to be sent now.
    [[nodiscard]] std::vector<std::pair<LinkId, DigestRequest>> take_requests() {
        return std::exchange(requests_, {});
    }
    [[nodiscard]] std::vector<Note> take_notes() { return std::exchange(notes_, {}); }
    // One a peer, once all are done.
    [[nodiscard]] std::optional<std::vector<Verdict>> take_verdicts();
    [[nodiscard]] std::uint64_t differences() const { return differences_; }

  private:
    // What one side has said of a shard so far.
    struct Sum {
        VersionVector clock;
        std::optional<std::uint64_t> kept;
        BucketDigests buckets;
        bool moved = false;  // its clock changed meanwhile, or something was under way
    };
    // One side's way through the group.
    struct Side {
        std::string cursor;
        bool done = false;
        std::map<ShardId, Sum> sums;
    };
    struct Session {
        Subject subject;
        Verdict verdict;
        std::deque<ShardId> todo;
        std::deque<ShardId> later;             // once more
        std::map<ShardId, MonoTime> tried_at;  // first
        DigestRequest group;                   // shards and clocks; empty: between two groups
        Side here, there;
        std::uint64_t request = 0;  // in flight; 0 = none
        MonoTime asked_at{};
        MonoTime heard_at{};
        MonoTime begun_at{};
        MonoTime told_at{};
        MonoTime resume_at{};
    };

    void next_subject(MonoTime now);
    void next_group(MonoTime now);
    void ask(MonoTime now);
    void step_here();
    void absorb(Side& side, const DigestReply& reply) const;
    void judge(MonoTime now);
    void judge_shard(ShardId shard, MonoTime now);
    void end_session(MonoTime now);
    void tell_progress(MonoTime now);
    void note(NoteLevel level, std::string event,
              std::vector<std::pair<std::string, std::string>> fields);

    Store& store_;
    std::deque<Subject> subjects_;
    std::optional<Session> current_;
    std::vector<Verdict> verdicts_;
    bool finished_ = false;
    std::uint64_t asked_ = 0;
    std::uint64_t differences_ = 0;
    std::vector<std::pair<LinkId, DigestRequest>> requests_;
    std::vector<Note> notes_;
};

}  // namespace skerry
