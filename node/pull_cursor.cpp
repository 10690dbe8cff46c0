#include "node/pull_cursor.hpp"

#include <algorithm>

#include "crdt/codec.hpp"

namespace skerry {

namespace {
constexpr std::size_t kRunFields = 3;
constexpr std::size_t kRunsMax = 64;
constexpr std::size_t kPlaceBytesMax = 64;
}  // namespace

std::string encode(const PullCursor& cursor) {
    std::string out;
    Packer packer(out);
    packer.array(15);
    packer.number(cursor.nonce);
    packer.put(cursor.base);
    packer.put(cursor.pass_clocks);
    packer.put(cursor.seen == cursor.pass_clocks ? ShardClocks{} : cursor.seen);  // as a rule
    packer.bytes(cursor.cursor);
    packer.number(cursor.leaves);
    packer.number(cursor.bytes);
    packer.number(cursor.spent_ms);
    packer.number(cursor.whole ? 1 : 0);
    packer.put(cursor.floors);
    packer.number(static_cast<std::uint64_t>(cursor.full));
    packer.number(cursor.foreign);
    packer.number(cursor.moved ? 1 : 0);
    packer.put(cursor.compared);
    packer.array(kRunFields * cursor.runs.size());
    for (const CompareRun& run : cursor.runs) {
        packer.number(run.first);
        packer.number(run.end);
        packer.bytes(run.from);
    }
    return out;
}

Result<PullCursor> decode_pull_cursor(std::string_view bytes) {
    Unpacker in(bytes);
    in.array_of(15);
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
    cursor.whole = in.number_up_to(1) != 0;
    cursor.floors = in.shard_clocks();
    cursor.full = static_cast<Full>(in.number_up_to(static_cast<std::uint64_t>(Full::all)));
    cursor.foreign = in.number();
    cursor.moved = in.number_up_to(1) != 0;
    cursor.compared = in.shard_clocks();
    const std::size_t fields = in.array();
    if (fields % kRunFields != 0 || fields > kRunFields * kRunsMax) in.reject("runs");
    for (std::size_t i = 0; !in.failed() && i < fields / kRunFields; ++i) {
        CompareRun& run = cursor.runs.emplace_back();
        run.first = in.number_up_to(cursor.compared.size());
        run.end = in.number_up_to(cursor.compared.size());
        run.from = in.bytes(kPlaceBytesMax);
    }
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
