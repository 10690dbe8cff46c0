// node/replication.hpp — one node among its peers: greets them, publishes, follows their streams, repairs what was missed.
//
// Stream   per peer the boot nonce and the last position applied. A message is applied, whole, iff it follows that position
//          and every clock entry it was made under is covered (causal delivery); else it is parked, within bounds.
// Hole     missing positions are fetched from the publisher's log; a new boot, a truncated log or a missing dependency
//          that does not come by itself is pulled: leaves are staged as log records and join in one flip. A pull that was
//          interrupted goes on where it was, at any peer whose clock covers what it has been shown. While one that takes over all,
//          or reconciles in full, waits for that, nothing foreign is applied, as while it is under way.
// Silence  a peer that is not heard for kSilentMax, on the connection that its stream or its replies come by, is connected to
//          anew: one that a firewall has forgotten, or whose other end is gone, tells nobody.
// Backlog  while what is published waits for a slow subscriber, larger bodies are only announced: memory stays within
//          kPublishQueuedMax, the others fetch, and one that has stopped reading delays nobody.
// Third    a heartbeat that covers what is lacking here and does not come otherwise starts a pull from that peer.
// Cut      the minimum of the members' durable clocks: what lies below is purged. A member that is silent for too long is
//          left out, until it is heard again (node/stable_cut.hpp).
// Full     who has missed what a server purged gets need_full, and takes over all: node/replication_full.cpp.
// Alarm    equal clocks with unequal digests: counted and noted, always; then the shard's buckets are compared, too, and the
//          shard is repaired from that peer (node/reconciliation.hpp), a few times at most.
// Edges    a node that only dials: it and its hub follow each other's logs over its one connection, by questions that stand
//          until there is something to say (node/replication_relay.cpp, docs/decisions/0016-hubs-and-edges.md).
// Members  the table of who belongs to the cluster is data of the configuration domain (node/members.hpp); the node joins
//          it, finds addresses in it, and turns away who is gone for good (node/replication_members.cpp).
// Fence    whoever shows that this writer id is used elsewhere too (it knows own dots that are not here, or writes under
//          the id) ends it: nothing is published under it any more, and the driver must begin anew under another one.
// Pure     frames in, frames out through Transport; time comes in.   Thread: core thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "net/message.hpp"
#include "net/transport.hpp"
#include "node/catch_up.hpp"
#include "node/domain_table.hpp"
#include "node/feed.hpp"
#include "node/lag.hpp"
#include "node/members.hpp"
#include "node/note.hpp"
#include "node/pacing.hpp"
#include "node/pull_cursor.hpp"
#include "node/reconciliation.hpp"
#include "node/stable_cut.hpp"
#include "node/sync_status.hpp"
#include "node/verification.hpp"
#include "store/log.hpp"
#include "store/store.hpp"

