#include "node/clock_token.hpp"

#include "crdt/codec.hpp"

namespace skerry {

std::string encode_clock_token(const ShardClocks& clocks) {
    std::string bytes;
    Packer packer(bytes);
    packer.array(1);
    packer.put(clocks);
    std::string token;
    constexpr char kDigits[] = "0123456789abcdef";
    for (const char byte : bytes) {
        token += kDigits[static_cast<unsigned char>(byte) >> 4];
        token += kDigits[static_cast<unsigned char>(byte) & 15];
    }
    return token;
}

Result<ShardClocks> decode_clock_token(std::string_view token) {
    const auto digit = [](char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    std::string bytes;
    for (std::size_t i = 0; i + 1 < token.size(); i += 2) {
        const int high = digit(token[i]);
        const int low = digit(token[i + 1]);
        if (high < 0 || low < 0) return fail(Code::malformed, "clock token");
        bytes.push_back(static_cast<char>(high << 4 | low));
    }
    if (token.size() % 2 != 0) return fail(Code::malformed, "clock token");
    Unpacker in(bytes);
    in.array_of(1);
    ShardClocks clocks = in.shard_clocks();
    if (auto done = in.done("clock token"); !done) return std::unexpected(done.error());
    return clocks;
}

}  // namespace skerry
