#include "store/log_segment.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "crdt/hash.hpp"

namespace skerry {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little,
              "segment headers are copied as they lie in memory");

constexpr std::string_view kMagic = "SKRYLOG1";
constexpr std::size_t kNameDigits = 20;
constexpr std::string_view kExtension = ".log";
constexpr std::string_view kUnfinished = ".new";

struct Header {
    char magic[8];
    std::uint32_t format;
    std::uint32_t check;
    std::uint64_t first;
};
static_assert(sizeof(Header) == kLogSegmentHeaderBytes);

std::string_view bytes_of(const Header& header) {
    return {reinterpret_cast<const char*>(&header), sizeof header};
}

Header header_for(LogPosition first, std::uint32_t format = kLogFormat) {
    Header header{.magic = {}, .format = format, .check = 0, .first = first.value};
    std::memcpy(header.magic, kMagic.data(), sizeof header.magic);
    header.check = static_cast<std::uint32_t>(hash64(bytes_of(header)));
    return header;
}

}  // namespace

std::string name_of_segment(LogPosition first) {
    std::string digits = std::to_string(first.value);
    return std::string(kNameDigits - digits.size(), '0') + digits + std::string(kExtension);
}

std::string segment_header(LogPosition first) { return std::string(bytes_of(header_for(first))); }

Result<LogPosition> read_segment_header(const fs::path& path, std::string_view bytes) {
    Header header{};
    if (bytes.size() < sizeof header || !bytes.starts_with(kMagic)) {
        return fail(Code::unsupported,
                    path.string() +
                        ": not a log segment of Skerry, or its first bytes are damaged: "
                        "move it away if it is another program's, else restore it");
    }
    std::memcpy(&header, bytes.data(), sizeof header);
    const LogPosition first{header.first};
    const Header sound = header_for(first, header.format);
    const bool damaged =
        first.value == 0 || header.format == 0 || std::memcmp(&header, &sound, sizeof header) != 0;
    // What a later version checks its header by is unknown here.
    if (header.format > kLogFormat || (header.format != kLogFormat && !damaged)) {
        return fail(Code::unsupported, path.string() + ": written by " +
                                           (header.format > kLogFormat ? "a later" : "an earlier") +
                                           " version of Skerry (log format " +
                                           std::to_string(header.format) + ", this one reads " +
                                           std::to_string(kLogFormat) + "): start that version");
    }
    if (damaged) {
        return fail(
            Code::corrupt,
            path.string() + ": offset 0: the segment's header is damaged: restore the file");
    }
    if (path.filename() != name_of_segment(first)) {
        return fail(Code::corrupt, path.string() + ": begins with record " +
                                       std::to_string(first.value) + " and should be named " +
                                       name_of_segment(first) + ": rename it back");
    }
    return first;
}

Result<LogListing> list_log(const fs::path& directory) {
    LogListing listing;
    std::error_code error;
    for (fs::directory_iterator it(directory, error), end; !error && it != end;
         it.increment(error)) {
        if (it->path().extension() == kExtension) listing.segments.push_back(it->path());
        if (it->path().extension() == kUnfinished) listing.unfinished.push_back(it->path());
    }
    if (error) return system_failure(error.value(), directory, "list");
    std::ranges::sort(listing.segments);
    return listing;
}

Result<std::string> read_whole_segment(const PosixFile& file) {
    const auto bytes = file.bytes();
    if (!bytes) return std::unexpected(bytes.error());
    if (*bytes > kLogSegmentBytesMax) {
        return fail(Code::corrupt,
                    file.path().string() + ": longer than any log segment: restore the file");
    }
    std::string content(static_cast<std::size_t>(*bytes), '\0');
    const auto got = file.read_at(content.data(), content.size(), 0);
    if (!got) return std::unexpected(got.error());
    content.resize(*got);
    return content;
}

}  // namespace skerry
