// node/clock_token.hpp — a clock as text, for CRDT.CLOCK and CRDT.BARRIER: hexadecimal digits, opaque to clients.
#pragma once

#include <string>
#include <string_view>

#include "crdt/result.hpp"
#include "crdt/version_vector.hpp"

namespace skerry {

[[nodiscard]] std::string encode_clock_token(const ShardClocks& clocks);
// Errors: malformed.
[[nodiscard]] Result<ShardClocks> decode_clock_token(std::string_view token);

}  // namespace skerry
