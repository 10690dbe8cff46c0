// sim/world.hpp — a cluster in one thread and in no time: everything that happens follows from one seed.
//
// Events   one queue of virtual milliseconds; ties go in the order scheduled. Nothing reads a clock or a random device.
// Nodes    the product's own Store, Database and Replication, driven as node/node.cpp drives them, on a SimDisk and a
//          SimTransport. Commits become durable after a while, checkpoints are written after a while, nodes crash, stop
//          cleanly, come back, or never do; clocks are skewed; memory may be far too small.
// Checks   at every event: clocks never fall, equal clocks have equal digests, no alarm, nothing halts. After a crash:
//          all that was durable is there. At the end, with every fault gone: docs/SIMULATION.md.
// Sabotage breaks the driver on purpose, never the product: each switch must make some seed fail.
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

struct Sabotage {
    bool publish_before_durable = false;  // and a crash loses what others have
    bool acknowledge_before_durable = false;
    bool reuse_writer = false;  // publishes early too, and writes under the old id after the crash
    bool checkpoint_before_durable = false;  // the ordered store gets ahead of the log
    bool drop_log_early = false;             // before the checkpoint that covers it is written
    bool lose_rows = false;                  // a checkpoint leaves out a row
};

struct Coverage {
    std::uint64_t commands = 0, crashes = 0, clean_stops = 0, checkpoints = 0, evicted = 0,
                  fetches = 0, pulls = 0, flips = 0, parked = 0, malformed = 0, applied = 0,
                  lost_commits = 0;
};

struct Outcome {
    std::optional<std::string> failure;  // with the virtual time at which it was found
    std::uint64_t trace = 0;             // of everything that happened: equal for equal seeds
    Coverage coverage;
};

class World {
  public:
    // `story`, if given, gets a line for everything worth telling.
    World(std::uint64_t seed, Sabotage sabotage, std::string* story = nullptr);
    ~World();
    [[nodiscard]] Outcome run();

  private:
    struct Plan {
        std::size_t node_count;
        std::uint16_t shard_count;
        Millis duration;
        Millis command_every;
        Millis sync_max;  // how long a commit takes at most
        std::size_t memory_bytes;
        std::uint64_t checkpoint_percent;  // of ticks
        std::uint64_t drop_percent;        // of checkpoints after which the log is cut
        std::uint64_t big_percent;         // of values larger than a published frame
        Millis crash_every, cut_every;     // 0: never
        bool may_die;                      // one node may never come back
    };
    struct Node {
        NodeIndex index = 0;
        SimDisk disk;
        ReplicaId writer;
        std::uint64_t boot =
            0;  // of this run of the process; what was scheduled for another one is dropped
        bool dead = false;  // for good
        Millis skew = 0;
        std::unique_ptr<SimTransport> transport;
        std::unique_ptr<Store> store;
        std::unique_ptr<Database> database;
        std::unique_ptr<Replication> replication;
        std::deque<Commit> commits;  // the first is on its way to the disk
        bool writing_checkpoint = false;
        std::vector<VersionVector> seen_clocks;  // at the last event
        ShardClocks durable_at_crash;
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
        ShardId shard;
        ReplicaId writer;
        Seq first, last;  // its dots
        std::int64_t amount = 0;
        std::string member;
    };

    // ---- world.cpp: time and nodes
    void schedule(Millis delay, std::function<void()> action);
    void on_node(Node& node, Millis delay, std::function<void()> action);
    void run_until(Millis end);
    void start(Node& node, bool keep_writer);
    void stop_process(Node& node);
    void crash(Node& node);
    void stop_cleanly(Node& node);
    void receive(NodeIndex to, Incoming incoming);
    void tick(Node& node);
    void end_of_event(Node& node);
    void commit(Node& node, bool even_if_busy);
    void write_commit(Node& node);
    void commit_done(Node& node);
    void step_checkpoint(Node& node);
    void write_checkpoint(Node& node);
    void set_now(Node& node);
    [[nodiscard]] MonoTime mono(const Node& node) const {
        return MonoTime(now_ + static_cast<Millis>(node.index) * 777);
    }

    // ---- workload.cpp
    void make_plan();
    void schedule_faults();
    void heal();
    void some_commands(Node& node);
    void command(Node& node);
    void command_on_key(Node& node, std::uint8_t db, const std::string& key);
    void command_on_collection(Node& node, std::uint8_t db, const std::string& key);
    void counted_command(Node& node);
    void note_written(Node& node, const std::string& key, Written written, Seq before);
    [[nodiscard]] std::string some_value();

    // ---- checks.cpp
    void check_event(Node& node);
    void check_reopened(Node& node);
    void acknowledge(Node& node, const ShardClocks& clocks);
    [[nodiscard]] bool quiet();
    void check_end();
    void check_clocks();
    void check_counted(Node& node);
    void check_rows(Node& node);
    [[nodiscard]] std::string picture(Node& node);
    [[nodiscard]] std::string state_of_peers();
    [[nodiscard]] bool survives(const Written& written);

    void fail(const std::string& why);
    void tell(const std::string& line);
    void mix(std::uint64_t value) {
        outcome_.trace = (outcome_.trace ^ value) * 0x9e3779b97f4a7c15 + (outcome_.trace >> 29);
    }

    std::uint64_t seed_;
    Sabotage sabotage_;
    std::string* story_;
    Random random_;
    Plan plan_{};
    Outcome outcome_;
    Millis now_ = 0;
    std::uint64_t scheduled_ = 0;
    std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
    Network network_;
    std::vector<std::unique_ptr<Node>> nodes_;
    bool healing_ = false;
    std::uint64_t members_ = 0;

    std::map<std::pair<ReplicaId, ShardId>, Seq> acknowledged_;
    std::map<std::pair<ReplicaId, ShardId>, Seq>
        kept_;  // what a finished writer's log held after its end
    std::map<ReplicaId, bool>
        finished_;  // false: with a node that died for good, its end is unknown
    std::map<std::pair<ShardId, std::string>, std::uint64_t> digests_;  // by clock
    std::vector<Written> written_;
};

}  // namespace skerry::sim
