// store/bucket_digests.hpp — what the rows of a shard add up to, bucket by bucket, read in slices.
//
// Why      the digest kept with a shard (memtable.hpp) says that two nodes differ, not where; and it is kept beside the rows,
//          so a row that the disk has lost or changed does not show in it. Here every row is read.
// Bucket   one of 256 equal parts of the shard's key orders, so that a bucket is one range of rows, the same at every node.
// Cost     O(rows), in slices: store/leaf_walk.hpp.
// Thread   core thread.
#pragma once

#include <map>

#include "store/leaf_walk.hpp"

namespace skerry {

inline constexpr std::uint16_t kBucketCount = 256;
using BucketDigests = std::map<std::uint16_t, std::uint64_t>;  // none that is zero

// The first order that a key of the shard can have, and the bucket of one that it has.
[[nodiscard]] std::uint64_t first_order(ShardId shard, std::uint16_t slot_shard_count);
[[nodiscard]] std::uint16_t bucket_of(const RowAddress& address, std::uint16_t slot_shard_count);

// Adds the digests of rows from `place` on, at most `row_count` of them, which it counts down. True: the shard is done.
[[nodiscard]] bool add_rows(Store& store, ShardId shard, WalkPlace& place, std::size_t& row_count,
                            BucketDigests& sums);

}  // namespace skerry
