#include "node/pull_cursor.hpp"

#include "crdt/codec.hpp"

namespace skerry {

std::string encode(const PullCursor& cursor) {
    std::string out;
    Packer packer(out);
    packer.array(5);
    packer.number(cursor.nonce);
    packer.put(cursor.base);
    packer.put(cursor.pass_clocks);
    packer.bytes(cursor.cursor);
    packer.number(cursor.whole ? 1 : 0);
    return out;
}

Result<PullCursor> decode_pull_cursor(std::string_view bytes) {
    Unpacker in(bytes);
    in.array_of(5);
    PullCursor cursor;
    cursor.nonce = in.number();
    cursor.base = in.shard_clocks();
    cursor.pass_clocks = in.shard_clocks();
    cursor.cursor = in.bytes();
    cursor.whole = in.number_up_to(1) != 0;
    if (auto done = in.done("pull cursor"); !done) return std::unexpected(done.error());
    return cursor;
}

}  // namespace skerry
