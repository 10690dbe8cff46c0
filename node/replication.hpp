// node/replication.hpp — one node among its peers: greets them, publishes, follows their streams, repairs what was missed.
//
// Stream   per peer the boot nonce and the last position applied. A message is applied, whole, iff it follows that position
//          and every clock entry it was made under is covered (causal delivery); else it is parked, within bounds.
// Hole     missing positions are fetched from the publisher's log; a new boot, a truncated log or a missing dependency
//          that does not come by itself is pulled: leaves are staged as log records and join in one flip.
// Silence  a peer that is not heard for kSilentMax, on the connection that its stream or its replies come by, is connected to
//          anew: one that a firewall has forgotten, or whose other end is gone, tells nobody.
// Backlog  while what is published waits for a slow subscriber, larger bodies are only announced: memory stays within
//          kPublishQueuedMax, the others fetch, and one that has stopped reading delays nobody.
// Third    a heartbeat that covers what is lacking here and does not come otherwise starts a pull from that peer.
// Alarm    equal clocks with unequal digests: counted and noted, always; then the shard's buckets are compared, too, and the
//          shard is repaired from that peer (node/reconciliation.hpp), a few times at most.
// Behind   a base behind the peer's purge floor cannot be pulled from: the pull begins with a full reconcile.
// Fence    whoever shows that this writer id is used elsewhere too (it knows own dots that are not here, or writes under
//          the id) ends it: nothing is published under it any more, and the driver must begin anew under another one.
// Pure     frames in, frames out through Transport; time comes in.   Thread: core thread.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "net/message.hpp"
#include "net/transport.hpp"
#include "node/lag.hpp"
#include "node/note.hpp"
#include "node/pull_cursor.hpp"
#include "node/reconciliation.hpp"
#include "node/verification.hpp"
#include "store/store.hpp"

namespace skerry {

struct ReplicationOptions {
    std::string cluster;
    std::string name;
    std::string region;
    std::string gossip_address;  // as others reach it; empty: this node stands alone
    std::string publish_address;
    std::string client_address;
    std::vector<std::string> seeds;  // gossip addresses to connect to
    std::uint64_t random_seed = 0;
    std::uint64_t pull_credit_bytes = std::uint64_t{1} << 20;  // of leaves asked for at once
    bool repairs = true;                                       // after an alarm, by itself
    std::uint64_t full_percent =
        0;  // of pulls that begin with a full reconcile though none is needed: for simulations
};

struct ReplicationCounters {
    std::uint64_t batches_applied = 0;
    std::uint64_t batches_parked = 0;
    std::uint64_t batches_dropped = 0;  // duplicates, and what did not fit the bounds
    std::uint64_t fetches = 0;
    std::uint64_t pulls = 0;
    std::uint64_t pulled_chunks = 0;
    std::uint64_t pulls_resumed = 0;  // of these: went on where an earlier one had stopped
    std::uint64_t pulled_leaves = 0;
    std::uint64_t pulled_bytes = 0;
    std::uint64_t flips = 0;
    std::uint64_t malformed = 0;
    std::uint64_t divergence_alarms = 0;
    std::uint64_t verify_differences = 0;  // shards
    std::uint64_t repairs = 0;             // shards compared leaf by leaf, and made equal
    std::uint64_t repaired_leaves = 0;     // changed by these
    std::uint64_t repairs_failed = 0;      // tried, and not done
    std::uint64_t repairs_given_up = 0;    // shards left to an operator
    std::uint64_t reconciles = 0;          // full ones
    std::uint64_t reconnects = 0;          // to peers that had fallen silent
    std::uint64_t announced_for_backlog = 0;
    std::uint64_t published = 0;
    std::uint64_t refused = 0;  // greetings, by either side; a caller repeats them
    std::uint64_t fences = 0;
};

struct PeerStatus {
    std::string name, region, address, client_address, link, phase;
    ReplicaId writer;
    std::uint64_t lag_events = 0;  // written here or known here, and not durable there
    Lag lag;                       // the part of it that was written here
    std::uint64_t parked_bytes = 0;
    std::int64_t silent_ms = -1;  // since it was last heard; -1 = never
    std::int64_t clock_ms = 0;    // its wall clock, less ours, as its last heartbeat came
    std::string trouble;  // why it refuses this node or is refused; empty = nothing is wrong
};

class Replication {
  public:
    static constexpr std::size_t kParkedBytesMax = std::size_t{4} << 20;
    static constexpr MonoTime kParkedMax{500};
    static constexpr std::size_t kParkedCountMax = 4096;
    static constexpr std::uint64_t kPublishQueuedMax = std::uint64_t{32} << 20;
    static constexpr MonoTime kHeartbeat{1000};
    static constexpr MonoTime kSilentMax{5000};   // then a peer counts as down
    static constexpr WallTime kClockApart{5000};  // further apart is told
    static constexpr MonoTime kResumeWithin{5000};

