// The part of store/store.hpp that stages what a server lacks, after it has sent all that it has.
#include <algorithm>

#include "store/store.hpp"

namespace skerry {

namespace {
constexpr std::size_t kLeavesAtOnce = 1024;  // in one record of the log

bool any_within(const Leaf& leaf, const VersionVector& clock) {
    return std::ranges::any_of(leaf, [&](const Entry& e) { return clock.contains(e.dot()); });
}

const VersionVector* clock_of(const ShardClocks& clocks, ShardId shard) {
    const auto found = std::ranges::find(clocks, shard, &std::pair<ShardId, VersionVector>::first);
    return found == clocks.end() ? nullptr : &found->second;
}
}  // namespace

bool Store::is_staged(std::uint64_t session, std::string_view place) {
    const std::string key = stage_key(session, place);
    if (staging_.rows.contains(key)) return true;
    KvReader* stored = reader();
    if (stored == nullptr) return true;
    const auto row = stored->get(Table::stage, key);
    if (!row) halt(row.error());
    return !row || row->has_value();
}

bool Store::stages(std::uint64_t session, const LeafKey& key) {
    const RowAddress address = address_of(key.database, key.key);
    const ElementOrder order =
        is_key_level(key.kind) ? ElementOrder{} : order_of(key.kind, key.sub);
    return is_staged(session, stage_place(address, key.kind, order));
}

ShardClocks Store::staged_clocks(std::uint64_t session) {
    ShardClocks clocks;
    KvReader* const stored = reader();
    if (stored == nullptr) return clocks;
    for (const ShardId shard : held_) {
        VersionVector joined;
        Result<void> read;
        const auto take = [&](std::string_view value) {
            const auto clock = decode_stage_clock(value);
            if (clock)
                joined.join(*clock);
            else
                read = std::unexpected(clock.error());
            return clock.has_value();
        };
        const std::string from = stage_clock_key(session, shard, LogPosition{});
        const std::string end = stage_clock_key(session, shard, LogPosition{~std::uint64_t{0}});
        const auto scanned =
            stored->scan(Table::stage, from, end,
                         [&](std::string_view, std::string_view value) { return take(value); });
        if (!scanned || !read) {
            halt(scanned ? read.error() : scanned.error());
            return {};
        }
        for (auto row = staging_.rows.lower_bound(from);
             row != staging_.rows.end() && row->first < end; ++row)
            ASSERT(take(row->second));  // it was encoded here
        if (!joined.empty()) clocks.emplace_back(shard, std::move(joined));
    }
    return clocks;
}

// The leaves of one key with an entry that the clock covers.
std::vector<LeafKey> Store::leaves_within(const RowAddress& address, const VersionVector& clock) {
    std::vector<LeafKey> leaves;
    std::unique_ptr<KeyRecord> loaded;
    KeyRecord* record = in_memory(address);
    if (record != nullptr) {
        settle(*record);
    } else if ((loaded = load_record(address))) {
        record = loaded.get();
        put_under_mask(*record);
    }
    if (record == nullptr) return leaves;
    const auto offer = [&](LeafKind kind, std::string_view sub, const Leaf& leaf) {
        if (any_within(leaf, clock))
            leaves.push_back({address.database, kind, std::string(record->key), std::string(sub)});
    };
    offer(LeafKind::string, {}, record->string);
    if (!record->extra) return leaves;
    for (const auto& [kind, leaf] : record->extra->leaves) offer(kind, {}, leaf);
    for (const LeafKind kind : {LeafKind::member, LeafKind::field, LeafKind::remove_wins_member})
        for_each_element(*record, kind, {}, [&](const Element& element) {
            offer(kind, element.sub, element.leaf);
            return true;
        });
    return leaves;
}

// Up to `count` keys of the shards that the clocks name; `from` goes behind them.
std::vector<RowAddress> Store::next_keys(const ShardClocks& clocks, RowAddress& from,
                                         std::size_t count) {
    std::vector<RowAddress> keys;
    while (from.shard <= held_.back()) {
        const ShardRun run = run_of(from.shard, options_.shard_count);
        from.database = std::max(from.database, run.database_first);
        if (holds(from.shard) && clock_of(clocks, from.shard) != nullptr && count > 0)
            visit_keys(from.shard, from.database, from.order.order, [&](const KeyRecord& record) {
                if (record.order() >= from.order) keys.push_back(record.address);
                return keys.size() < count;
            });
        if (keys.size() >= count) {
            from = keys.empty() ? from : keys.back();
            ++from.order.check;  // no key has the last of all hashes
            break;
        }
        from.order = {};
        if (++from.database <= run.database_last) continue;
        from = {ShardId{static_cast<std::uint16_t>(from.shard.value + 1)}, 0, {}};
    }
    return keys;
}

bool Store::stage_absent(std::uint64_t session, const ShardClocks& clocks, RowAddress& from,
                         std::size_t key_count) {
    ASSERT(key_count > 0);
    // What is staged lies in memory or in the table, and rows are the state.
    if (!can_compare_staged()) return false;
    Stage stage{.session = session, .clocks = {}, .leaves = {}, .cursor = {}};
    const auto flush = [&] {
        if (stage.leaves.empty()) return;
        stage.clocks = clocks;
        this->stage(stage);
        stage.leaves.clear();
    };
    for (const RowAddress& address : next_keys(clocks, from, key_count))
        for (LeafKey& key : leaves_within(address, *clock_of(clocks, address.shard))) {
            if (stages(session, key)) continue;
            stage.leaves.push_back({std::move(key), Leaf{}});
            if (stage.leaves.size() == kLeavesAtOnce) flush();
        }
    flush();
    return from.shard > held_.back() && !halted_;
}

}  // namespace skerry
