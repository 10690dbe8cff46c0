// store/log_frame.hpp — how one log record lies in a file.
//
//   0        4        8                16                24                24+length
//   | length | check  | position       | durable before  | body ...        |      integers little-endian
//
// check    the low 32 bits of XXH3-64 over everything behind it, 1 instead of 0. A length of 0 with a check of 0 is the
//          end of a preallocated segment.
// Tail     a bad frame is damage iff something later proves that it had been durable: the start of another segment, or a
//          whole frame whose "durable before" reaches it. Else it is what a crash left of an unfinished write.
// Limit    bytes inside a torn body that look like a later frame would be believed: damage reported, nothing lost.
#pragma once

#include <optional>

#include "store/log.hpp"

namespace skerry {

inline constexpr std::size_t kLogFrameHeaderBytes = 24;

struct LogFrame {
    LogPosition position;
    LogPosition durable_before;
    std::string_view body;    // into the bytes parsed
    std::size_t frame_bytes;  // header and body
};

// Requires: body.size() <= kLogBodyBytesMax.
void append_frame(std::string& out, LogPosition position, LogPosition durable_before,
                  std::string_view body);

// The same without copying the body: `out` holds kLogFrameHeaderBytes reserved at `header_at`, then
// the body to its end.
void seal_frame(std::string& out, std::size_t header_at, LogPosition position,
                LogPosition durable_before);

// The frame at the start of `bytes`; nullopt: none that is whole and passes its checksum.
[[nodiscard]] std::optional<LogFrame> parse_frame(std::string_view bytes);

// What a frame's header says, unchecked; nullopt: not a whole header, the end of a segment, or
// beyond the limits.
struct LogFrameHeader {
    LogPosition position;
    LogPosition durable_before;
    std::size_t frame_bytes;
};
[[nodiscard]] std::optional<LogFrameHeader> peek_frame(std::string_view bytes);

struct LogScan {
    LogPosition last;  // of the last whole frame; the position before `first` when there is none
    std::size_t good_bytes = 0;  // whole frames end here
    bool damaged = false;  // what follows had been durable and is gone: report it, change nothing
};

// Walks the frames of a segment that begins with position `first`, to its end or the first bad
// frame. `durable`: a position known from elsewhere to have been durable.
using LogFrameVisit = absl::FunctionRef<void(const LogFrame& frame, std::size_t offset)>;
[[nodiscard]] LogScan scan_frames(std::string_view bytes, LogPosition first, LogPosition durable,
                                  LogFrameVisit visit);

}  // namespace skerry