    Replication(Store& store, Log& log, const Kv& kv, Transport& transport,
                ReplicationOptions options);

    void start(MonoTime now);
    void receive(Incoming incoming, MonoTime now);
    // Call about every 50 ms.
    void tick(MonoTime now);
    // The commit is durable: publishes its batches, and goes on with what waited for it.
    void committed(const Commit& commit, MonoTime now);
    // A drill: from now on nothing from the peer is heard, and nothing is asked or answered. What
    // it publishes and what is published here are not stopped on the wire: cut both ends. False: no
    // peer of that name.
    bool set_cut(std::string_view name, bool cut);
    // While the disk is full nothing of others is applied: batches wait within their bounds, and no pull begins.
    void pause(bool paused, MonoTime now);
    // Asks the peers to report their durable clocks now (WAIT).
    void ask_clocks();

    // Compares all shards with the peer of that name, or with every peer; take_verdicts() has the end of it.
    enum class VerifyStart : std::uint8_t { begun, under_way, no_such_peer };
    // `repairs`: what differs is repaired, here and there.
    [[nodiscard]] VerifyStart verify(std::optional<std::string_view> name, bool repairs,
                                     MonoTime now);
    [[nodiscard]] std::optional<std::vector<Verdict>> take_verdicts();

    // Does the durable clock of at least `count` peers cover this? How many do.
    [[nodiscard]] std::size_t peers_covering(const ShardClocks& clocks) const;
    [[nodiscard]] std::vector<PeerStatus> peers(MonoTime now) const;
    // A pull waits for a checkpoint that is not old.
    [[nodiscard]] bool wants_checkpoint() const { return wants_checkpoint_; }
    void checkpointed() { wants_checkpoint_ = false; }
    [[nodiscard]] const ReplicationCounters& counters() const { return counters_; }
    // Why nothing may be written under this writer id any more. The driver commits nothing from then on,
    // and starts again under a new one: what it has committed is good, and comes back by a pull.
    [[nodiscard]] const std::optional<std::string>& fenced() const { return fenced_; }
    [[nodiscard]] std::vector<Note> take_notes() { return std::exchange(notes_, {}); }

