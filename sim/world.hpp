// sim/world.hpp — a cluster in one thread and in no time: everything that happens follows from one seed.
//
// Events   one queue of virtual milliseconds; ties go in the order scheduled. Nothing reads a clock or a random device.
// Nodes    the product's own Store, Database and Replication, driven as node/node.cpp drives them, on a SimDisk and a
//          SimTransport. Commits become durable after a while, checkpoints are written after a while, nodes crash, stop
//          cleanly, come back, or never do; clocks are skewed; memory may be far too small.
// Mishaps  a swarm: each seed goes through a random subset of them, with random weights (sim/mishaps.cpp).
// Checks   at every event: clocks never fall, equal clocks have equal digests, no alarm, nothing halts. After a crash:
//          all that was durable is there. At the end, with every fault gone: docs/SIMULATION.md.
// Sabotage breaks the driver on purpose, never the product: each switch must make some seed fail. The shortcuts within
//          the product are those of crdt/shortcut.hpp.
// Source   swarm testing: Groce et al., "Swarm Testing", ISSTA 2012.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "node/database.hpp"
#include "node/replication.hpp"
#include "sim/disk.hpp"
#include "sim/network.hpp"

namespace skerry::sim {

inline constexpr Millis kQuietMax =
    240'000;  // with no fault any more, everybody agrees by then: chunks may hold one leaf

struct Sabotage {
    bool publish_before_durable = false;  // and a crash loses what others have
    bool acknowledge_before_durable = false;
    bool reuse_writer = false;  // publishes early too, and writes under the old id after the crash
    bool checkpoint_before_durable = false;  // the ordered store gets ahead of the log
    bool drop_log_early = false;             // before the checkpoint that covers it is written
    bool lose_rows = false;                  // a checkpoint leaves out a row
    bool restore_keeps_writer = false;       // a restored snapshot goes on under its id
    bool remove_locally = false;             // a removal that is no event: no dot, no marker
    bool lose_row_at_end = false;            // and CRDT.VERIFY must name its shard and bucket
    enum class Rot : std::uint8_t { none, silent, in_use };
    Rot rot_at_end =
        Rot::none;  // rows are lost and changed at one node, and a repair must bring them back
    SimKv::Halves halves = SimKv::Halves::together;  // a checkpoint is written in two transactions
};

struct Coverage {
    std::uint64_t commands = 0, applied = 0, fetches = 0, parked = 0, pulls = 0, flips = 0,
                  chunks = 0, malformed = 0, checkpoints = 0, evicted = 0;
    std::uint64_t crashes = 0, lost_commits = 0, clean_stops = 0, late_nodes = 0, reads_held = 0;
    std::uint64_t quick_commits = 0, taken_back = 0, drills = 0, clocks_ahead = 0;
    std::uint64_t refused_writes = 0, deletes_when_full = 0, pauses = 0, failed_appends = 0,
                  failed_syncs = 0, failed_checkpoints = 0;
    std::uint64_t lost_disks = 0, ahead_of_log = 0, restored_disks = 0, rot_reported = 0,
                  rot_cut = 0;
    std::uint64_t waits = 0, waits_survived = 0;
    std::uint64_t verified = 0, damage_named = 0;
    std::uint64_t evicted_members = 0, forgotten = 0, forgotten_alive = 0, forgets_refused = 0,
                  left = 0, told_gone = 0, refused_as_gone = 0;
    std::uint64_t rotten_rows = 0, repairs = 0, repaired_leaves = 0, alarms = 0;
    // An end is a crash or a stop.
    std::uint64_t resumed = 0, moved = 0, drains = 0, drained_by_touch = 0,
                  drained_in_background = 0, ends_while_staging = 0, ends_while_draining = 0,
                  images_while_draining = 0, asked_while_draining = 0;
    std::uint64_t purged = 0, pulls_full = 0, compared = 0, reconciled_leaves = 0, absences = 0,
                  left_out = 0, floors_checked = 0, purged_at_end = 0;
    std::uint64_t fulls_resumed = 0, compares_resumed = 0, compared_by_key = 0, broken_off = 0;
    std::uint64_t edges = 0, passed_on = 0, hubs_left = 0, cuts_told = 0, edges_purged = 0;
    std::uint64_t flushes = 0, flushes_measured = 0;
    std::uint64_t clears = 0, masks_measured = 0, masks_dropped = 0, reclaimed = 0,
                  ends_while_masked = 0, asked_while_masked = 0;
};

// For whoever adds them up. The name is what it counts.
struct Counted {
    std::string_view name;
    std::uint64_t Coverage::* count;
};
inline constexpr Counted kCounted[] = {
    {"commands", &Coverage::commands},
    {"batches applied", &Coverage::applied},
    {"fetches", &Coverage::fetches},
    {"batches parked", &Coverage::parked},
    {"pulls", &Coverage::pulls},
    {"flips", &Coverage::flips},
    {"chunks that were not the last of their pass", &Coverage::chunks},
    {"damaged frames", &Coverage::malformed},
    {"checkpoints", &Coverage::checkpoints},
    {"rows dropped from memory", &Coverage::evicted},
    {"crashes", &Coverage::crashes},
    {"commits under way in a crash", &Coverage::lost_commits},
    {"clean stops", &Coverage::clean_stops},
    {"commits made durable on the spot", &Coverage::quick_commits},
    {"crashes that took back what was published", &Coverage::taken_back},
    {"drills", &Coverage::drills},
    {"clock readings too far ahead", &Coverage::clocks_ahead},
    {"nodes that joined late", &Coverage::late_nodes},
    {"reads that waited for a commit", &Coverage::reads_held},
    {"writes refused on a full disk", &Coverage::refused_writes},
    {"deletes on a full disk", &Coverage::deletes_when_full},
    {"pauses of remote batches", &Coverage::pauses},
    {"failed appends", &Coverage::failed_appends},
    {"failed syncs", &Coverage::failed_syncs},
    {"failed checkpoints", &Coverage::failed_checkpoints},
    {"lost disks", &Coverage::lost_disks},
    {"checkpoints ahead of a log that was never synced", &Coverage::ahead_of_log},
    {"restored disks", &Coverage::restored_disks},
    {"logs refused for rot", &Coverage::rot_reported},
    {"logs whose rotten end was cut", &Coverage::rot_cut},
    {"WAITs answered", &Coverage::waits},
    {"writes that outlived their disk because of WAIT", &Coverage::waits_survived},
    {"pulls that went on where one had stopped", &Coverage::resumed},
    {"pulls that went on at another boot or node", &Coverage::moved},
    {"flips drained", &Coverage::drains},
    {"leaves drained by a touch", &Coverage::drained_by_touch},
    {"leaves drained in the background", &Coverage::drained_in_background},
    {"processes that ended with staged leaves", &Coverage::ends_while_staging},
    {"processes that ended in a drain", &Coverage::ends_while_draining},
    {"checkpoints in a drain", &Coverage::images_while_draining},
    {"requests in a drain", &Coverage::asked_while_draining},
    {"clears", &Coverage::clears},
    {"clears that did not cover all", &Coverage::masks_measured},
    {"clears of a database in a shard", &Coverage::flushes},
    {"of these, that did not cover all", &Coverage::flushes_measured},
    {"masks dropped", &Coverage::masks_dropped},
    {"masked rows reclaimed", &Coverage::reclaimed},
    {"processes that ended with masked rows", &Coverage::ends_while_masked},
    {"requests while rows were masked", &Coverage::asked_while_masked},
    {"members evicted", &Coverage::evicted_members},
    {"members forgotten", &Coverage::forgotten},
    {"members forgotten though they run", &Coverage::forgotten_alive},
    {"members not forgotten, since they are connected or none", &Coverage::forgets_refused},
    {"members that left", &Coverage::left},
    {"nodes that heard that they are no members", &Coverage::told_gone},
    {"writes refused by a node that is no member", &Coverage::refused_as_gone},
    {"shards compared by CRDT.VERIFY", &Coverage::verified},
    {"leaves purged", &Coverage::purged},
    {"pulls behind a floor", &Coverage::pulls_full},
    {"comparisons for a pull", &Coverage::compared},
    {"leaves that came by comparing", &Coverage::reconciled_leaves},
    {"full reconciles that went on where one had stopped", &Coverage::fulls_resumed},
    {"of these, while they compared", &Coverage::compares_resumed},
    {"comparisons with another boot than had served the first pass", &Coverage::compared_by_key},
    {"full reconciles broken off", &Coverage::broken_off},
    {"long absences", &Coverage::absences},
    {"cuts that a silent member had left", &Coverage::left_out},
    {"floors compared with every member's clock", &Coverage::floors_checked},
    {"worlds that ended without a tombstone", &Coverage::purged_at_end},
};

// Of worlds with edges, beside.
inline constexpr Counted kCountedOfFleets[] = {
    {"edges", &Coverage::edges},
    {"batches of edges that hubs passed on", &Coverage::passed_on},
    {"hubs that an edge left for another", &Coverage::hubs_left},
    {"stable cuts told to edges", &Coverage::cuts_told},
    {"leaves purged by edges", &Coverage::edges_purged},
};

// Which nodes there are: cores alone; hubs and edges among them, which hold all or different domains; three hubs and forty or two hundred edges.
enum class Shape : std::uint8_t { mesh, fleet, domains, fleet_of_40, fleet_of_200 };

struct Outcome {
    std::optional<std::string> failure;  // with the virtual time at which it was found
    std::uint64_t trace = 0;             // of everything that happened: equal for equal seeds
    Coverage coverage;
};

class World {
  public:
    // `story`, if given, gets a line for everything worth telling.
    World(std::uint64_t seed, Sabotage sabotage, std::string* story = nullptr,
          Shape shape = Shape::mesh);
    ~World();
    [[nodiscard]] Outcome run();

