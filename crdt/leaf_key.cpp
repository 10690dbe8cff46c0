#include "crdt/leaf_key.hpp"

#include <array>

namespace skerry {

namespace {

constexpr std::array<std::uint16_t, 256> make_crc16_table() {
    std::array<std::uint16_t, 256> table{};
    for (unsigned byte = 0; byte < 256; ++byte) {
        unsigned crc = byte << 8;
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000) ? (crc << 1) ^ 0x1021 : crc << 1;
        table[byte] = static_cast<std::uint16_t>(crc);
    }
    return table;
}
constexpr auto kCrc16 = make_crc16_table();

std::uint16_t crc16(std::string_view bytes) {
    std::uint16_t crc = 0;
    for (const char c : bytes)
        crc = static_cast<std::uint16_t>(
            (crc << 8) ^ kCrc16[((crc >> 8) ^ static_cast<unsigned char>(c)) & 0xff]);
    return crc;
}

}  // namespace

std::uint16_t slot_of(std::string_view key) {
    if (const auto open = key.find('{'); open != std::string_view::npos) {
        const auto close = key.find('}', open + 1);
        if (close != std::string_view::npos && close > open + 1)
            key = key.substr(open + 1, close - open - 1);
    }
    return crc16(key) & (kSlotCount - 1);
}

std::vector<std::string> flush_keys(std::uint16_t shard_count) {
    std::vector<std::string> keys(shard_count);
    std::size_t found = 0;
    for (std::uint32_t i = 0; found < keys.size(); ++i) {
        std::string key = "flush:" + std::to_string(i);
        std::string& place = keys[shard_of_slot(slot_of(key), shard_count).value];
        if (!place.empty()) continue;
        place = std::move(key);
        ++found;
    }
    return keys;
}

}  // namespace skerry