namespace skerry {

struct ReplicationOptions {
    std::string cluster;
    std::string name;
    std::string region;
    Role role = Role::core;
    std::string gossip_address;  // as others reach it; empty: an edge, or this node stands alone
    std::string publish_address;
    std::string client_address;
    std::vector<std::string> seeds;        // gossip addresses to connect to
    std::vector<DomainRule> domains = {};  // that are declared here, and held
    // Runs the first on another thread, then the second on the core thread, unless the node has ended. Empty: both at once.
    using Task = std::function<void()>;
    std::function<void(Task work, Task then)> aside;
    std::map<std::string, std::string> found;  // of peers, by name, when this process began anew
    std::uint64_t random_seed = 0;
    std::uint64_t pull_credit_bytes = std::uint64_t{1}
                                      << 20;  // of leaves asked for at once, at most
    MonoTime member_silent_max = std::chrono::hours(24 * 7);  // then a member does not count
    bool repairs = true;                                      // after an alarm, by itself
    MonoTime edge_silent_max = std::chrono::hours(24 * 30);   // the same of an edge
    std::uint64_t full_percent =
        0;                          // of pulls that reconcile in full without need: for simulations
    std::uint64_t all_percent = 0;  // of these, and of others, that do not compare: the same
};

struct ReplicationCounters {
    std::uint64_t batches_applied = 0;
    std::uint64_t batches_parked = 0;
    std::uint64_t batches_dropped = 0;  // duplicates, and what did not fit the bounds
    std::uint64_t fetches = 0;
    std::uint64_t pulls = 0;
    std::uint64_t pulled_chunks = 0;
    std::uint64_t compared = 0;           // pulls that compared, behind a floor
    std::uint64_t reconciled_leaves = 0;  // that came by comparing, behind a floor
    std::uint64_t pulls_full = 0;         // of these: the server had purged what was missed here
    std::uint64_t pulls_resumed = 0;      // of these: went on where an earlier one had stopped
    std::uint64_t fulls_resumed = 0;      // of these: behind a floor
    std::uint64_t compares_resumed = 0;   // of these: while they compared
    std::uint64_t pulls_moved = 0;  // of these that were resumed: at another boot, or another node
    std::uint64_t compared_by_key =
        0;                          // pulls that compared at another boot than they had begun at
    std::uint64_t asked_again = 0;  // requests that were not answered in time
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
    std::uint64_t reconnects = 0;          // to peers that had fallen silent
    std::uint64_t announced_for_backlog = 0;
    std::uint64_t published = 0;
    std::uint64_t refused = 0;    // greetings, by either side; a caller repeats them
    std::uint64_t strangers = 0;  // requests of callers that had not said Hello
    std::uint64_t fences = 0;
    std::uint64_t passed_on = 0;  // batches of edges, published from here
    std::uint64_t hubs_left = 0;  // by this edge, for another one
    std::uint64_t cuts_told = 0;  // to edges
};

struct PeerStatus {
    std::string name, region, address, client_address, link, phase;
    Role role = Role::core;
    ReplicaId writer;
    std::uint64_t lag_events = 0;  // written here or known here, and not durable there
    Lag lag;                       // the part of it that was written here
    std::uint64_t parked_bytes = 0;
    std::int64_t silent_ms = -1;  // since it was last heard; -1 = never
    std::int64_t clock_ms = 0;    // its wall clock, less ours, as its last heartbeat came
    std::string cut;      // holds the stable cut back, level with this node, or left out of it
    std::string trouble;  // why it refuses this node or is refused; empty = nothing is wrong
    std::string found;    // what became of a writer id, its own or this node's; empty = nothing
};

class Replication {
  public:
    static constexpr std::size_t kParkedBytesMax = std::size_t{4} << 20;
    static constexpr MonoTime kParkedMax{500};
    static constexpr std::size_t kParkedCountMax = 4096;
    static constexpr std::size_t kServingMax = 64;
    static constexpr std::uint64_t kPublishQueuedMax = std::uint64_t{32} << 20;
    static constexpr std::uint64_t kAskedBytesMax = std::uint64_t{1} << 20;  // of a log, at once
    static constexpr std::uint64_t kBodyBytesMax = kLogBodyBytesMax;
    static constexpr MonoTime kHeartbeat{1000};
    static constexpr MonoTime kSilentMax{5000};   // then a peer counts as down
    static constexpr WallTime kClockApart{5000};  // further apart is told
    static constexpr MonoTime kStandsMax{
        2000};  // a question of an edge's or its hub's that has no answer yet
    static constexpr MonoTime kResumeWithin{5000};        // at least; and as long as it has taken,
    static constexpr MonoTime kResumeWithinMax{600'000};  // at most

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
    // How long a member may be silent before it leaves the stable cut, and is evicted.
    void set_member_silent_max(MonoTime limit) { options_.member_silent_max = limit; }
    void set_edge_silent_max(MonoTime limit) { options_.edge_silent_max = limit; }
    // Asks the peers to report their durable clocks now (WAIT).
    void ask_clocks();

    // Compares all shards with the peer of that name, or with every peer; take_verdicts() has the end of it.
    enum class VerifyStart : std::uint8_t { begun, under_way, no_such_peer };
    // `repairs`: what differs is repaired, here and there.
    [[nodiscard]] VerifyStart verify(std::optional<std::string_view> name, bool repairs,
                                     MonoTime now);
    [[nodiscard]] std::optional<std::vector<Verdict>> take_verdicts();

    // ---- members
    [[nodiscard]] std::vector<MemberStatus> members(MonoTime now);
    // Does the table say what this node is? Not before it has joined.
    [[nodiscard]] bool joined();
    // Takes a member that is gone out of the cluster for good; by name, or by identity.   Errors: refused, with a sentence.
    [[nodiscard]] Result<void> forget(std::string_view name, MonoTime now);
    // Takes this node out for good.
    void leave();
    // Members that are connected and whose durable clock does not cover this; and is any connected at all?
    [[nodiscard]] std::vector<std::string> lacking(const ShardClocks& clocks, MonoTime now);
    [[nodiscard]] bool hears_members(MonoTime now);
    // The domains that are declared here, and those that the cluster's table has. It only grows.
    [[nodiscard]] const DomainRules& domains() const { return rules_; }
    // Why this node is no member any more, and writes nothing; a sentence.
    [[nodiscard]] const std::optional<std::string>& gone() const { return gone_; }

    // Does the durable clock of at least `count` peers cover this? How many do.
    [[nodiscard]] std::size_t peers_covering(const ShardClocks& clocks) const;
    [[nodiscard]] std::vector<PeerStatus> peers(MonoTime now);
    // What is on its way in bulk: pulls here and from here, logs that are fetched, leaves that join.
    [[nodiscard]] std::vector<SyncStatus> syncs(MonoTime now) const;
    // In which pass behind a purge floor this node is.
    [[nodiscard]] Full full_pass() const { return pull_ ? pull_->full : Full::none; }
    // A sentence, until this node has what the peers that it can reach had as it started.
    [[nodiscard]] std::optional<std::string> catching_up(MonoTime now) const;
    // A pull waits for a checkpoint that is not old.
    [[nodiscard]] bool wants_checkpoint() const { return wants_checkpoint_; }
    void checkpointed() { wants_checkpoint_ = false; }
    [[nodiscard]] const ReplicationCounters& counters() const { return counters_; }
    // Why nothing may be written under this writer id any more. The driver commits nothing from then on,
    // and starts again under a new one: what it has committed is good, and comes back by a pull.
    [[nodiscard]] const std::optional<std::string>& fenced() const { return fenced_; }
    [[nodiscard]] const std::string& fenced_by() const {
        return fenced_by_;
    }  // the peer that showed it
    [[nodiscard]] std::vector<Note> take_notes() { return std::exchange(notes_, {}); }

  private:
    struct Parked {
        StreamPosition previous;
        ShardClocks foreign;
        std::string body;
        std::uint64_t body_bytes = 0;  // more than in `body`: the rest is still to be fetched
        bool is_own = false;           // written here: its position alone counts
    };
    // How a peer is tied to this node: as one of the mesh, as the hub of this edge, or as an edge of this hub.
    enum class Tie : std::uint8_t { mesh, hub, edge };
    // What is known of an edge, here or through a hub that hears it.
    struct Claim {
        ShardClocks least;  // it has at least this durably,
        ShardClocks known;  // and had no more than this when it said so
    };
    struct EdgeReport {
        ReplicaId writer;
        std::string name;
        Holdings holds = {};
        std::shared_ptr<const Claim> claim;
        MonoTime heard_at{};
    };
    // One that has said Hello on a connection of its own.
    struct Caller {
        std::string name;
        LinkId edge;  // 0: not an edge
        Holdings holds = {};
    };
    struct Peer {
        LinkId link;
        std::string address;  // gossip
        bool up = false;
        bool greeted = false;
        bool cut = false;
        MonoTime hello_at{-1'000'000};
        MonoTime heard_at{-1};
        MonoTime known_since{};  // its address, or since it last called
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
        Pacing pacing{kAskedBytesMax};
        std::optional<SyncProgress> fetching;  // since there is something to fetch
        // What it reports.
        ShardClocks durable;
        bool reported = false;
        std::uint64_t reported_by = 0;  // the boot that said so
        std::uint64_t own_events = 0;   // of this node, that it has
        std::string refuses;            // why, if its last word was a refusal
        std::string found;              // as PeerStatus
        MonoTime refuses_noted_at{-1'000'000};
        // Unless it is of the mesh.
        Tie tie = Tie::mesh;
        ConnectionToken token;                 // of an edge
        std::optional<FetchRequest> standing;  // its question, to which there is no answer yet,
        StreamPosition
            standing_from;  // as it asked; what holds nothing for it is passed over since
        MonoTime standing_since{};
        MonoTime answered_at{-1'000'000};       // the one before it, or it was looked for in vain
        LogPosition looked_to;                  // nothing for it up to here
        bool idle = false;                      // the last answer from there had nothing
        std::uint64_t beats = 0;                // heartbeats sent to it since it was greeted
        std::uint64_t beat_heard = 0;           // the number of the last one from it
        bool vouch_due = false;                 // its last report may not be covered here
        std::shared_ptr<const Claim> vouched;   // of an edge: the last that is covered here
        std::shared_ptr<const StableCut> told;  // to an edge
        std::uint64_t told_at_beat = 0;
    };
    // A caller that was not let in.
    struct Refused {
        Introduction who;
        std::string why;
        MonoTime at{};
        MonoTime noted_at{};
    };
    struct PullSession {
        explicit PullSession(Pacing pace) : pacing(pace) {}
        LinkId link;
        std::uint64_t session = 0;
        std::uint64_t nonce = 0;
        std::uint64_t request = 0;
        ShardClocks base;
        ShardClocks target;       // what the pull is for: a checkpoint without it will not do
        ShardClocks pass_clocks;  // at the first chunk of this pass
        ShardClocks seen;         // at the last chunk, and what is staged from a comparison
        std::string cursor;
        std::string part;         // of a leaf that comes in pieces,
        std::string part_cursor;  // before its first piece
        std::uint64_t part_hash = 0;
        MonoTime asked_at{};    // last
        MonoTime turn_began{};  // when first asked
        Pacing pacing;
        std::string reason;
        SyncProgress progress;
        bool whole = false;  // all leaves come, and nothing foreign is applied until the flip
        Full full = Full::none;
        std::uint64_t foreign = 0;  // whole: what of others was here as it began
        bool moved = false;         // more than one boot has served it
        bool comparing = false;     // has begun
        ShardClocks compared;       // Full::comparing: the shards to compare, and the base in them
        std::vector<CompareRun> runs;  // of these, what was left when it was last noted
        MonoTime noted_at{};           // when
        RowAddress absent_from;        // keys behind it are still to be looked at
        ShardClocks floors;            // of all servers so far: they join at the flip
        LogPosition staged;            // goes on once this is durable
        bool waiting_durable = false;
        bool flipping = false;
        std::optional<PullChunk> last;  // the final chunk, to flip to
    };

    Peer& peer_at(const std::string& address, MonoTime now);
    Peer* peer_of(LinkId link);
    [[nodiscard]] bool is_cut(std::string_view name) const;
    [[nodiscard]] Introduction introduction(const Holdings* of = nullptr) const;
    void send(LinkId link, const Message& message);
    void greet(Peer& peer, MonoTime now);
    void watch_silence(Peer& peer, MonoTime now);
    void note_clock(Peer& peer, const Heartbeat& heartbeat, MonoTime now);
    [[nodiscard]] bool backlogged();
    void note(NoteLevel level, std::string event,
              std::vector<std::pair<std::string, std::string>> fields);

    void on_request(const ConnectionToken& from, const Message& message, MonoTime now);
    void turn_away(const ConnectionToken& from, MonoTime now);
    void on_hello(const ConnectionToken& from, const Hello& hello, MonoTime now);
    [[nodiscard]] std::optional<Refuse> refusal(const Introduction& who, MonoTime now);
    [[nodiscard]] const Peer* same_name(const Introduction& who, MonoTime now) const;
    void refuse(const ConnectionToken& from, const Introduction& who, const Refuse& refuse,
                MonoTime now);
    void on_refuse(Peer& peer, const Refuse& refuse, MonoTime now);
    void on_pull_request(const ConnectionToken& from, const PullRequest& request, MonoTime now);
    void serve(const ConnectionToken& from, const PullRequest& request, MonoTime now);
    void reply_served(const ConnectionToken& from, const PullRequest& request,
                      const PullChunk& chunk, std::string frame, MonoTime now);
    [[nodiscard]] bool serves_target(const PullRequest& request,
                                     const ShardClocks& checkpoint) const;
    void on_body_request(const ConnectionToken& from, const BodyRequest& request);
    void on_peer(Peer& peer, Message message, const Incoming& incoming, MonoTime now);
    void on_reply(Peer& peer, Message message, std::uint64_t bytes, MonoTime now);
    void note_renewed(Peer& peer, const Introduction& now);
    void on_hello_ok(Peer& peer, HelloOk& hello, MonoTime now);
    void on_fetch_reply(Peer& peer, FetchReply& reply, std::uint64_t bytes, MonoTime now);
    void on_body_reply(Peer& peer, BodyReply& reply, std::uint64_t bytes, MonoTime now);
    void on_pull_chunk(Peer& peer, PullChunk& chunk, std::uint64_t bytes, MonoTime now);
    void on_published(Peer& peer, Message message, MonoTime now);
    void on_heartbeat(Peer& peer, const Heartbeat& heartbeat, MonoTime now);
    void learn(const std::vector<std::string>& addresses, MonoTime now);
    void report(Peer& peer, std::uint64_t nonce, ShardClocks durable, MonoTime now);
    // Does it know dots of this writer that are not here?
    void check_own_dots(const ShardClocks& theirs, const std::string& peer);
    // Over the shards that a heartbeat names.
    void report_changed(Peer& peer, const Heartbeat& heartbeat);
    void fence(std::string why, const std::string& shown_by);
    [[nodiscard]] std::uint64_t own_events(const ShardClocks& clocks) const;
    [[nodiscard]] PeerStatus status_of(const Peer& peer, const ShardClocks& durable, MonoTime now);
    void count_own_events(const Commit& commit, MonoTime now);

    void park(Peer& peer, StreamPosition position, Parked item, MonoTime now);
    void drain(Peer& peer, MonoTime now);
    void drain_all(MonoTime now);
    // False: the body is not a batch of this peer's.
    bool apply(Peer& peer, StreamPosition position, const Parked& item);
    void fetch(Peer& peer, StreamPosition to, MonoTime now);
    void fetch_body(Peer& peer, MonoTime now);
    // Is a question under way that may still be answered?
    [[nodiscard]] bool in_flight(const Peer& peer, MonoTime now) const;
    // True: ask, under that number.
    [[nodiscard]] bool may_ask(Peer& peer, std::uint64_t& request, MonoTime now);
    void answered(Peer& peer, std::uint64_t records, std::uint64_t bytes, MonoTime now);
    [[nodiscard]] bool too_large(Peer& peer, StreamPosition position, std::uint64_t body_bytes,
                                 MonoTime now);
    void stop_following(Peer& peer);

    void start_pull(Peer& peer, std::string reason, MonoTime now);
    [[nodiscard]] bool covers(const Peer& peer, const ShardClocks& clocks) const;
    // The peer to pull from: the one whose pull has been begun, if there is one; nullptr: wait for it.
    Peer* peer_to_pull(Peer& peer, std::optional<PullCursor>& resumed, MonoTime now);
    Peer* peer_to_resume(const PullCursor& cursor);
    void resume(PullCursor cursor, const Peer& source);
    // Until then somebody who can go on is waited for.
    [[nodiscard]] MonoTime resume_end(const PullCursor& cursor) const;
    void ask_pull(MonoTime now);
    // What is staged stays, for a pull that goes on from there.
    void interrupt_pull(std::string_view why, MonoTime now);
    void end_pull(std::string_view why);
    // Can the pull go on with this chunk? If not, it has ended, or asks again later.
    [[nodiscard]] bool goes_on_with(const Peer& peer, const PullChunk& chunk, MonoTime now);
    void move_pull(MonoTime now);
    // The staged leaves of a chunk; nullopt: it ends the pull, or the question is put again.
    std::optional<Stage> stage_of(PullChunk& chunk, MonoTime now);
    enum class Part : std::uint8_t { taken, changed, unsound };
    Part take_part(const LeafPart& part, Stage& stage);
    void end_pass(PullChunk& chunk);
    void ask_pull_again(MonoTime now);
    void note_progress(MonoTime now);
    [[nodiscard]] SyncStatus pull_status(MonoTime now) const;
    [[nodiscard]] SyncStatus waiting_status(MonoTime now) const;
    void step_catch_up(MonoTime now);
    void continue_pull(MonoTime now);
    void finish_flip(MonoTime now);

    [[nodiscard]] const Peer* peer_of_member(const Member& row) const;
    [[nodiscard]] bool hears(const Member& row, MonoTime now) const;
    [[nodiscard]] std::optional<Refuse> refusal_of_gone(const Introduction& who);
    void become_gone(std::string why);
    [[nodiscard]] Member own_row() const;
    // Those who have this node's name and are not heard.
    [[nodiscard]] std::vector<Member> namesakes(MonoTime now);
    void aim_to_join(const Heartbeat& heartbeat, MonoTime now);
    [[nodiscard]] bool may_join(MonoTime now);
    void step_members(MonoTime now);
    void step_own_row(MonoTime now);
    void follow_table(MonoTime now);
    void drop_strangers(const std::vector<std::string>& addresses, MonoTime now);
    [[nodiscard]] bool is_address_of_gone(const std::string& address);
    void evict_silent(MonoTime now);
    // ---- replication_reconcile.cpp
    // Tells how repairs between this node and one peer have gone, in one shard.
    struct Repairs {
        std::uint64_t count = 0;
        bool found = false;  // something, one of them
        MonoTime next_at{};
        bool told = false;
    };
    using RepairPlace = std::pair<LinkId, ShardId>;
    struct WantedRepair {
        RepairPlace place;
        bool back = false;  // the peer mends itself, too
    };
    void put_repair_off();
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

    [[nodiscard]] Heartbeat heartbeat() const;
    void publish_heartbeat(MonoTime now);
    void compare_digests(const Peer& peer, const Heartbeat& heartbeat, MonoTime now);
    void on_digest_request(const ConnectionToken& from, const DigestRequest& request);
    void send_verification();

    // ---- replication_full.cpp
    [[nodiscard]] bool floors_within_pull(const ShardClocks& floors) const;
    // While a pull takes over all, and while one that was interrupted waits to go on.
    [[nodiscard]] bool keeps_foreign_out() const;
    [[nodiscard]] std::uint64_t foreign_here() const;
    void step_waiting(MonoTime now);
    [[nodiscard]] std::string cursor_now(MonoTime now) const;
    void join_seen(const ShardClocks& clocks);
    void note_compared(MonoTime now);
    void join_floors(const ShardClocks& floors);
    void on_need_full(const Peer& peer, const ShardClocks& floors, MonoTime now);
    void begin_full(Full full, MonoTime now);
    [[nodiscard]] bool by_chance(std::uint64_t percent) {
        return percent != 0 && random_() % 100 < percent;
    }
    void compare_in_full(MonoTime now);
    void stop_comparing();
    void full_compared(Reconciliation::Outcome& outcome, MonoTime now);
    // What the server lacks is staged, too. False: there is more.
    [[nodiscard]] bool stage_absent();

    // ---- replication_relay.cpp: both ends of an edge's connection
    [[nodiscard]] bool alone() const {
        return options_.gossip_address.empty() && options_.role != Role::edge;
    }
    void answer(const ConnectionToken& to, std::string frame);
    [[nodiscard]] Peer* tied_caller(const ConnectionToken& from);
    void on_edge_hello(const ConnectionToken& from, const Hello& hello, MonoTime now);
    Peer& edge_peer(const Introduction& who, MonoTime now);
    void on_fetch_request(const ConnectionToken& from, const FetchRequest& request, MonoTime now);
    [[nodiscard]] FetchReply fetched(const FetchRequest& request, const Asker& asker) const;
    [[nodiscard]] Asker asker_of(const ConnectionToken& from);
    void serve_standing(Peer& peer, MonoTime now);
    void serve_all_standing(MonoTime now);
    void step_tied(MonoTime now);
    void beat(Peer& peer, const Heartbeat& all, const Heartbeat& changed);
    [[nodiscard]] Heartbeat changed_since_last(const Heartbeat& all);
    void vouch(Peer& peer, MonoTime now);
    void list_edges(Heartbeat& heartbeat, MonoTime now) const;
    void note_edges(const Peer& hub, const Heartbeat& heartbeat, MonoTime now);
    void tell_cut(Peer& edge);

    // ---- replication_edge.cpp: what an edge alone does
    [[nodiscard]] Peer* hub();
    [[nodiscard]] std::vector<std::string> hub_addresses();
    void step_hub(MonoTime now);
    void on_stable(const Stable& stable);

    // ---- replication_domains.cpp
    // Takes out what is of shards that are not held here.
    void keep_held(ShardClocks& clocks) const;
    void keep_held(Message& message) const;
    [[nodiscard]] bool shares(const Peer& peer, ShardId shard) const {
        return peer.who.holds.holds(shard, store_.slot_shard_count()) && store_.holds(shard);
    }
    [[nodiscard]] std::vector<ShardId> shared_with(const Peer& peer) const;
    // Of clocks, digests or the like, by shard: what the peer holds, too.
    template <class ByShard>
    void keep_shared(const Peer& peer, ByShard& list) const {
        std::erase_if(list, [&](const auto& pair) { return !shares(peer, pair.first); });
    }
    [[nodiscard]] std::optional<Refuse> refusal_of_domains(const Introduction& who) const;
    void step_domains(MonoTime now);
    void learn_domains();
    void declare_domains(MonoTime now);
    [[nodiscard]] const Holdings& holdings_of(const Peer& peer);
    [[nodiscard]] std::uint64_t own_events_elsewhere(const Peer& peer) const;

    // ---- replication_cut.cpp
    void add_edges(std::vector<CutMember>& members, MonoTime now);
    [[nodiscard]] bool is_name_of_another(const std::string& name, MemberId id);
    [[nodiscard]] MonoTime silent_max(Role role) const {
        return role == Role::edge ? options_.edge_silent_max : options_.member_silent_max;
    }
    // When the member was last heard, be it through a hub; before the start of time: never.
    [[nodiscard]] MonoTime heard_at(const Member& row) const;
    // When a peer at the address has been known for the first time, or heard the last time before this process.
    [[nodiscard]] MonoTime known_since(const std::string& address, MonoTime now);
    [[nodiscard]] bool has_said(const Peer& peer) const;
    [[nodiscard]] const Member* row_of(const Peer& peer);
    [[nodiscard]] bool counts(const Peer& peer, MonoTime now);
    [[nodiscard]] bool superseded(const Member& row, MonoTime now);
    void note_active(MonoTime now);
    // Since when the table says that the member is silent, by this process's clock.
    [[nodiscard]] MonoTime silent_since(const Member& row, MonoTime now) const;
    [[nodiscard]] bool replaced(const Peer& peer) const;
    void update_stable_cut(MonoTime now);

    Store& store_;
    Log& log_;
    const Kv& kv_;
    Transport& transport_;
    ReplicationOptions options_;
    std::mt19937_64 random_;
    std::map<LinkId, Peer> peers_;
    std::map<ConnectionToken, Caller> callers_;  // by the connection that said Hello
    std::uint64_t links_ = 0;
    std::uint64_t requests_ = 0;
    std::optional<PullSession> pull_;
    MonoTime resume_until_{};   // somebody who can go on with an interrupted pull is waited for
    bool whole_waits_ = false;  // one that takes over all
    ServedPulls served_pulls_;
    std::size_t serving_ = 0;  // read aside just now
    CatchUp catch_up_;
    Verification verification_;
    bool verify_asked_ = false;    // by a client, who wants the verdicts
    bool verify_repairs_ = false;  // and that what differs is repaired
    Reconciliation reconciliation_;
    std::optional<WantedRepair> repairing_;
    std::map<RepairPlace, bool> wanted_repairs_;  // back
    std::map<RepairPlace, Repairs> repairs_;
    bool wants_checkpoint_ = false;
    bool backlogged_ = false;
    bool paused_ = false;
    struct ServedBody {
        LogPosition position;
        Holdings holds;  // of those who ask
        std::string bytes;
    };
    ServedBody served_body_;
    MonoTime heartbeat_at_{-1'000'000};
    CutMeter cut_;
    MonoTime cut_at_{-1'000'000};
    std::map<std::string, Refused> refused_;  // by gossip address, or place_of() an edge
    std::optional<MonoTime> strangers_noted_at_;
    std::optional<std::string> fenced_;
    MemberTable members_;
    DomainTable domain_table_;
    DomainRules rules_;
    std::optional<ShadowSearch> shadow_search_;     // before one is declared
    std::map<DomainNumber, MonoTime> domain_told_;  // what stands in its way
    std::optional<std::string> gone_;
    std::optional<ShardClocks> join_target_;  // what a peer had at
    MonoTime join_target_at_{};
    std::map<MemberId, EdgeReport> edges_;       // that were heard since the start
    std::shared_ptr<const StableCut> cut_told_;  // of a hub: the store's, for its edges
    ShardClocks beaten_;                         // durable at the last heartbeats to tied peers
    MonoTime beaten_at_{-1'000'000};
    std::map<std::uint64_t, StreamPosition>
        followed_;             // of an edge: how far in the log of a hub's boot
    std::string hub_address_;  // of an edge: the last one chosen
    MonoTime hub_patience_{};
    std::optional<StableCut> stable_told_;  // to an edge
    struct Active {
        MonoTime since;
        bool silent;  // says the table
    };
    std::map<MemberId, Active> active_;  // of the others: since when the row is seen so
    MonoTime members_looked_at_{-1'000'000};
    MonoTime started_at_{};
    MonoTime returned_at_{-1'000'000};
    std::string fenced_by_;
    LagMeter lag_;
    std::map<ShardId, Seq> own_committed_;
    std::uint64_t own_event_count_ = 0;         // their sum
    std::map<ShardId, std::uint64_t> alarmed_;  // digest of ours that was reported already
    ReplicationCounters counters_;
    std::vector<Note> notes_;
};

}  // namespace skerry
