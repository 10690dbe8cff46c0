#include "node/pull_cursor.hpp"

#include <algorithm>

#include "crdt/codec.hpp"

namespace skerry {

std::string encode(const PullCursor& cursor) {
    std::string out;
    Packer packer(out);
    packer.array(8);
    packer.number(cursor.nonce);
    packer.put(cursor.base);
    packer.put(cursor.pass_clocks);
    packer.put(cursor.seen == cursor.pass_clocks ? ShardClocks{} : cursor.seen);  // as a rule
    packer.bytes(cursor.cursor);
    packer.number(cursor.leaves);
    packer.number(cursor.bytes);
    packer.number(cursor.spent_ms);
    return out;
}

Result<PullCursor> decode_pull_cursor(std::string_view bytes) {
    Unpacker in(bytes);
    in.array_of(8);
    PullCursor cursor;
    cursor.nonce = in.number();
    cursor.base = in.shard_clocks();
    cursor.pass_clocks = in.shard_clocks();
    cursor.seen = in.shard_clocks();
    if (cursor.seen.empty()) cursor.seen = cursor.pass_clocks;
    cursor.cursor = in.bytes();
    cursor.leaves = in.number();
    cursor.bytes = in.number();
    cursor.spent_ms = in.number();
    if (auto done = in.done("pull cursor"); !done) return std::unexpected(done.error());
    return cursor;
}

bool covers_all(const ShardClocks& clocks, const ShardClocks& wanted) {
    return std::ranges::all_of(wanted, [&](const auto& one) {
        const auto found = std::ranges::lower_bound(clocks, one.first, {},
                                                    &std::pair<ShardId, VersionVector>::first);
        return one.second.empty() || (found != clocks.end() && found->first == one.first &&
                                      found->second.covers(one.second));
    });
}

}  // namespace skerry
