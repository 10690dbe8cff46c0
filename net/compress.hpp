// net/compress.hpp — zstd for frames: fast, only where it helps, and never more memory than was allowed.
//
// Pure     bytes in, bytes out; the same input gives the same output under one version of zstd.
// Hostile  the size that a compressed frame declares is checked before anything is allocated.
// Source   zstd (https://facebook.github.io/zstd), included by compress.cpp alone.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "crdt/result.hpp"

namespace skerry {

// Level 1. Nothing comes back when it saves a tenth or less.
[[nodiscard]] std::optional<std::string> compress(std::string_view plain);

// Errors: too_large (declares more than `plain_bytes_max`), malformed (also: no declared size,
// bytes behind the end).
[[nodiscard]] Result<std::string> decompress(std::string_view compressed,
                                             std::size_t plain_bytes_max);

}  // namespace skerry
