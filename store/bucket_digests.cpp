#include "store/bucket_digests.hpp"

namespace skerry {

namespace {
constexpr unsigned kHashBits = 50;  // of an order, below the slot

// Of part `index` of `count`; the part behind the last begins at 2^64, which is 0.
std::uint64_t first_of(std::uint64_t index, std::uint16_t count) {
    return (index * kSlotCount + count - 1) / count << kHashBits;
}
}  // namespace

std::uint64_t first_order(ShardId shard, std::uint16_t slot_shard_count) {
    const ShardRun run = run_of(shard, slot_shard_count);
    return first_of(shard.value - run.first.value, run.count);
}

std::uint16_t bucket_of(const RowAddress& address, std::uint16_t slot_shard_count) {
    const ShardRun run = run_of(address.shard, slot_shard_count);
    const std::uint64_t index = address.shard.value - run.first.value;
    const std::uint64_t first = first_of(index, run.count);
    const std::uint64_t width = first_of(index + 1, run.count) - first;
    // A shard that has all 2^64 orders.
    const std::uint64_t part = width == 0 ? std::uint64_t{1} << 56 : (width - 1) / kBucketCount + 1;
    return static_cast<std::uint16_t>((address.order.order - first) / part);
}

bool add_rows(Store& store, ShardId shard, WalkPlace& place, std::size_t& row_count,
              BucketDigests& sums) {
    return walk_leaves(store, shard, place, kWalkEnd, row_count, [&](const WalkedLeaf& walked) {
        const std::uint64_t digest =
            digest_of(walked.record.address, walked.kind, walked.element, walked.leaf);
        if (digest == 0) return;
        const std::uint16_t bucket = bucket_of(walked.record.address, store.slot_shard_count());
        const auto sum = sums.try_emplace(bucket, 0).first;
        sum->second += digest;
        if (sum->second == 0) sums.erase(sum);
    });
}

}  // namespace skerry