  private:
    enum class Mishap : std::uint8_t {
        crash,
        stop,
        cut,
        fill_disk,        // nearly: the node's reserve is left
        exhaust_disk,     // to the last byte: the log fails
        fail_sync,        // once
        fail_checkpoint,  // once
        rot,              // a bit of the log turns while the process is down
        lose_disk,
        drill,   // CRDT.DRILL: the node is told to hear nothing of another
        forget,  // CRDT.FORGET of another, which is down, or cut off, or about to come back
        leave,   // CRDT.LEAVE
        take_snapshot,
        restore_snapshot,
        absence,  // so long that the others count it out: down, or cut off while its clients write on
    };
    static constexpr std::size_t kMishaps = 15;
    static constexpr DomainNumber kSimDomains = 2;
    struct Plan {
        std::size_t node_count;
        std::size_t late_count;     // nodes of these that join later
        std::uint16_t shard_count;  // of the slots
        Millis duration;
        Millis command_every;
        Millis sync_max;              // how long a commit takes at most
        Durability durability;        // unless always, published when written
        std::uint64_t quick_percent;  // of commits that are waited for on the spot
        WallTime drift_max;           // a clock further ahead is not absorbed
        std::size_t memory_bytes;
        std::uint64_t pull_credit_bytes;
        std::size_t flip_bytes_max;        // larger ones are drained
        std::size_t step_leaves;           // that many at a tick, at most
        std::uint64_t clear_above;         // elements: more of them go by a clear
        std::uint64_t bulk_percent;        // of commands: they write many keys or elements
        std::uint64_t checkpoint_percent;  // of ticks
        std::uint64_t drop_percent;        // of checkpoints after which the log is cut
        std::uint64_t big_percent;         // of values larger than a published frame
        std::uint64_t wait_percent;        // of writes after which the client says WAIT
        Millis mishap_every;
        std::array<std::uint64_t, kMishaps> weights;  // 0: does not happen in this world
        bool may_die;                                 // one node may never come back
        bool knows_all;  // every node is told of every other one, also of those that come later
        std::uint64_t full_percent;      // of pulls that compare without need
        std::uint64_t all_percent;       // of pulls behind a floor that do not compare
        bool flushes = false;            // clients say FLUSHDB
        std::uint64_t break_percent;     // of ticks in a full reconcile at which it is broken off
        Millis silent_max;               // then a member counts no more; 0: never
        std::vector<Role> roles;         // by node; none: all are cores
        std::vector<Holdings> holdings;  // by node; none: all hold main alone
        Millis grow_at;                  // cores that are started later hold all domains
        // Numbers of shards, those between that nobody holds among them.
        [[nodiscard]] std::uint16_t shards() const {
            if (holdings.empty()) return static_cast<std::uint16_t>(shard_count + 1);
            const ShardRun last = run_of_domain(kSimDomains, shard_count);
            return static_cast<std::uint16_t>(last.first.value + last.count);
        }
    };
    struct Snapshot {
        SimDisk disk;
        ReplicaId writer;
    };
    // The reply to a read, which may go out once `at` is durable.
    struct Read {
        LogPosition at;
        ShardId shard;
        VersionVector seen;
    };
    // A client that waits until `count` others hold written_[written] durably.
    struct Wait {
        std::size_t written;
        std::size_t count;
        Millis since;
    };
    struct Node {
        NodeIndex index = 0;
        SimDisk disk;
        std::optional<Snapshot> snapshot;
        std::optional<bool>
            rotten;  // a bit has turned since the last start; true: it must be reported
        ReplicaId writer;
        std::uint64_t boot =
            0;  // of this run of the process; what was scheduled for another one is dropped
        bool joined = false;
        bool dead = false;                   // for good
        bool ended_cleanly = false;          // its token says so
        std::optional<ShardClocks> leaving;  // what others must have before it leaves
        bool holds_all = false;              // it has been started with more domains
        bool told_gone = false;              // that it is no member, in this run of the process
        bool full = false;                   // as the node itself last saw its disk
        bool rots = false;                   // rows of its disk have rotted, and are not mended
        Millis disk_lost_at = -1;            // or set back
        Millis skew = 0;
        std::unique_ptr<SimTransport> transport;
        std::unique_ptr<Store> store;
        std::unique_ptr<Database> database;
        std::unique_ptr<Replication> replication;
        std::deque<Commit> commits;  // the first is on its way to the disk
        std::deque<Read> reads;      // held
        std::vector<Wait> waits;
        bool writing_checkpoint = false;
        Millis checkpoint_retry_at = 0;
        Millis disk_checked_at = 0;
        Millis synced_at = 0;
        bool unsynced = false;                   // its log has lost what it had taken for durable
        std::vector<VersionVector> seen_clocks;  // at the last event
        std::vector<VersionVector> seen_floors;
        ShardClocks durable_at_crash;
        std::vector<VersionVector> reached;  // what was ever durable here, on disks now lost, too
        std::vector<VersionVector> excused;  // of an edge: purged by those who did not know it
        std::map<std::string, Millis> known_edges;
        [[nodiscard]] bool running() const { return store != nullptr; }
    };
    struct Event {
        Millis at;
        std::uint64_t order;
        std::function<void()> action;
        bool operator>(const Event& other) const {
            return std::tie(at, order) > std::tie(other.at, other.order);
        }
    };
    // One increment, or one member of a set that only grows.
    struct Written {
        std::string place;  // key, or key and field
        bool deletable = false;
        DatabaseId database = 0;
        ShardId shard;
        ReplicaId writer;
        Seq first, last;  // its dots
        std::int64_t amount = 0;
        std::string member;
        std::vector<NodeIndex> holders;  // when a WAIT was answered for it
        Millis held_at = 0;
    };
    // Of a hash that is cleared, or a database: what the deleting node had seen counts no more.
    struct Deleted {
        Written removal;
        bool database = false;
        VersionVector seen;
    };

