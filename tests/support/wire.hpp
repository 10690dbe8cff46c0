// tests/support/wire.hpp — a wire without faults between replications of one process: frames wait until run() hands them over.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "node/database.hpp"
#include "node/replication.hpp"
#include "tests/support/memory_disk.hpp"

namespace skerry {

class Wire;

// One node: its disk outlives its process.
inline constexpr WallTime kWall{1'700'000'000'000};  // at the begin of a wire's time

class Station final : public Transport {
  public:
    Station(Wire& wire, std::string address) : wire_(wire), address_(std::move(address)) {}

    // Begins a process on this disk; an empty seed is none. Requires: none is running.
    void start(ReplicaId writer, std::uint64_t nonce, const std::string& name,
               const std::string& seed, MonoTime now);
    void stop() {
        replication.reset();
        database.reset();
        store.reset();
        links_.clear();
    }
    // Makes durable what is open, and publishes it; makes a checkpoint if one is wanted.
    void commit(MonoTime now) {
        while (auto commit = store->seal()) {
            ASSERT(log.append(commit->frames, commit->last).has_value());
            ASSERT(log.sync().has_value());
            store->committed(*commit);
            replication->committed(*commit, now);
        }
        store->step_staged(1000);
        if (!replication->wants_checkpoint() && !store->wants_checkpoint()) return;
        if (!store->sealed()) return;
        store->freeze();
        ASSERT(store->save_some(~std::size_t{0} / 2));
        ASSERT(store->image()->write(kv, KvRoom::ordinary).has_value());
        store->checkpointed();
        replication->checkpointed();
    }
    // The notes of one event so far, with their fields.
    [[nodiscard]] std::string noted(const std::string& event) {
        for (Note& note : replication->take_notes()) notes_.push_back(std::move(note));
        std::string out;
        for (const Note& note : notes_) {
            if (note.event != event) continue;
            for (const auto& [key, value] : note.fields)
                out.append(key).append("=").append(value).append(" ");
            out += "\n";
        }
        return out;
    }

    void connect(LinkId link, std::string_view address) override;
    void subscribe(LinkId link, std::string_view) override { links_[link].subscribed = true; }
    void disconnect(LinkId link) override { links_.erase(link); }
    void send(LinkId link, std::string bytes) override;
    void reply(ConnectionToken to, std::string bytes) override;
    void publish(std::string bytes) override;
    [[nodiscard]] std::vector<Incoming> poll() override { return {}; }
    [[nodiscard]] TransportCounters counters() const override { return {}; }

    MemoryLog log;
    MemoryKv kv;
    MonoTime member_silent_max = std::chrono::hours(24 * 7);
    std::vector<std::string> replies;  // to a station without a process
    std::unique_ptr<Store> store;
    std::unique_ptr<Database> database;
    std::unique_ptr<Replication> replication;

  private:
    friend class Wire;
    struct Link {
        std::string address;
        bool subscribed = false;
    };
    Wire& wire_;
    std::string address_;
    std::map<LinkId, Link> links_;
    std::vector<Note> notes_;
};

class Wire {
  public:
    Station& station(const std::string& address) {
        auto& station = stations_[address];
        if (!station) station = std::make_unique<Station>(*this, address);
        return *station;
    }
    // Lets the time pass in steps of 50 ms; in each, all frames under way arrive.
    void run(MonoTime duration) {
        for (const MonoTime end = now + duration; now < end; now += MonoTime(50)) {
            for (auto& [address, station] : stations_)
                if (station->replication) {
                    station->store->set_now(kWall + now);
                    station->replication->tick(now);
                }
            deliver();
        }
    }
    // One millisecond, in which only what is under way already arrives.
    void step() {
        now += MonoTime(1);
        for (auto& [address, station] : stations_)
            if (station->replication) station->replication->tick(now);
        deliver_some(frames_.size());
    }
    MonoTime now{1000};

  private:
    friend class Station;
    void deliver() {
        do {
            deliver_some(frames_.size());
        } while (!frames_.empty());
    }
    void deliver_some(std::size_t count) {
        for (; count > 0; --count) {
            auto [to, incoming] = std::move(frames_.front());
            frames_.pop_front();
            Station& target = station(to);
            if (target.replication)
                target.replication->receive(incoming, now);
            else if (incoming.kind == IncomingKind::reply)
                target.replies.push_back(incoming.bytes);
        }
        for (auto& [address, station] : stations_)
            if (station->replication && !station->replication->fenced()) station->commit(now);
    }
    std::map<std::string, std::unique_ptr<Station>> stations_;
    std::deque<std::pair<std::string, Incoming>> frames_;
};

inline void Station::start(ReplicaId writer, std::uint64_t nonce, const std::string& name,
                           const std::string& seed, MonoTime now) {
    ASSERT(!store);
    auto opened =
        Store::open(log, kv, {.self = writer, .nonce = nonce, .shard_count = 4}, kWall + now);
    ASSERT(opened.has_value());
    store = std::move(*opened);
    database = std::make_unique<Database>(*store);
    replication = std::make_unique<Replication>(
        *store, log, kv, *this,
        ReplicationOptions{.cluster = "test",
                           .name = name,
                           .region = "r",
                           .gossip_address = address_,
                           .publish_address = address_,
                           .client_address = "c:1",
                           .seeds = seed.empty() ? std::vector<std::string>{} : std::vector{seed},
                           .aside = {},
                           .found = {},
                           .random_seed = nonce,
                           .member_silent_max = member_silent_max});
    replication->start(now);
    commit(now);
}

inline void Station::connect(LinkId link, std::string_view address) {
    links_[link].address = address;
    wire_.frames_.emplace_back(address_, Incoming{IncomingKind::link_up, link, {}, {}});
}
inline void Station::send(LinkId link, std::string bytes) {
    wire_.frames_.emplace_back(links_[link].address,
                               Incoming{IncomingKind::request,
                                        {},
                                        {address_ + " " + std::to_string(link.value)},
                                        std::move(bytes)});
}
inline void Station::reply(ConnectionToken to, std::string bytes) {
    const std::size_t blank = to.bytes.find(' ');
    const LinkId link{std::stoull(to.bytes.substr(blank + 1))};
    wire_.frames_.emplace_back(to.bytes.substr(0, blank),
                               Incoming{IncomingKind::reply, link, {}, std::move(bytes)});
}
inline void Station::publish(std::string bytes) {
    for (const auto& [address, station] : wire_.stations_)
        for (const auto& [link, target] : station->links_)
            if (target.subscribed && target.address == address_)
                wire_.frames_.emplace_back(address,
                                           Incoming{IncomingKind::published, link, {}, bytes});
}

}  // namespace skerry
