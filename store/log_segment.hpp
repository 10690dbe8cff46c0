// store/log_segment.hpp — one segment of the log as a file: its name, its header, its place in the directory.
//
// Form     drawn in store/file_log.hpp, which writes them; store/log_view.hpp reads them beside it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "store/log_frame.hpp"
#include "store/posix_file.hpp"

namespace skerry {

inline constexpr std::uint32_t kLogFormat = 5;
inline constexpr std::size_t kLogSegmentHeaderBytes = 24;
inline constexpr std::uint64_t kLogSegmentBytesMax = std::uint64_t{1} << 30;
static_assert(kLogSegmentHeaderBytes + kLogFrameHeaderBytes + kLogBodyBytesMax <=
              kLogSegmentBytesMax);

[[nodiscard]] std::string name_of_segment(LogPosition first);
[[nodiscard]] std::string segment_header(LogPosition first);

// What the header says is the segment's first position, if the file is one of ours and named after
// it.   Errors: unsupported (foreign, or of a later version), corrupt.
[[nodiscard]] Result<LogPosition> read_segment_header(const std::filesystem::path& path,
                                                      std::string_view bytes);

struct LogListing {
    std::vector<std::filesystem::path> segments;    // by name, which is by position
    std::vector<std::filesystem::path> unfinished;  // never used: a crash came between
};
[[nodiscard]] Result<LogListing> list_log(const std::filesystem::path& directory);

// Errors: corrupt (longer than any segment), io_failed.
[[nodiscard]] Result<std::string> read_whole_segment(const PosixFile& file);

}  // namespace skerry
