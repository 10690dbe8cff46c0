// node/stretch.hpp — what this node holds of a run of leaves: for a peer that reconciles, and for the comparison with it.
//
// Item     of a leaf with live entries, at a server none of it outside the asker's base: the keyed hash of its place and those
//          entries. Equal items, equal leaves, as far as anybody can see. What a clear has masked is absent here as
//          everywhere: whether its rows are reclaimed is no matter.
// Slices   at most kSliceRows rows each; a request is answered from at most kRowsAtOnce rows, and a shard that has something
//          under way is passed over until it has not: what is said of a shard is its state at one durable clock.
// Thread   core thread.
#pragma once

#include <optional>

#include "net/message.hpp"
#include "store/leaf_walk.hpp"

namespace skerry {

inline constexpr std::size_t kSliceRows = 1024;
inline constexpr std::size_t kRowsAtOnce = 2 * kSliceRows;
inline constexpr std::size_t kStretchRowsMax =
    16 * kSliceRows;  // read for one request or comparison

// Is what is applied of the shard durable, and no leaf of a flip being measured or drained into it?
[[nodiscard]] bool settled(const Store& store, ShardId shard);

// A place on the wire; nullopt: no such place.
[[nodiscard]] std::string encode_place(const WalkPlace& place);
[[nodiscard]] std::optional<WalkPlace> decode_place(std::string_view bytes);

[[nodiscard]] LeafKey key_of(const WalkedLeaf& walked);

// nullopt: it is none.
[[nodiscard]] std::optional<std::uint64_t> item_of(const SipKey& key, const RowAddress& address,
                                                   const ElementOrder& element, const Leaf& leaf);

// Whose leaves: of a peer's, those outside the asker's base are left out, since the asker has them otherwise; of its own,
// none is, or what it has written since would hide what is dead.
enum class Whose : std::uint8_t { server, asker };
// Visits the leaves of a stretch that are items, in order, from up to `row_count` rows, which it counts down. The place where
// it has stopped; nullopt: it has come to the end.   Errors: malformed (no such shard or place).
using VisitItem = absl::FunctionRef<void(std::uint64_t item, const WalkedLeaf& walked)>;
[[nodiscard]] Result<std::optional<std::string>> visit_items(Store& store, Whose whose,
                                                             const Stretch& stretch,
                                                             std::size_t& row_count,
                                                             VisitItem visit);

// ---- for peers. Errors: malformed (a shard or a place that cannot be).
[[nodiscard]] Result<SliceReply> serve_slices(Store& store, const SliceRequest& request);
[[nodiscard]] Result<SymbolReply> serve_symbols(Store& store, const SymbolRequest& request);
[[nodiscard]] Result<LeafReply> serve_leaves(Store& store, const LeafRequest& request);

}  // namespace skerry