    // ---- world.cpp: time and nodes
    void schedule(Millis delay, std::function<void()> action);
    void on_node(Node& node, Millis delay, std::function<void()> action);
    void run_until(Millis end);
    void start(Node& node);
    void open(Node& node);
    void start_later(Node& node);
    void stop_process(Node& node);
    void crash(Node& node);
    void stop_cleanly(Node& node);
    void log_failed(Node& node);
    void lose_tail(Node& node);
    void check_disk(Node& node);
    void receive(NodeIndex to, Incoming incoming);
    void tick(Node& node);
    void end_of_event(Node& node);
    void commit(Node& node, bool even_if_busy);
    void write_commit(Node& node);
    [[nodiscard]] bool sync(Node& node);
    void commit_done(Node& node);
    void step_checkpoint(Node& node);
    void write_checkpoint(Node& node);
    void set_now(Node& node);
    [[nodiscard]] MonoTime mono(const Node& node) const {
        return MonoTime(now_ + static_cast<Millis>(node.index) * 777);
    }

    // ---- mishaps.cpp
    void make_plan();
    void weigh_mishaps();
    void plan_breaks();
    void schedule_all();
    void mishap();
    void happen(Mishap what, Node& node);
    void cut_link();
    void be_absent(Node& node);
    void break_off(Node& node);
    void drill(Node& node);
    void fill_disk(Node& node, Room room);
    void lose_disk(Node& node);
    void restore(Node& node);
    void excuse(Node& node);
    void heal();

