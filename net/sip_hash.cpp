#include "net/sip_hash.hpp"

#include <sodium/crypto_shorthash_siphash24.h>

#include <bit>
#include <cstring>

namespace skerry {

static_assert(std::endian::native == std::endian::little, "key and hash are words of that order");

std::uint64_t sip_hash(const SipKey& key, std::string_view bytes) {
    const std::uint64_t words[] = {key.k0, key.k1};
    static_assert(sizeof words == crypto_shorthash_siphash24_KEYBYTES);
    unsigned char raw[sizeof words];
    std::memcpy(raw, words, sizeof words);
    std::uint64_t hash = 0;
    static_assert(sizeof hash == crypto_shorthash_siphash24_BYTES);
    unsigned char out[sizeof hash];
    crypto_shorthash_siphash24(out, reinterpret_cast<const unsigned char*>(bytes.data()),
                               bytes.size(), raw);
    std::memcpy(&hash, out, sizeof hash);
    return hash;
}

}  // namespace skerry