  private:
    struct Parked {
        StreamPosition previous;
        ShardClocks foreign;
        std::string body;
        std::uint64_t body_bytes = 0;  // more than in `body`: the rest is still to be fetched
    };
    struct Peer {
        LinkId link;
        std::string address;  // gossip
        bool up = false;
        bool greeted = false;
        bool cut = false;
        MonoTime hello_at{-1'000'000};
        MonoTime heard_at{-1};
        std::optional<MonoTime>
            feed_since;  // subscribed, or last heard there; nullopt: not subscribed
        std::optional<MonoTime> hello_since;  // the first Hello that nothing has answered
        bool silent = false;                  // as last told
        WallTime clock{};                     // its wall clock, less ours
        MonoTime clock_told_at{-1'000'000};
        Introduction who;
        // Its stream.
        std::uint64_t nonce = 0;
        bool following = false;
        StreamPosition applied;
        StreamPosition announced;  // the last position it has published, as far as heard
        std::map<StreamPosition, Parked> parked;
        std::size_t parked_bytes = 0;
        std::optional<MonoTime> stuck_since;   // dependencies are missing
        std::optional<MonoTime> behind_since;  // it covers what is lacking here
        std::uint64_t fetch_request = 0;       // in flight; 0 = none
        std::uint64_t body_request = 0;
        MonoTime asked_at{};
        // What it reports.
        ShardClocks durable;
        bool reported = false;
        std::uint64_t own_events = 0;  // of this node, that it has
        std::string refuses;           // why, if its last word was a refusal
        MonoTime refuses_noted_at{-1'000'000};
    };
    // A caller that was not let in.
    struct Refused {
        Introduction who;
        std::string why;
        MonoTime at{};
        MonoTime noted_at{};
    };
    // Of a pull that begins with a full reconcile: what lies outside the base; then what else differs; then as any pull.
    enum class FullPhase : std::uint8_t { none, pulling, comparing, closing };
    struct PullSession {
        FullPhase full = FullPhase::none;
        ShardClocks compared;  // the base that leaves are compared under
        bool begins = true;    // the server looks whether its checkpoint has the target
        LinkId link;
        std::uint64_t session = 0;
        std::uint64_t nonce = 0;
        std::uint64_t request = 0;
        ShardClocks base;
        ShardClocks target;       // what the pull is for: a checkpoint without it will not do
        ShardClocks pass_clocks;  // at the first chunk of this pass
        std::string cursor;
        std::string part;  // of a leaf that comes in pieces
        MonoTime asked_at{};
        LogPosition staged;  // goes on once this is durable
        bool waiting_durable = false;
        bool flipping = false;
        std::optional<PullChunk> last;  // the final chunk, to flip to
    };

    Peer& peer_at(const std::string& address);
    Peer* peer_of(LinkId link);
    [[nodiscard]] bool is_cut(std::string_view name) const;
    [[nodiscard]] Introduction introduction() const;
    void send(LinkId link, const Message& message);
    void greet(Peer& peer, MonoTime now);
    void watch_silence(Peer& peer, MonoTime now);
    void note_clock(Peer& peer, const Heartbeat& heartbeat, MonoTime now);
    [[nodiscard]] bool backlogged();
    void note(NoteLevel level, std::string event,
              std::vector<std::pair<std::string, std::string>> fields);

    void on_request(const ConnectionToken& from, const Message& message, MonoTime now);
    void on_hello(const ConnectionToken& from, const Hello& hello, MonoTime now);
    [[nodiscard]] std::optional<Refuse> refusal(const Introduction& who, MonoTime now) const;
    [[nodiscard]] const Peer* same_name(const Introduction& who, MonoTime now) const;
    void refuse(const ConnectionToken& from, const Introduction& who, const Refuse& refuse,
                MonoTime now);
    void on_refuse(Peer& peer, const Refuse& refuse, MonoTime now);
    void on_pull_request(const ConnectionToken& from, const PullRequest& request);
    [[nodiscard]] bool serves_target(const PullRequest& request,
                                     const ShardClocks& checkpoint) const;
    void on_body_request(const ConnectionToken& from, const BodyRequest& request);
    void on_reply(Peer& peer, Message message, MonoTime now);
    void on_hello_ok(Peer& peer, HelloOk& hello, MonoTime now);
    void on_fetch_reply(Peer& peer, FetchReply& reply, MonoTime now);
    void on_body_reply(Peer& peer, BodyReply& reply, MonoTime now);
    void on_pull_chunk(Peer& peer, PullChunk& chunk, MonoTime now);
    void on_published(Peer& peer, Message message, MonoTime now);
    void on_heartbeat(Peer& peer, const Heartbeat& heartbeat, MonoTime now);
    void learn(const std::vector<std::string>& addresses);
    void report(Peer& peer, ShardClocks durable, MonoTime now);
    // Does it know dots of this writer that are not here?
    void check_own_dots(const ShardClocks& theirs, std::string_view peer);
    void fence(std::string why);
    [[nodiscard]] std::uint64_t own_events(const ShardClocks& clocks) const;
    [[nodiscard]] PeerStatus status_of(const Peer& peer, const ShardClocks& durable,
                                       MonoTime now) const;
    void count_own_events(const Commit& commit, MonoTime now);