    // ---- fleet.cpp
    [[nodiscard]] Role role_of(NodeIndex index) const {
        return plan_.roles.empty() ? Role::core : plan_.roles[index];
    }
    void plan_fleet();
    void plan_domains();
    [[nodiscard]] bool is_small_fleet() const {
        return shape_ == Shape::fleet || shape_ == Shape::domains;
    }
    [[nodiscard]] Holdings holdings_at_first(NodeIndex index) const {
        return plan_.holdings.empty() ? Holdings{} : plan_.holdings[index];
    }
    [[nodiscard]] Holdings holdings_of(Node& node) const;
    void plan_large_fleet();
    void hide_edges();
    void schedule_absences(NodeIndex edge);
    void be_cut_off(NodeIndex edge, bool away);
    void crash_hub();
    void schedule_fleet();
    void cut_off_hub();
    void add_roles(const Node& node, ReplicationOptions& options);
    void note_known_edges(Node& node);
    [[nodiscard]] bool may_lack(Node& other, const Node& by, ShardId shard,
                                const VersionVector& purged);

    // ---- members.cpp
    void forget_some(Node& at);
    void forget(Node& at, Node& of);
    void serve_leave(Node& node);
    void serve_gone(Node& node);
    void bury();
    void check_members();
    [[nodiscard]] bool names_linger(Node& node);

