// The part of sim/world.hpp that knows what clients do: commands, reads, and WAIT.
#include "sim/world.hpp"

namespace skerry::sim {

namespace {
constexpr std::string_view kCounters[] = {"n0", "n1"};
constexpr std::string_view kCounterHash = "nh";
constexpr std::string_view kGrowingSet = "grow";
constexpr std::string_view kDeletedHash = "dh";
constexpr DatabaseId kFlushed = 1;  // of main, the database that FLUSHDB empties
constexpr Millis kWaitMax = 3000;   // then the client gives up
}  // namespace

void World::some_commands(Node& node) {
    if (!node.running() || healing_) return;
    set_now(node);
    for (std::uint64_t i = random_.between(1, 4); i > 0; --i) {
        ++outcome_.coverage.commands;
        if (node.replication->gone() || node.leaving) {
            ++outcome_.coverage.refused_as_gone;
            continue;
        }
        choose_home(node);
        node.full           ? command_when_full(node)
        : random_.one_in(4) ? counted_command(node)
                            : command(node);
        node.store->end_command();
        if (random_.one_in(4)) read(node);
    }
    end_of_event(node);
}

void World::choose_home(Node& node) {
    home_ = 0;
    if (plan_.holdings.empty()) return;
    const Holdings& holds = node.store->options().holds;
    const std::uint64_t count = holds.domains.size() + (holds.main ? 1 : 0);
    const std::uint64_t choice = random_.below(count);
    if (choice < holds.domains.size()) home_ = database_of_domain(holds.domains[choice]);
}

// As node/commands.cpp does: what needs room is refused, what makes room is not.
void World::command_when_full(Node& node) {
    if (random_.one_in(2)) {
        ++outcome_.coverage.refused_writes;
        return;
    }
    ++outcome_.coverage.deletes_when_full;
    const std::string key = "k" + std::to_string(random_.below(6));
    (void)node.database->remove(home_, key);
    if (node.database->exists(home_, key)) fail("a delete on a full disk removed nothing");
}

std::string World::some_value() {
    if (random_.percent(plan_.big_percent))
        return std::string(random_.between(200'000, 1'500'000), static_cast<char>(random_.next()));
    return random_.one_in(3) ? std::to_string(random_.below(100))
                             : "v" + std::to_string(random_.below(1000));
}

void World::command(Node& node) {
    const bool other = random_.one_in(4);
    const DatabaseId db = home_ == 0 && other ? 1 : home_;
    const std::string key = "k" + std::to_string(random_.below(6));
    if (db == kFlushed && random_.one_in(20)) return flush(node, db);
    if (db != kFlushed && is_flushed(db) && random_.one_in(60)) return flush(node, db);
    if (random_.percent(plan_.bulk_percent)) return bulk_command(node);
    random_.one_in(2) ? command_on_key(node, db, key) : command_on_collection(node, db, key);
}

// Many keys, or many elements of one: whoever misses them has much to pull.
void World::bulk_command(Node& node) {
    const std::uint64_t count = random_.between(5, 60), first = random_.below(100);
    const std::uint64_t choice = random_.below(4);
    const DatabaseId db =
        home_ == 0 && is_flushed(kFlushed) && random_.one_in(3) ? kFlushed : home_;
    if (choice == 0 && first % 4 == 0) node.database->remove(db, "bulk");
    for (std::uint64_t i = first; i < first + count; ++i) {
        const std::string name = "b" + std::to_string(i);
        if (choice == 0)
            node.database->remove(db, name);
        else if (choice == 1)
            node.database->set(db, name, some_value());
        else if (choice == 2 && node.database->type(db, "bulk") != KeyType::string)
            random_.one_in(4) ? node.database->set_remove(db, "bulk", name)
                              : node.database->set_add(db, "bulk", name);
        else
            (void)node.database->add(db, "a" + name, 1);
        node.store->end_command();
    }
}

// What counts there goes by entries of its own, everything else by one clear a shard.
void World::flush(Node& node, DatabaseId db) {
    if (!plan_.flushes) return remove_keys(node, db);
    if (node.rots) return;  // it removes what it sees, and may see less than there is
    const ShardRun run = run_of(db, plan_.shard_count);
    std::vector<VersionVector> before;
    for (std::uint16_t i = 0; i < run.count; ++i)
        before.push_back(
            node.store->shard(ShardId{static_cast<std::uint16_t>(run.first.value + i)}).clock);
    Flush flush{.stored = {db}};
    while (!node.database->flush_some(flush, 2)) {
    }
    if (node.store->key_count(db) != 0) fail("FLUSHDB leaves keys");
    for (std::uint16_t i = 0; i < run.count; ++i) {
        Deleted deleted;
        deleted.database = true;
        deleted.removal.shard = ShardId{static_cast<std::uint16_t>(run.first.value + i)};
        deleted.removal.database = db;
        deleted.removal.writer = node.writer;
        deleted.removal.last = node.store->shard(deleted.removal.shard).clock.at(node.writer);
        deleted.removal.first = deleted.removal.last;
        if (deleted.removal.last == before[i].at(node.writer)) continue;
        deleted.seen = std::move(before[i]);
        deleted_.push_back(std::move(deleted));
    }
}

void World::remove_keys(Node& node, DatabaseId db) {
    std::vector<std::string> keys;
    node.store->for_each_key(db, 0, [&](const KeyRecord& record) {
        if (record.exists()) keys.emplace_back(record.key);
        return true;
    });
    for (const std::string& key : keys) node.database->remove(db, key);
}

// Database 1 of main, and what a further domain has.
bool World::is_flushed(DatabaseId db) const {
    return plan_.flushes && (db == kFlushed || db > kConfigurationDatabase);
}

void World::command_on_key(Node& node, DatabaseId db, const std::string& key) {
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
            if (sabotage_.remove_locally) return remove_locally(node, db, key);
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
            if (type != KeyType::none && to != key) data.copy(db, key, home_, to);
            break;
        }
        default:
            if (type == KeyType::string || type == KeyType::none)
                (void)data.add(db, key, static_cast<std::int64_t>(random_.below(20)) - 10);
    }
}

void World::command_on_collection(Node& node, DatabaseId db, const std::string& key) {
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
    written.deletable = choice == 1 && random_.one_in(2);
    if (written.deletable && random_.one_in(3)) return delete_counters(node);
    written.database = home_;
    if (home_ == 0 && choice < 2 && is_flushed(kFlushed) && random_.one_in(2))
        written.database = kFlushed;
    const DatabaseId db = written.database;
    if (db == kFlushed && random_.one_in(6)) return flush(node, db);
    const std::string key(choice == 0         ? kCounters[random_.below(2)]
                          : written.deletable ? kDeletedHash
                          : choice == 1       ? kCounterHash
                                              : kGrowingSet);
    written.shard = store.address_of(db, key).shard;
    const Seq before = store.shard(written.shard).clock.at(node.writer);
    written.amount = static_cast<std::int64_t>(random_.below(20)) - 8;
    // An increment by nothing leaves no trace that outlives what it was added to.
    if ((written.deletable || is_flushed(db)) && written.amount == 0) written.amount = 20;
    written.place = key;
    if (choice == 0) {
        if (!data.add(db, key, written.amount)) return fail("a counter refused an increment");
    } else if (choice == 1) {
        const std::string field = "f" + std::to_string(random_.below(3));
        written.place += "/" + field;
        if (!data.hash_add(db, key, field, written.amount))
            return fail("a field refused an increment");
    } else {
        written.member = "m" + std::to_string(++members_);
        if (!data.set_add(db, key, written.member)) return fail("a new member was there already");
    }
    note_written(node, key, std::move(written), before);
}

// Its fields that count are reset one by one; those that do not, go by a clear.
void World::delete_counters(Node& node) {
    if (node.rots) return;  // it removes what it sees, and may see less than there is
    const std::string key(kDeletedHash);
    const ShardId shard = node.store->address_of(home_, key).shard;
    for (std::uint64_t i = random_.below(4); i > 0; --i)
        node.database->hash_set(home_, key, "text" + std::to_string(random_.below(8)), "word");
    Deleted deleted;
    deleted.seen = node.store->shard(shard).clock;
    (void)node.database->remove(home_, key);
    deleted.removal.shard = shard;
    deleted.removal.database = home_;
    deleted.removal.writer = node.writer;
    deleted.removal.last = node.store->shard(shard).clock.at(node.writer);
    deleted.removal.first = deleted.removal.last;
    deleted_.push_back(std::move(deleted));
}

void World::note_written(Node& node, const std::string& key, Written written, Seq before) {
    written.writer = node.writer;
    written.first = before.next();
    written.last = node.store->shard(written.shard).clock.at(node.writer);
    if (written.last < written.first) return fail("a write took no dot: " + key);
    written_.push_back(std::move(written));
    if (random_.percent(plan_.wait_percent))
        node.waits.push_back({.written = written_.size() - 1,
                              .count = random_.between(1, nodes_.size() - 1),
                              .since = now_});
}

void World::remove_locally(Node& node, DatabaseId db, const std::string& key) {
    KeyRecord* record = node.store->find(db, key);
    if (record == nullptr) return;
    record->leaf_to_change(LeafKind::string) = Leaf{};
    derive(*record);
}

// ---- what clients are told

// The reply is held until all that it shows is durable.
void World::read(Node& node) {
    Database& data = *node.database;
    data.reset_observed();
    const auto choice = static_cast<DatabaseId>(random_.below(2));
    const DatabaseId db = home_ == 0 ? choice : home_;
    const KeyRecord* record = data.record(db, "k" + std::to_string(random_.below(6)));
    if (record == nullptr) return;
    Read read{.at = data.observed(), .shard = record->address.shard, .seen = {}};
    const auto see = [&](const Leaf& leaf) {
        for (const Entry& entry : leaf) read.seen.advance(entry.dot());
    };
    see(record->string);
    if (record->extra) {
        for (const auto& [kind, leaf] : record->extra->leaves) see(leaf);
        for (const Element& element : record->extra->elements) see(element.leaf);
    }
    if (read.at > node.store->durable()) ++outcome_.coverage.reads_held;
    node.reads.push_back(std::move(read));
    release_reads(node);
}

void World::release_reads(Node& node) {
    std::erase_if(node.reads, [&](const Read& read) {
        if (read.at > node.store->durable()) return false;
        if (!node.store->shard(read.shard).durable_clock.covers(read.seen))
            fail("node " + std::to_string(node.index) +
                 " lets a client read what a crash could take back");
        return true;
    });
}

void World::serve_waits(Node& node) {
    if (!node.waits.empty()) node.replication->ask_clocks();
    std::erase_if(node.waits, [&](const Wait& wait) {
        Written& written = written_[wait.written];
        const Dot dot{written.writer, written.last};
        const ShardClocks clocks{{written.shard, VersionVector{{dot.replica, dot.seq}}}};
        if (!node.store->durably_covers(clocks) ||
            node.replication->peers_covering(clocks) < wait.count)
            return now_ > wait.since + kWaitMax;
        ++outcome_.coverage.waits;
        std::size_t gone = 0;  // may have held it, on a disk lost since
        for (const auto& other : nodes_) {
            if (other.get() == &node) continue;
            if (holds(*other, written.shard, dot))
                written.holders.push_back(other->index);
            else
                gone += other->disk_lost_at >= wait.since ? 1 : 0;
        }
        written.held_at = now_;
        if (written.holders.size() + gone < wait.count)
            fail("node " + std::to_string(node.index) + ": WAIT " + std::to_string(wait.count) +
                 " is answered, but " + std::to_string(written.holders.size()) + " others hold " +
                 dot.text());
        return true;
    });
}

}  // namespace skerry::sim