    void park(Peer& peer, StreamPosition position, Parked item, MonoTime now);
    void drain(Peer& peer, MonoTime now);
    void drain_all(MonoTime now);
    // False: the body is not a batch of this peer's.
    bool apply(Peer& peer, StreamPosition position, const Parked& item);
    void fetch(Peer& peer, StreamPosition to, MonoTime now);
    void stop_following(Peer& peer);

    void start_pull(Peer& peer, std::string reason, MonoTime now);
    // The peer to pull from: the one whose pull has been begun, if there is one; nullptr: wait for it.
    Peer* peer_to_pull(Peer& peer, std::optional<PullCursor>& resumed, MonoTime now);
    void ask_pull(MonoTime now);
    // What is staged stays, for a pull that goes on from there.
    void interrupt_pull(std::string_view why, MonoTime now);
    void end_pull(std::string_view why);
    // The staged leaves of a chunk; nullopt: the pull has ended.
    std::optional<Stage> stage_of(PullChunk& chunk);
    void continue_pull(MonoTime now);
    void finish_flip(MonoTime now);

    // ---- replication_reconcile.cpp
    // Tells how repairs between this node and one peer have gone, in one shard.
    struct Repairs {
        std::uint64_t count = 0;
        MonoTime next_at{};
        bool told = false;
    };
    struct WantedRepair {
        LinkId link;
        ShardId shard;
        bool back = false;
    };
    void pull_in_full(MonoTime now);
    void compare_in_full(MonoTime now);
    void full_compared(Reconciliation::Outcome& outcome, MonoTime now);
    [[nodiscard]] bool reconciles() const { return pull_ && pull_->full != FullPhase::none; }
    void alarmed(const Peer& peer, ShardId shard, MonoTime now);
    void agrees(const Peer& peer, ShardId shard);
    void want_repair(LinkId link, ShardId shard, bool back);
    void step_reconciliation(MonoTime now);
    void repair_ended(const Reconciliation::Outcome& outcome, MonoTime now);
    [[nodiscard]] bool on_reconcile_request(const ConnectionToken& from, const Message& message,
                                            MonoTime now);
    [[nodiscard]] bool on_reconcile_reply(Peer& peer, Message& message, MonoTime now);
    template <class Reply>
    void reply_to(const ConnectionToken& from, const Result<Reply>& reply);

    void publish_heartbeat(MonoTime now);
    void compare_digests(const Peer& peer, const Heartbeat& heartbeat, MonoTime now);
    void on_digest_request(const ConnectionToken& from, const DigestRequest& request);
    void send_verification();
    void update_stable_cut();

    Store& store_;
    Log& log_;
    const Kv& kv_;
    Transport& transport_;
    ReplicationOptions options_;
    std::mt19937_64 random_;
    std::map<LinkId, Peer> peers_;
    std::map<ConnectionToken, std::string> callers_;  // names, by the connection that said Hello
    std::uint64_t links_ = 0;
    std::uint64_t requests_ = 0;
    std::optional<PullSession> pull_;
    MonoTime resume_until_{};  // an interrupted pull's peer is waited for
    Verification verification_;
    bool verify_asked_ = false;    // by a client, who wants the verdicts
    bool verify_repairs_ = false;  // and that what differs is repaired
    Reconciliation reconciliation_;
    std::optional<WantedRepair> repairing_;
    std::deque<WantedRepair> wanted_repairs_;
    std::map<std::pair<LinkId, ShardId>, Repairs> repairs_;
    bool wants_checkpoint_ = false;
    bool backlogged_ = false;
    bool paused_ = false;
    std::pair<LogPosition, std::string> served_body_;
    MonoTime heartbeat_at_{-1'000'000};
    std::map<std::string, Refused> refused_;  // by gossip address
    std::optional<std::string> fenced_;
    LagMeter lag_;
    std::vector<Seq> own_committed_;            // by shard
    std::uint64_t own_event_count_ = 0;         // their sum
    std::map<ShardId, std::uint64_t> alarmed_;  // digest of ours that was reported already
    ReplicationCounters counters_;
    std::vector<Note> notes_;
};

}  // namespace skerry