    // ---- workload.cpp
    void some_commands(Node& node);
    void choose_home(Node& node);
    void command(Node& node);
    void command_when_full(Node& node);
    void remove_locally(Node& node, DatabaseId db, const std::string& key);
    void command_on_key(Node& node, DatabaseId db, const std::string& key);
    void command_on_collection(Node& node, DatabaseId db, const std::string& key);
    void counted_command(Node& node);
    void delete_counters(Node& node);
    void flush(Node& node, DatabaseId db);
    void remove_keys(Node& node, DatabaseId db);
    [[nodiscard]] bool is_flushed(DatabaseId db) const;
    void bulk_command(Node& node);
    void note_written(Node& node, const std::string& key, Written written, Seq before);
    void read(Node& node);
    void release_reads(Node& node);
    void serve_waits(Node& node);
    [[nodiscard]] std::string some_value();

    // ---- compare.cpp
    [[nodiscard]] std::vector<Verdict> verdicts_of(Node& node, bool repairs = false);
    void checkpoint_by_hand(Node& node);
    void compare_healthy();
    void compare_damaged();

    // ---- rot.cpp
    void mend_rot();
    void follow_all();
    void use_rotten();
    void check_mended();

    // ---- checks.cpp
    void check_event(Node& node);
    void check_counts(Node& node);
    void check_floor(Node& node, ShardId shard);
    void check_purged();
    void check_reopened(Node& node);
    void check_leaves(Node& node, ShardId shard);
    void acknowledge(Node& node, const ShardClocks& clocks);
    [[nodiscard]] static bool holds(const Node& node, ShardId shard, const Dot& dot);
    // Of those that the workload writes, and the configuration, what the node holds.
    [[nodiscard]] static std::vector<DatabaseId> databases_of(const Node& node);
    [[nodiscard]] bool quiet();
    void check_end();
    void check_clocks();
    void check_waits();
    void check_counted(Node& node);
    void check_rows(Node& node);
    std::uint64_t tombstones_of(Node& node, const KeyRecord& record);
    void check_sums(const Node& node, const KeyRecord& record, const ElementSums& sums,
                    const ElementCounts& live);
    [[nodiscard]] std::string picture(Node& node, DatabaseId db);
    [[nodiscard]] std::string picture(Node& node);
    [[nodiscard]] std::string state_of_peers();
    [[nodiscard]] bool survives(const Written& written);
    [[nodiscard]] bool deleted(const Written& written);

    void fail(const std::string& why);
    void tell(const std::string& line);
    void mix(std::uint64_t value) {
        outcome_.trace = (outcome_.trace ^ value) * 0x9e3779b97f4a7c15 + (outcome_.trace >> 29);
    }

    std::uint64_t seed_;
    Sabotage sabotage_;
    Shape shape_;
    std::string* story_;
    Random random_;
    Random fleet_random_;
    Random break_random_;
    Plan plan_{};
    Outcome outcome_;
    Millis now_ = 0;
    std::uint64_t scheduled_ = 0;
    std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
    Network network_;
    std::vector<std::unique_ptr<Node>> nodes_;
    bool healing_ = false;
    bool buried_ = false;  // and who died for good is forgotten
    bool expects_difference_ = false;
    std::uint64_t members_ = 0;
    DatabaseId home_ = 0;  // of the command that is run
    std::uint64_t drain_events_ = 0;

    std::map<std::pair<ReplicaId, ShardId>, Seq> acknowledged_;
    std::map<std::pair<ReplicaId, ShardId>, Seq>
        kept_;  // what a finished writer's log held after its end
    std::map<ReplicaId, bool>
        finished_;  // false: with a node that died for good, its end is unknown
    std::map<ReplicaId, NodeIndex> homes_;
    std::uint64_t lineages_ = 0;  // upper halves of writer ids given so far
    std::map<std::pair<ShardId, std::string>, std::uint64_t> digests_;  // by clock
    std::vector<Written> written_;
    std::vector<Deleted> deleted_;
};

}  // namespace skerry::sim
