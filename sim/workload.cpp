// The part of sim/world.hpp that decides what a world is like, what goes wrong in it, and what clients do.
#include "sim/world.hpp"

namespace skerry::sim {

namespace {
constexpr std::string_view kCounters[] = {"n0", "n1"};
constexpr std::string_view kCounterHash = "nh";
constexpr std::string_view kGrowingSet = "grow";
}  // namespace

void World::make_plan() {
    Random& r = random_;
    constexpr std::uint16_t kShards[] = {1, 2, 4, 16};
    plan_.node_count = r.between(2, 4);
    plan_.shard_count = kShards[r.below(4)];
    plan_.duration = static_cast<Millis>(r.between(2000, 8000));
    plan_.command_every = static_cast<Millis>(r.between(10, 80));
    plan_.sync_max = r.one_in(3) ? 100 : 10;
    plan_.memory_bytes = r.one_in(2) ? 2000 : std::size_t{1} << 24;
    plan_.checkpoint_percent = r.one_in(3) ? 0 : r.between(1, 20);
    plan_.drop_percent = r.one_in(2) ? 0 : 60;
    plan_.big_percent = r.one_in(20) ? 10 : 0;
    plan_.crash_every = r.one_in(4) ? 0 : static_cast<Millis>(r.between(400, 3000));
    plan_.cut_every = r.one_in(4) ? 0 : static_cast<Millis>(r.between(300, 2000));
    plan_.may_die = r.one_in(4);
    NetworkFaults& faults = network_.faults;
    faults.loss_percent = r.one_in(2) ? 0 : r.between(1, 30);
    faults.duplicate_percent = r.one_in(2) ? 0 : r.between(1, 20);
    faults.bit_error_percent = r.one_in(8) ? 2 : 0;
    faults.delay_max = r.one_in(3) ? 300 : 20;
}

// ---- what goes wrong

void World::schedule_faults() {
    for (Millis at = plan_.command_every; at < plan_.duration;
         at += static_cast<Millis>(random_.between(1, 2 * plan_.command_every)))
        schedule(at, [this] { some_commands(*nodes_[random_.below(nodes_.size())]); });
    for (Millis at = plan_.crash_every; plan_.crash_every != 0 && at < plan_.duration;
         at += plan_.crash_every)
        schedule(at, [this] {
            Node& node = *nodes_[random_.below(nodes_.size())];
            if (!node.running()) return;
            const bool clean = random_.one_in(4);
            clean ? stop_cleanly(node) : crash(node);
            node.skew = static_cast<Millis>(random_.below(4000)) - 2000;
            const bool keep_writer = clean || sabotage_.reuse_writer;
            schedule(static_cast<Millis>(random_.between(1, 1500)), [this, &node, keep_writer] {
                if (!node.running() && !node.dead) start(node, keep_writer);
            });
        });
    for (Millis at = plan_.cut_every; plan_.cut_every != 0 && at < plan_.duration;
         at += plan_.cut_every)
        schedule(at, [this] {
            const NodeIndex from = random_.below(nodes_.size()), to = random_.below(nodes_.size());
            if (healing_) return;
            network_.cuts.insert({from, to});
            if (random_.one_in(2)) network_.cuts.insert({to, from});
            schedule(static_cast<Millis>(random_.between(50, 4000)), [this, from, to] {
                network_.cuts.erase({from, to});
                network_.cuts.erase({to, from});
            });
        });
    if (!plan_.may_die || plan_.node_count < 3) return;
    schedule(static_cast<Millis>(random_.between(1000, static_cast<std::uint64_t>(plan_.duration))),
             [this] {
                 Node& node = *nodes_[random_.between(1, nodes_.size() - 1)];
                 node.dead = true;
                 if (node.running()) crash(node);
                 tell("node " + std::to_string(node.index) + " never comes back");
             });
}

void World::heal() {
    healing_ = true;
    tell("all faults end");
    network_.cuts.clear();
    network_.faults = NetworkFaults{};
    for (const auto& node : nodes_) node->skew = 0;
    for (const auto& node : nodes_)
        if (!node->running() && !node->dead && !outcome_.failure) start(*node, false);
}

// ---- what clients do

void World::some_commands(Node& node) {
    if (!node.running() || healing_) return;
    set_now(node);
    for (std::uint64_t i = random_.between(1, 4); i > 0; --i) {
        ++outcome_.coverage.commands;
        random_.one_in(4) ? counted_command(node) : command(node);
        node.store->end_command();
    }
    end_of_event(node);
}

std::string World::some_value() {
    if (random_.percent(plan_.big_percent))
        return std::string(random_.between(200'000, 1'500'000), static_cast<char>(random_.next()));
    return random_.one_in(3) ? std::to_string(random_.below(100))
                             : "v" + std::to_string(random_.below(1000));
}

void World::command(Node& node) {
    const auto db = static_cast<std::uint8_t>(random_.one_in(4) ? 1 : 0);
    const std::string key = "k" + std::to_string(random_.below(6));
    if (db == 1 && random_.one_in(20)) return node.database->flush(db);
    random_.one_in(2) ? command_on_key(node, db, key) : command_on_collection(node, db, key);
}

void World::command_on_key(Node& node, std::uint8_t db, const std::string& key) {
    Database& data = *node.database;
    const KeyType type = data.type(db, key);
    const WallTime soon = node.store->now() + WallTime(random_.between(200, 1500));
    const WallTime late = node.store->now() + std::chrono::hours(24 * 365);
    switch (random_.below(8)) {
        case 0:
            data.set(db, key, some_value());
            break;
        case 1:
            data.set(db, key, some_value(), db == 1 ? soon : late);
            break;
        case 2:
            data.remove(db, key);
            break;
        case 3:
            if (type == KeyType::string || type == KeyType::none)
                data.set_keep_deadline(db, key, some_value());
            break;
        case 4:
            if (type != KeyType::none)
                data.set_deadline(db, key, random_.one_in(3) ? kNoDeadline : db == 1 ? soon : late);
            break;
        case 5: {
            const std::string to = "k" + std::to_string(random_.below(6));
            if (type != KeyType::none && to != key) data.copy(db, key, 0, to);
            break;
        }
        default:
            if (type == KeyType::string || type == KeyType::none)
                (void)data.add(db, key, static_cast<std::int64_t>(random_.below(20)) - 10);
    }
}

void World::command_on_collection(Node& node, std::uint8_t db, const std::string& key) {
    Database& data = *node.database;
    const KeyType type = data.type(db, key);
    const std::string sub = "e" + std::to_string(random_.below(5));
    const bool as_hash = type == KeyType::hash || (type == KeyType::none && random_.one_in(2));
    if (type == KeyType::string) {
        data.remove(db, key);
        return;
    }
    switch (random_.below(4)) {
        case 0:
            as_hash ? data.hash_remove(db, key, sub) : data.set_remove(db, key, sub);
            break;
        case 1:
            if (as_hash) {
                (void)data.hash_add(db, key, sub, static_cast<std::int64_t>(random_.below(9)));
                break;
            }
            [[fallthrough]];
        default:
            as_hash ? data.hash_set(db, key, sub, some_value()) : data.set_add(db, key, sub);
    }
}

// What only grows or only adds, so that the end is known exactly.
void World::counted_command(Node& node) {
    Database& data = *node.database;
    Store& store = *node.store;
    Written written;
    const std::uint64_t choice = random_.below(3);
    const std::string key(choice == 0   ? kCounters[random_.below(2)]
                          : choice == 1 ? kCounterHash
                                        : kGrowingSet);
    written.shard = store.address_of(0, key).shard;
    const Seq before = store.shard(written.shard).clock.at(node.writer);
    written.amount = static_cast<std::int64_t>(random_.below(20)) - 8;
    written.place = key;
    if (choice == 0) {
        if (!data.add(0, key, written.amount)) return fail("a counter refused an increment");
    } else if (choice == 1) {
        const std::string field = "f" + std::to_string(random_.below(3));
        written.place += "/" + field;
        if (!data.hash_add(0, key, field, written.amount))
            return fail("a field refused an increment");
    } else {
        written.member = "m" + std::to_string(++members_);
        if (!data.set_add(0, key, written.member)) return fail("a new member was there already");
    }
    note_written(node, key, std::move(written), before);
}

void World::note_written(Node& node, const std::string& key, Written written, Seq before) {
    written.writer = node.writer;
    written.first = before.next();
    written.last = node.store->shard(written.shard).clock.at(node.writer);
    if (written.last < written.first) return fail("a write took no dot: " + key);
    written_.push_back(std::move(written));
}

}  // namespace skerry::sim
