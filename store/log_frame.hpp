// store/log_frame.hpp — how one log record lies in a file.
//
//   0        4        8                16                24                24+length
//   | length | check  | position       | durable before  | body ...        |      integers little-endian
//
// check    the low 32 bits of XXH3-64 over everything behind it. A length of 0 with a check of 0 is the end of a
//          preallocated segment.
#pragma once

#include <optional>

#include "store/log.hpp"

namespace skerry {

inline constexpr std::size_t kLogFrameHeaderBytes = 24;

struct LogFrame {
    LogPosition position;
    LogPosition durable_before;
    std::string_view body;      // into the bytes parsed
    std::size_t frame_bytes;    // header and body
};

// Requires: body.size() <= kLogBodyBytesMax.
void append_frame(std::string& out, LogPosition position, LogPosition durable_before, std::string_view body);

// The same without copying the body: `out` holds kLogFrameHeaderBytes reserved at `header_at`, then the body to its end.
void seal_frame(std::string& out, std::size_t header_at, LogPosition position, LogPosition durable_before);

// The frame at the start of `bytes`; nullopt: none that is whole and passes its checksum.
[[nodiscard]] std::optional<LogFrame> parse_frame(std::string_view bytes);

}  // namespace skerry
