// The part of sim/world.hpp that knows what must be true: at every event, after every restart, at the end.
#include <algorithm>

#include "crdt/hash.hpp"
#include "sim/world.hpp"

namespace skerry::sim {

namespace {
std::string text(const VersionVector& clock) {
    std::string out;
    for (const auto& [writer, seq] : clock) out += Dot{writer, seq}.text() + " ";
    return out;
}
}  // namespace

std::vector<DatabaseId> World::databases_of(const Node& node) {
    const Holdings& holds = node.store->options().holds;
    std::vector<DatabaseId> all;
    if (holds.main) all = {0, 1};
    all.push_back(kConfigurationDatabase);
    for (const DomainNumber domain : holds.domains) all.push_back(database_of_domain(domain));
    return all;
}

void World::check_event(Node& node) {
    const std::string name = "node " + std::to_string(node.index);
    const bool hides = node.store->draining() || node.store->masked() > 0;
    if (hides && !expects_difference_ && ++drain_events_ % 8 == 0) check_counts(node);
    if (node.store->halted()) return fail(name + " halted: " + node.store->halted()->text());
    if (node.replication->counters().divergence_alarms != 0 && !expects_difference_)
        fail(name + " alarms");
    for (const Note& note : node.replication->take_notes()) {
        std::string line = name + " notes " + note.event;
        for (const auto& [field, value] : note.fields) line += " " + field + "=" + value;
        tell(line);
        if (expects_difference_ && (note.event.starts_with("verify_") ||
                                    note.event == "divergence" || note.event == "pull_not_served"))
            continue;
        outcome_.coverage.evicted_members += note.event == "member_evicted" ? 1 : 0;
        if (note.event == "no_member") continue;
        if (note.level == NoteLevel::error || note.event == "stream_gap") fail(line);
    }
    for (const ShardId id : node.store->held()) {
        const ShardState& shard = node.store->shard(id);
        VersionVector& seen = node.seen_clocks[id.value];
        node.reached[id.value].join(shard.durable_clock);
        check_floor(node, id);
        if (shard.clock == seen) continue;
        if (!shard.clock.covers(seen))
            fail(name + ": a clock fell from " + text(seen) + "to " + text(shard.clock));
        if (!shard.clock.covers(shard.durable_clock))
            fail(name + ": durable beyond what is applied");
        seen = shard.clock;
        check_leaves(node, id);
        const auto [known, fresh] = digests_.try_emplace({id, text(seen)}, shard.digest);
        if (!fresh && known->second != shard.digest && !expects_difference_)
            fail(name + ": two states of shard " + std::to_string(id.value) + " at one clock " +
                 text(seen));
    }
}

// P <= V; and P <= S: what is purged was durable at every member that has held the shard from the beginning. A member that had left the cut or
// the cluster, or that this node was not told of, need not have had it.
void World::check_floor(Node& node, ShardId shard) {
    const ShardState& state = node.store->shard(shard);
    VersionVector& seen = node.seen_floors[shard.value];
    if (state.purge_floor == seen) return;
    const std::string name = "node " + std::to_string(node.index);
    if (!state.purge_floor.covers(seen)) fail(name + ": a purge floor fell");
    if (!state.clock.covers(state.purge_floor)) fail(name + ": a purge floor is beyond the clock");
    seen = state.purge_floor;
    if (!plan_.knows_all || plan_.silent_max != 0 || outcome_.coverage.forgotten != 0 ||
        outcome_.coverage.left != 0)
        return;
    ++outcome_.coverage.floors_checked;
    for (const auto& other : nodes_)
        if (holdings_at_first(other->index).holds(shard, plan_.shard_count) &&
            !other->reached[shard.value].covers(seen) && !may_lack(*other, node, shard, seen))
            fail(name + " purged what node " + std::to_string(other->index) +
                 " never had: " + text(seen));
}

// Tombstones fall to zero within two acknowledgement periods after everybody has seen them.
void World::check_purged() {
    // An edge says what it has to its hub, which says it to the others, and tells the edge what is stable.
    const Millis periods = plan_.roles.empty() ? 2 : 6;
    if (std::ranges::any_of(nodes_, [](const auto& node) { return node->dead; })) return;
    const auto left = [&] {
        return std::ranges::any_of(
            nodes_, [](const auto& node) { return node->store->tombstone_count() != 0; });
    };
    const auto busy = [&] {
        return std::ranges::any_of(nodes_,
                                   [](const auto& node) { return node->store->draining(); });
    };
    // A pull that was under way as all agreed may flip, and drain, meanwhile.
    const Millis grace = periods * Replication::kHeartbeat.count();
    for (Millis limit = now_ + grace; !outcome_.failure && (busy() || (left() && now_ < limit));) {
        run_until(now_ + 50);
        if (busy()) limit = now_ + grace;
    }
    for (const auto& node : nodes_)
        if (!outcome_.failure && node->store->tombstone_count() != 0)
            fail("node " + std::to_string(node->index) + " still has " +
                 std::to_string(node->store->tombstone_count()) + " tombstones, " +
                 (node->store->stable_cut()
                      ? "everybody " + std::to_string(node->store->stable_cut()->everybody)
                      : "no cut") +
                 (node->store->draining() ? ", drains" : "") +
                 (node->store->masked() > 0 ? ", masks" : "") +
                 (node->store->freezing() ? ", freezes" : "") + state_of_peers());
    ++outcome_.coverage.purged_at_end;
}

// Of the rows in memory: at most one entry a writer, and none that the clock does not know.
void World::check_leaves(Node& node, ShardId shard) {
    const ShardState& state = node.store->shard(shard);
    const auto check = [&](const Leaf& leaf) {
        if (std::ranges::adjacent_find(leaf, {}, &Entry::replica) != leaf.end())
            fail("node " + std::to_string(node.index) + " has two entries of one writer in a leaf");
        if (leaf.outside(state.clock))
            fail("node " + std::to_string(node.index) + " has an entry beyond its clock");
    };
    const ShardRun run = run_of(shard, plan_.shard_count);
    for (DatabaseId db = run.database_first; db <= run.database_last; ++db)
        for (const KeyRecord& record : state.keys_of(db)) {
            check(record.string);
            if (!record.extra) continue;
            for (const auto& [kind, leaf] : record.extra->leaves) check(leaf);
            for (const Element& element : record.extra->elements) check(element.leaf);
        }
}

bool World::holds(const Node& node, ShardId shard, const Dot& dot) {
    if (node.running())
        return node.store->holds(shard) && node.store->shard(shard).durable_clock.contains(dot);
    return std::ranges::any_of(node.durable_at_crash, [&](const auto& entry) {
        return entry.first == shard && entry.second.contains(dot);
    });
}

void World::acknowledge(Node& node, const ShardClocks& clocks) {
    for (const auto& [shard, clock] : clocks) {
        Seq& seq = acknowledged_[{node.writer, shard}];
        seq = std::max(seq, clock.at(node.writer));
    }
}

void World::check_reopened(Node& node) {
    const Store& store = *node.store;
    if (!store.covers(node.durable_at_crash))
        fail("node " + std::to_string(node.index) + " lost what had been durable");
    finished_.try_emplace(node.writer, false);
    for (auto& [writer, finished] : finished_) {
        if (finished || writer.lineage() != node.writer.lineage() || writer == node.writer)
            continue;
        finished = true;
        for (const ShardId shard : store.held()) {
            const Seq seq = store.shard(shard).clock.at(writer);
            Seq& kept = kept_[{writer, shard}];
            kept = std::max(kept, seq);
            if (seq < acknowledged_[{writer, shard}])
                fail("an acknowledged write of " + writer.text() + " is lost");
        }
    }
    check_event(node);
}

// While leaves have not joined, or are masked: what is seen is what is counted.
void World::check_counts(Node& node) {
    for (const DatabaseId db : databases_of(node)) {
        std::uint64_t count = 0;
        std::uint64_t last = 0;
        node.store->for_each_key(db, 0, [&](const KeyRecord& record) {
            if (record.address.order.order < last) fail("keys out of order");
            last = record.address.order.order;
            count += record.exists() ? 1 : 0;
            return true;
        });
        if (count != node.store->key_count(db))
            fail("node " + std::to_string(node.index) + " counts " +
                 std::to_string(node.store->key_count(db)) + " keys of database " +
                 std::to_string(db) + ", and shows " + std::to_string(count));
    }
    node.store->end_round();
}

// ---- the end

bool World::quiet() {
    if (!buried_) return false;
    std::map<ShardId, VersionVector> known;  // of all that hold the shard
    for (const auto& node : nodes_) {
        if (!node->running() && !node->dead) return false;  // it was emptied, and comes as another
        if (!node->running()) continue;
        if (!node->commits.empty() || !node->store->sealed()) return false;
        const bool settled = node->replication->joined() && !names_linger(*node);
        node->store->end_round();
        if (!settled) return false;
        if (node->store->durable_clocks() != node->store->clocks()) return false;
        for (const ShardId shard : node->store->held()) {
            const VersionVector& clock = node->store->shard(shard).clock;
            if (known.try_emplace(shard, clock).first->second != clock) return false;
        }
    }
    return true;
}

std::string World::state_of_peers() {
    std::string out;
    for (const auto& node : nodes_) {
        if (!node->running()) continue;
        out += "\n  node " + std::to_string(node->index) + ":";
        for (const PeerStatus& peer : node->replication->peers(mono(*node)))
            out += " " + peer.name + " " + peer.link + " " + peer.phase + " lag " +
                   std::to_string(peer.lag_events) + ";";
        for (const auto& [shard, clock] : node->store->clocks())
            out += "\n    shard " + std::to_string(shard.value) + " " + text(clock);
    }
    return out;
}

void World::check_end() {
    check_clocks();
    check_members();
    check_waits();
    std::map<DatabaseId, std::string> first;
    for (int pass = 0; pass < 2 && !outcome_.failure; ++pass) {
        for (const auto& node : nodes_) {
            if (node->dead || outcome_.failure) continue;
            if (pass == 1) {
                // What the disk says alone.
                (void)node->disk.log.sync();
                random_.one_in(2) || plan_.durability == Durability::none ? stop_cleanly(*node)
                                                                          : crash(*node);
                start(*node);
                if (outcome_.failure) return;
            }
            set_now(*node);
            for (const DatabaseId db : databases_of(*node)) {
                const std::string shown = picture(*node, db);
                const std::string& other = first.try_emplace(db, shown).first->second;
                if (shown != other)
                    fail("node " + std::to_string(node->index) + (pass == 1 ? ", reopened," : "") +
                         " shows\n" + shown + "and another\n" + other);
            }
            check_counted(*node);
            check_rows(*node);
        }
    }
    for (const auto& [db, shown] : first) mix(hash64(shown));
}

// Every clock entry is what its writer's log held when it ended, no less and no more.
void World::check_clocks() {
    for (const auto& node : nodes_)
        for (std::uint16_t i = 0; node->running() && i < plan_.shards(); ++i) {
            const ShardId shard{i};
            if (!node->store->holds(shard)) continue;
            for (const auto& [writer, seq] : node->store->shard(shard).clock) {
                const auto kept = kept_.find({writer, shard});
                if (kept != kept_.end() && kept->second < seq)
                    fail("node " + std::to_string(node->index) + " has " + Dot{writer, seq}.text() +
                         ", but its writer only up to " + std::to_string(kept->second.value));
            }
            for (const auto& [dot, seq] : acknowledged_) {
                if (dot.second != shard || node->store->shard(shard).clock.at(dot.first) >= seq)
                    continue;
                if (!nodes_[homes_.at(dot.first)]->dead)
                    fail("node " + std::to_string(node->index) + " lacks the acknowledged " +
                         Dot{dot.first, seq}.text());
            }
        }
}

// What a WAIT was answered for is there, as long as one of those who held it has kept its disk.
void World::check_waits() {
    for (const Written& written : written_) {
        const bool kept = std::ranges::any_of(written.holders, [&](NodeIndex index) {
            return !nodes_[index]->dead && nodes_[index]->disk_lost_at < written.held_at;
        });
        if (!kept) continue;
        const Node& home = *nodes_[homes_.at(written.writer)];
        outcome_.coverage.waits_survived +=
            home.dead || home.disk_lost_at >= written.held_at ? 1 : 0;
        if (!survives(written))
            fail("a write of " + written.writer.text() + " that WAIT had counted is lost");
    }
}

bool World::survives(const Written& written) {
    for (const auto& node : nodes_) {
        if (!node->running() || !node->store->holds(written.shard)) continue;
        const Seq seq = node->store->shard(written.shard).clock.at(written.writer);
        if (seq >= written.first && seq < written.last) fail("half of a command survives");
        return seq >= written.last;
    }
    return false;
}

bool World::deleted(const Written& written) {
    return std::ranges::any_of(deleted_, [&](const Deleted& one) {
        return one.removal.shard == written.shard && one.removal.database == written.database &&
               (one.database || written.deletable) &&
               one.seen.contains({written.writer, written.last}) && survives(one.removal);
    });
}

void World::check_counted(Node& node) {
    std::map<std::pair<DatabaseId, std::string>, std::optional<std::int64_t>> sums;
    for (const Written& written : written_) {
        if (!node.store->holds(written.shard)) continue;
        const bool kept = survives(written);
        const bool there = kept && !deleted(written);
        if (!written.member.empty()) {
            if (node.database->set_contains(written.database, written.place, written.member) !=
                there)
                fail("node " + std::to_string(node.index) + ": member " + written.member +
                     (there ? " is missing" : " came from nowhere"));
        } else if (kept) {
            std::optional<std::int64_t>& sum = sums[{written.database, written.place}];
            if (there) sum = sum.value_or(0) + written.amount;
        }
    }
    for (const auto& [where, sum] : sums) {
        const auto& [db, place] = where;
        const std::size_t slash = place.find('/');
        const auto shown =
            slash == std::string::npos
                ? node.database->get(db, place)
                : node.database->hash_get(db, place.substr(0, slash), place.substr(slash + 1));
        const std::string due = sum ? std::to_string(*sum) : "absent";
        if (shown.value_or("absent") != due)
            fail("node " + std::to_string(node.index) + ": " + std::to_string(db) + "/" + place +
                 " is " + shown.value_or("absent") + ", not " + due);
    }
}

// The digests and key counts kept are those of the rows that can be read.
void World::check_rows(Node& node) {
    Store& store = *node.store;
    std::vector<std::uint64_t> digests(plan_.shards());
    std::map<std::pair<ShardId, DatabaseId>, DatabaseSums> found;
    std::uint64_t tombstones = 0;
    for (const DatabaseId db : databases_of(node)) {
        std::vector<std::string> keys;
        std::uint64_t count = 0, deadlines = 0;
        store.for_each_key(db, 0, [&](const KeyRecord& record) {
            keys.emplace_back(record.key);
            count += record.exists() ? 1 : 0;
            deadlines += record.expires() ? 1 : 0;
            return true;
        });
        for (const std::string& key : keys) {
            KeyRecord* record = store.find(db, key);
            if (record == nullptr) return fail("a key that is visited is not found: " + key);
            std::uint64_t& digest = digests[record->address.shard.value];
            DatabaseSums& of_database = found[{record->address.shard, db}];
            const auto add = [&](LeafKind kind, const ElementOrder& order, const Leaf& leaf) {
                const std::uint64_t added = digest_of(record->address, kind, order, leaf);
                digest += added;
                of_database.digest += added;
                of_database.counts = of_database.counts || counts(kind, leaf);
            };
            add(LeafKind::string, {LeafKind::string, {}}, record->string);
            if (record->extra)
                for (const auto& [kind, leaf] : record->extra->leaves) add(kind, {kind, {}}, leaf);
            tombstones += tombstones_of(node, *record);
            ElementSums sums;
            ElementCounts live{};
            for (const LeafKind kind :
                 {LeafKind::member, LeafKind::field, LeafKind::remove_wins_member})
                store.for_each_element(*record, kind, {}, [&](const Element& element) {
                    add(kind, element.place, element.leaf);
                    live[element_index(kind)] += shows(kind, element.leaf) ? 1 : 0;
                    sums.digest += digest_of(record->address, kind, element.place, element.leaf);
                    sums.counting += kind == LeafKind::field && value::counts(element.leaf) ? 1 : 0;
                    for (const Entry& entry : element.leaf)
                        if (entry.live()) sums.highest.advance(entry.dot());
                    return true;
                });
            check_sums(node, *record, sums, live);
        }
        if (count != store.key_count(db))
            fail("key count " + std::to_string(store.key_count(db)) + ", keys " +
                 std::to_string(count));
        if (deadlines != store.deadline_count(db))
            fail("deadline count " + std::to_string(store.deadline_count(db)) +
                 ", keys that expire " + std::to_string(deadlines));
    }
    if (tombstones != store.tombstone_count())
        fail("tombstone count " + std::to_string(store.tombstone_count()) + ", tombstones " +
             std::to_string(tombstones));
    for (const auto& [place, sums] : found) {
        const DatabaseSums& kept = store.shard(place.first).sums_of(place.second);
        if (kept.digest != sums.digest || (sums.counts && !kept.counts))
            fail("node " + std::to_string(node.index) + ": the sums of database " +
                 std::to_string(place.second) + " in shard " + std::to_string(place.first.value) +
                 " are not those of its keys");
    }
    for (const ShardId shard : store.held())
        if (digests[shard.value] != store.shard(shard).digest)
            fail("node " + std::to_string(node.index) + ": the rows of shard " +
                 std::to_string(shard.value) + " are not those of its digest");
}

// The markers in its rows, what is masked not left out; and it knows how many rows it has.
std::uint64_t World::tombstones_of(Node& node, const KeyRecord& record) {
    std::uint64_t tombstones = only_removed(record.string) ? 1 : 0;
    if (!record.extra) return tombstones;
    for (const auto& [kind, leaf] : record.extra->leaves) tombstones += only_removed(leaf) ? 1 : 0;
    std::uint64_t rows = 0;
    for (const LeafKind kind : {LeafKind::member, LeafKind::field, LeafKind::remove_wins_member})
        node.store->for_each_element_row(record, kind, {}, [&](const Element& element) {
            rows += element.leaf.empty() ? 0 : 1;
            tombstones += only_removed(element.leaf) ? 1 : 0;
            return true;
        });
    if (rows != record.extra->totals.elements)
        fail("node " + std::to_string(node.index) + ": key " + std::string(record.key.view()) +
             " says that it has " + std::to_string(record.extra->totals.elements) +
             " rows of elements and has " + std::to_string(rows));
    return tombstones;
}

// What a key keeps of its elements, so that a clear need not look at them.
void World::check_sums(const Node& node, const KeyRecord& record, const ElementSums& sums,
                       const ElementCounts& live) {
    const ElementSums kept = record.extra ? record.extra->sums : ElementSums{};
    const ElementCounts counted = record.extra ? record.extra->totals.live : ElementCounts{};
    if (kept.digest != sums.digest || kept.counting != sums.counting || counted != live ||
        !kept.highest.covers(sums.highest))
        fail("node " + std::to_string(node.index) + ": the sums of key " +
             std::string(record.key.view()) + " are not those of its elements");
}

std::string World::picture(Node& node) {
    std::string all;
    for (const DatabaseId db : databases_of(node)) all += picture(node, db);
    return all;
}

// All that a client can see of a database, by key.
std::string World::picture(Node& node, DatabaseId db) {
    Database& data = *node.database;
    std::map<std::string, std::string> lines;
    std::vector<std::string> keys;
    data.for_each_key(db, 0, [&](const KeyRecord& record) {
        keys.emplace_back(record.key);
        return true;
    });
    for (const std::string& key : keys) {
        std::string& line = lines[std::to_string(db) + " " + key];
        line = "type " + std::to_string(static_cast<int>(data.type(db, key))) + " until " +
               std::to_string(data.deadline(db, key).count());
        if (data.type(db, key) == KeyType::string) {
            const std::string value = data.get(db, key).value_or("absent");
            line += value.size() < 40 ? " = " + value : " hash " + std::to_string(hash64(value));
        }
        if (data.type(db, key) == KeyType::string) continue;
        const LeafKind kind =
            data.type(db, key) == KeyType::set ? LeafKind::member : LeafKind::field;
        line += " count " + std::to_string(data.count(db, key, kind));
        data.for_each(db, key, kind, {}, [&](const Element& element) {
            line.append(" ").append(element.sub.view());
            if (kind == LeafKind::field) {
                const std::string value = Database::value_of(element);
                line += "=" + (value.size() < 40 ? value : std::to_string(hash64(value)));
            }
            return true;
        });
    }
    std::string out;
    for (const auto& [key, line] : lines) out += key + ": " + line + "\n";
    return out;
}

}  // namespace skerry::sim
