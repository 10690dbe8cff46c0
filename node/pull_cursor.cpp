#include "node/pull_cursor.hpp"

#include "crdt/codec.hpp"

namespace skerry {

std::string encode(const PullCursor& cursor) {
    std::string out;
    Packer packer(out);
    packer.array(4);
    packer.number(cursor.nonce);
    packer.put(cursor.base);
    packer.put(cursor.pass_clocks);
    packer.bytes(cursor.cursor);
    return out;
}

Result<PullCursor> decode_pull_cursor(std::string_view bytes) {
    Unpacker in(bytes);
    in.array_of(4);
    PullCursor cursor;
    cursor.nonce = in.number();
    cursor.base = in.shard_clocks();
    cursor.pass_clocks = in.shard_clocks();
    cursor.cursor = in.bytes();
    if (auto done = in.done("pull cursor"); !done) return std::unexpected(done.error());
    return cursor;
}

}  // namespace skerry
