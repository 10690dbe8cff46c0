#include "store/bucket_digests.hpp"

#include <algorithm>

namespace skerry {

namespace {
constexpr unsigned kHashBits = 50;  // of an order, below the slot

constexpr auto kElementKindsInOrder =
    std::to_array({LeafKind::member, LeafKind::field, LeafKind::remove_wins_member});
static_assert(std::ranges::is_sorted(kElementKindsInOrder));
static_assert(kElementKindsInOrder.size() == kElementKinds);

KeyOrder behind(KeyOrder order) {
    if (++order.check == 0) ++order.order;
    return order;
}

Hash128 behind(Hash128 hash) {
    if (++hash.low == 0) ++hash.high;
    return hash;
}

class RowWalk {
  public:
    RowWalk(Store& store, ShardId shard, WalkPlace& place, std::size_t& row_count,
            BucketDigests& sums)
        : store_(store), shard_(shard), place_(place), row_count_(row_count), sums_(sums) {}

    // True: the database is done.
    bool walk_database() {
        while (row_count_ > 0) {
            std::optional<std::string> collection;
            bool more = false;
            const auto visit = [&](const KeyRecord& record) {
                if (record.order() < place_.key) return true;
                more = row_count_ == 0;
                if (more) return false;
                if (!place_.inside || record.order() != place_.key) add_key_row(record);
                if (record.extra) collection = record.key.view();
                if (!collection) place_.key = behind(record.order());
                return !collection;
            };
            store_.for_each_key_of(shard_, place_.database, place_.key.order, visit);
            if (collection && !walk_elements(*collection)) return false;
            if (!collection && !more) return true;
        }
        return false;
    }

  private:
    void add(const KeyRecord& record, LeafKind kind, const ElementOrder& element,
             const Leaf& leaf) {
        const std::uint64_t digest = digest_of(record.address, kind, element, leaf);
        if (digest == 0) return;
        const std::uint16_t bucket = bucket_of(record.address, store_.slot_shard_count());
        const auto sum = sums_.try_emplace(bucket, 0).first;
        sum->second += digest;
        if (sum->second == 0) sums_.erase(sum);
    }

    void add_key_row(const KeyRecord& record) {
        --row_count_;
        place_ = {place_.database, record.order(), record.extra != nullptr, {}};
        add(record, LeafKind::string, {LeafKind::string, {}}, record.string);
        if (!record.extra) return;
        for (const auto& [kind, leaf] : record.extra->leaves) add(record, kind, {kind, {}}, leaf);
    }

    // True: the key is done.
    bool walk_elements(const std::string& key) {
        KeyRecord* record = store_.find(place_.database, key);
        bool more = false;
        for (const LeafKind kind : kElementKindsInOrder) {
            if (record == nullptr || more || kind < place_.element.kind) continue;
            if (kind != place_.element.kind) place_.element = {kind, {}};
            store_.for_each_element(*record, kind, place_.element.hash,
                                    [&](const Element& element) {
                                        more = row_count_ == 0;
                                        if (more) return false;
                                        --row_count_;
                                        add(*record, kind, element.place, element.leaf);
                                        place_.element.hash = behind(element.place.hash);
                                        return true;
                                    });
        }
        if (more) return false;
        place_ = {place_.database, behind(place_.key), false, {}};
        return true;
    }

    Store& store_;
    ShardId shard_;
    WalkPlace& place_;
    std::size_t& row_count_;
    BucketDigests& sums_;
};
}  // namespace

std::uint64_t first_order(ShardId shard, std::uint16_t slot_shard_count) {
    const std::uint64_t slot =
        (std::uint64_t{shard.value} * kSlotCount + slot_shard_count - 1) / slot_shard_count;
    return slot << kHashBits;  // the shard behind the last begins at 2^64, which is 0
}

std::uint16_t bucket_of(const RowAddress& address, std::uint16_t slot_shard_count) {
    const std::uint64_t first = first_order(address.shard, slot_shard_count);
    const ShardId next{static_cast<std::uint16_t>(address.shard.value + 1)};
    const bool whole = address.database == kConfigurationDatabase;
    const std::uint64_t width = whole ? 0 : first_order(next, slot_shard_count) - first;
    // A shard that has all 2^64 orders.
    const std::uint64_t part = width == 0 ? std::uint64_t{1} << 56 : (width - 1) / kBucketCount + 1;
    return static_cast<std::uint16_t>((address.order.order - first) / part);
}

bool add_rows(Store& store, ShardId shard, WalkPlace& place, std::size_t& row_count,
              BucketDigests& sums) {
    RowWalk walk(store, shard, place, row_count, sums);
    const KeyOrder first{first_order(shard, store.slot_shard_count()), 0};
    while (place.database < kKeyspaceCount) {
        place.key = std::max(place.key, first);
        if (!walk.walk_database()) return false;
        place = {static_cast<std::uint8_t>(place.database + 1), first, false, {}};
    }
    return true;
}

}  // namespace skerry
