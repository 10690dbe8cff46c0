#include "store/bucket_digests.hpp"

namespace skerry {

namespace {
constexpr unsigned kHashBits = 50;  // of an order, below the slot

}  // namespace

std::uint64_t first_order(ShardId shard, std::uint16_t shard_count) {
    const std::uint64_t slot =
        (std::uint64_t{shard.value} * kSlotCount + shard_count - 1) / shard_count;
    return slot << kHashBits;
}

std::uint16_t bucket_of(const KeyOrder& order, std::uint16_t shard_count) {
    const ShardId shard = shard_of_slot(order.slot(), shard_count);
    const std::uint64_t first = first_order(shard, shard_count);
    // The one behind the last shard begins at 2^64, which is 0 here: the difference is right all the same.
    const std::uint64_t width =
        first_order(ShardId{static_cast<std::uint16_t>(shard.value + 1)}, shard_count) - first;
    // One shard alone has all 2^64 orders.
    const std::uint64_t part = width == 0 ? std::uint64_t{1} << 56 : (width - 1) / kBucketCount + 1;
    return static_cast<std::uint16_t>((order.order - first) / part);
}

bool add_rows(Store& store, ShardId shard, WalkPlace& place, std::size_t& row_count,
              BucketDigests& sums) {
    return walk_leaves(store, shard, place, kWalkEnd, row_count, [&](const WalkedLeaf& walked) {
        const std::uint64_t digest =
            digest_of(walked.address, walked.kind, walked.element, walked.leaf);
        if (digest == 0) return;
        const std::uint16_t bucket = bucket_of(walked.address.order, store.shard_count());
        const auto sum = sums.try_emplace(bucket, 0).first;
        sum->second += digest;
        if (sum->second == 0) sums.erase(sum);
    });
}

}  // namespace skerry
