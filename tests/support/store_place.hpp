// tests/support/store_place.hpp — one store and its disk in memory, driven as a node drives them: commits, checkpoints, pulls.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "crdt/types/clear.hpp"
#include "crdt/types/presence.hpp"
#include "store/store.hpp"
#include "tests/catch.hpp"
#include "tests/support/memory_disk.hpp"

namespace skerry {

class StorePlace {
  public:
    explicit StorePlace(std::uint64_t writer, StoreOptions options = {}) : options_(options) {
        options_.self = ReplicaId{writer};
        options_.shard_count = 16;
        options_.nonce = 1;
        open();
    }

    // What a crash leaves: the log and the ordered store.
    void open() {
        store_.reset();
        auto opened = Store::open(log_, kv_, options_, WallTime(1'700'000'000'000));
        REQUIRE(opened.has_value());
        store_ = std::move(*opened);
        commit();
    }
    // The same as a node that holds these.
    [[nodiscard]] Result<void> try_open(Holdings holds) {
        store_.reset();
        options_.holds = std::move(holds);
        const auto opened = Store::open(log_, kv_, options_, WallTime(1'700'000'000'000));
        return opened ? Result<void>() : std::unexpected(opened.error());
    }
    void hold(Holdings holds) {
        options_.holds = std::move(holds);
        open();
    }
    // Where the keys below lie.
    void use(DatabaseId database) { database_ = database; }

    Store* operator->() { return store_.get(); }
    Store& operator*() { return *store_; }
    [[nodiscard]] const Kv& kv() const { return kv_; }
    [[nodiscard]] std::size_t memory_max() const { return memory_max_; }

    void commit() {
        while (auto sealed = store_->seal()) {
            REQUIRE(log_.append(sealed->frames, sealed->last).has_value());
            REQUIRE(log_.sync().has_value());
            store_->committed(*sealed);
            for (const Published& batch : sealed->published)
                batches_.push_back(sealed->frames.substr(batch.body_at, batch.body_bytes));
        }
        memory_max_ = std::max(memory_max_, store_->stats().memory_bytes);
    }
    // Its own, as they are published, since it was asked last.
    [[nodiscard]] std::vector<std::string> take_batches() { return std::exchange(batches_, {}); }
    void checkpoint() {
        commit();
        store_->freeze();
        while (!store_->save_some(100)) {
        }
        REQUIRE(store_->image()->write(kv_, KvRoom::ordinary).has_value());
        (void)store_->checkpointed();
    }
    void step(std::size_t leaf_count = 50) {
        store_->step_staged(leaf_count);
        commit();
        if (store_->wants_checkpoint()) checkpoint();
        store_->evict(1000);
        REQUIRE(!store_->halted());
    }
    void flip(std::uint64_t session, const ShardClocks& clocks) {
        bool done = store_->flip(session, clocks, {});
        for (int i = 0; !done && i < 100'000; ++i) {
            step();
            done = !store_->flipping();
        }
        REQUIRE(done);
    }
    void drain() {
        for (int i = 0; store_->draining() && i < 100'000; ++i) step();
        REQUIRE(!store_->draining());
    }

    void set(const std::string& key, const std::string& text) {
        store_->change(store_->find_or_make(database_, key), LeafKind::string, {},
                       [&](const Leaf& leaf, const Dot& dot, Hlc now) {
                           return value::set(leaf, dot, now, {.bytes = text});
                       });
        store_->end_command();
    }
    void remove(const std::string& key) {
        store_->change(store_->find_or_make(database_, key), LeafKind::string, {}, value::remove);
        store_->end_command();
    }
    void add_member(const std::string& key, const std::string& member) {
        KeyRecord& record = store_->find_or_make(database_, key);
        for (const auto& [kind, sub] :
             {std::pair{LeafKind::set_birth, std::string()}, std::pair{LeafKind::member, member}})
            store_->change(record, kind, sub, presence::add);
        store_->end_command();
    }
    // Takes a set away by one entry.
    void clear(const std::string& key) {
        KeyRecord& record = store_->find_or_make(database_, key);
        const VersionVector clock = store_->shard(record.address.shard).clock;
        store_->change(record, LeafKind::clear, {}, [&](const Leaf& seen, const Dot& dot, Hlc now) {
            return clear::all(seen, dot, now, clock);
        });
        store_->change(record, LeafKind::set_birth, {}, presence::remove);
        store_->end_command();
    }
    // As a disk loses the key's row, and none of its elements'; then a start.
    void lose_key_row(const std::string& key) {
        checkpoint();
        KvBatch lost;
        lost.push_back(
            {Table::rows, key_row_key(store_->address_of(database_, key)), std::nullopt});
        REQUIRE(kv_.write(lost, KvRoom::ordinary).has_value());
        open();
    }
    [[nodiscard]] std::string get(const std::string& key) {
        const KeyRecord* record = store_->find(database_, key);
        if (record == nullptr || record->type != KeyType::string) return "absent";
        return std::string(*value::text(value::read(record->string)));
    }
    [[nodiscard]] std::uint64_t members(const std::string& key) {
        const KeyRecord* record = store_->find(database_, key);
        return record == nullptr ? 0 : record->live(LeafKind::member);
    }
    // Keys that a walk over all of them meets, in their order.
    [[nodiscard]] std::uint64_t walked() {
        std::uint64_t count = 0;
        store_->for_each_key(database_, 0, [&](const KeyRecord& record) {
            count += record.exists() ? 1 : 0;
            return true;
        });
        store_->end_round();
        return count;
    }
    [[nodiscard]] std::vector<std::uint64_t> digests() const {
        std::vector<std::uint64_t> all;
        for (const ShardId shard : store_->held()) all.push_back(store_->shard(shard).digest);
        return all;
    }

    // All leaves, as chunks of a pull; some of them twice.
    [[nodiscard]] std::vector<Stage> chunks(std::uint64_t session) {
        std::map<RowAddress, std::string> keys;
        store_->for_each_key(database_, 0, [&](const KeyRecord& record) {
            keys.emplace(record.address, record.key.view());
            return true;
        });
        std::vector<Stage> all;
        Stage chunk{session, store_->clocks(), {}, {}};
        for (const auto& [address, key] : keys) {
            KeyRecord& record = *store_->find(database_, key);
            for (const LeafKind kind : {LeafKind::string, LeafKind::set_birth})
                if (!record.leaf(kind).empty())
                    chunk.leaves.push_back({{0, kind, key, {}}, record.leaf(kind)});
            store_->for_each_element(record, LeafKind::member, {}, [&](const Element& element) {
                chunk.leaves.push_back(
                    {{0, LeafKind::member, key, std::string(element.sub.view())}, element.leaf});
                return true;
            });
            if (chunk.leaves.size() < 100) continue;
            chunk.cursor = key;
            all.push_back(chunk);
            chunk.leaves.resize(chunk.leaves.size() % 3);
        }
        all.push_back(chunk);
        return all;
    }

  private:
    StoreOptions options_;
    DatabaseId database_ = 0;
    MemoryLog log_;
    MemoryKv kv_;
    std::unique_ptr<Store> store_;
    std::vector<std::string> batches_;
    std::size_t memory_max_ = 0;
};

}  // namespace skerry
