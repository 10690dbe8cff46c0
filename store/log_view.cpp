#include "store/log_view.hpp"

#include <algorithm>

namespace skerry {
namespace {
namespace fs = std::filesystem;

constexpr int kListings = 10;  // while the writer drops segments below the listing

std::unexpected<Error> read_only() {
    return fail(Code::refused, "the log has been opened for reading alone");
}

std::string_view frames_of(std::string_view content) {
    return content.substr(std::min(kLogSegmentHeaderBytes, content.size()));
}

}  // namespace

Result<std::unique_ptr<LogView>> LogView::open(const fs::path& directory, Progress progress) {
    std::unique_ptr<LogView> view(new LogView);
    std::error_code error;
    if (!fs::exists(directory, error)) return view;
    bool all = false;
    for (int i = 0; !all; ++i) {
        if (i == kListings)
            return fail(Code::io_failed, directory.string() + ": its files come and go: try again");
        const auto opened = view->open_segments(directory);
        if (!opened) return std::unexpected(opened.error());
        all = *opened;
    }
    std::uint64_t total = 0;
    for (const Segment& segment : view->segments_) total += segment.bytes;
    std::uint64_t done = 0;
    LogPosition expected;
    for (auto segment = view->segments_.begin(); segment != view->segments_.end(); ++segment) {
        const std::uint64_t bytes = segment->bytes;
        const auto next = std::next(segment);
        if (expected.value != 0 && segment->first > expected) {
            view->note(Code::corrupt,
                       directory.string() + ": records " + std::to_string(expected.value) + " to " +
                           std::to_string(segment->first.value - 1) + " are missing before " +
                           segment->file.path().filename().string() +
                           ": a segment is gone or was cut: restore it from a copy");
        }
        auto scanned = view->scan(*segment, next == view->segments_.end() ? nullptr : &*next);
        if (!scanned) return std::unexpected(scanned.error());
        expected = segment->last.next();
        progress(done += bytes, total);
    }
    return view;
}

// False: a file went away after it had been listed.
Result<bool> LogView::open_segments(const fs::path& directory) {
    segments_.clear();
    problems_.clear();
    const auto listing = list_log(directory);
    if (!listing) return std::unexpected(listing.error());
    for (const fs::path& path : listing->segments) {
        auto file = PosixFile::open(path, PosixFile::Mode::to_read);
        std::error_code error;
        if (!file && !fs::exists(path, error) && !error) return false;
        if (!file) return std::unexpected(file.error());
        const auto bytes = file->bytes();
        if (!bytes) return std::unexpected(bytes.error());
        std::string header(kLogSegmentHeaderBytes, '\0');
        const auto got = file->read_at(header.data(), header.size(), 0);
        if (!got) return std::unexpected(got.error());
        header.resize(*got);
        const auto first = read_segment_header(path, header);
        if (!first) {
            note(first.error().code, first.error().where);
            continue;
        }
        segments_.push_back(
            {.file = std::move(*file), .first = *first, .last = {}, .bytes = *bytes});
    }
    return true;
}

// What a writer appends meanwhile is seen in pieces: a hole with later records behind it is damage only if it is still
// there when it is read again.
Result<LogView::Read> LogView::read_settled(const Segment& segment, LogPosition durable) {
    for (LogPosition seen;;) {
        const auto content = read_whole_segment(segment.file);
        if (!content) return std::unexpected(content.error());
        const auto found = scan_frames(frames_of(*content), segment.first, durable,
                                       [](const LogFrame&, std::size_t) {});
        if (!found.damaged || found.last == seen) return Read{found, content->size()};
        seen = found.last;
    }
}

Result<void> LogView::scan(Segment& segment, const Segment* next) {
    // No segment is left before it has a frame.
    const LogPosition durable = next == nullptr ? LogPosition{} : segment.first;
    const auto read = read_settled(segment, durable);
    if (!read && read.error().code != Code::corrupt) return std::unexpected(read.error());
    segment.last = LogPosition{segment.first.value - 1};
    segment.bytes = kLogSegmentHeaderBytes;
    if (!read) {
        note(Code::corrupt, read.error().where);
        return {};
    }
    const LogScan& found = read->found;
    segment.last = found.last;
    segment.bytes += found.good_bytes;
    const std::string place =
        segment.file.path().string() + ": offset " + std::to_string(segment.bytes) + ": record ";
    // A segment is cut to its frames before the next one begins: what is left over is damage.
    const bool left_over = next != nullptr && segment.bytes < read->bytes;
    if (found.damaged || left_over) {
        note(Code::corrupt, place + std::to_string(segment.last.value + 1) +
                                " had been durable and is damaged: restore the file from a copy");
        return {};
    }
    if (next != nullptr && next->first <= segment.last) {
        note(Code::corrupt, segment.file.path().string() +
                                ": overlaps the segment behind it: files of two times are mixed, "
                                "restore the directory from a copy");
    }
    return {};
}

Result<std::string> LogView::content(const Segment& segment) {
    std::string bytes(static_cast<std::size_t>(segment.bytes), '\0');
    const auto got = segment.file.read_at(bytes.data(), bytes.size(), 0);
    if (!got) return std::unexpected(got.error());
    const auto again =
        scan_frames(frames_of(bytes), segment.first, {}, [](const LogFrame&, std::size_t) {});
    if (*got != bytes.size() || again.last != segment.last)
        return fail(Code::corrupt, segment.file.path().string() +
                                       ": what had been read of it has changed: is another program "
                                       "writing to the directory?");
    return bytes;
}

Result<void> LogView::make_durable() {
    if (segments_.empty()) return {};
    return segments_.back().file.sync_data();
}

LogPosition LogView::first() const {
    return segments_.empty() ? LogPosition{1} : segments_.front().first;
}

LogPosition LogView::last() const {
    return segments_.empty() ? LogPosition{0} : segments_.back().last;
}

std::uint64_t LogView::bytes_kept() const {
    std::uint64_t bytes = 0;
    for (const Segment& segment : segments_) bytes += segment.bytes;
    return bytes;
}

Result<void> LogView::read(LogPosition from, Visit visit) const {
    ASSERT(problems_.empty());
    if (from < first())
        return fail(Code::truncated, "log: record " + std::to_string(from.value) +
                                         " is no longer kept, the first is " +
                                         std::to_string(first().value));
    bool wanted = true;
    for (const Segment& segment : segments_) {
        if (!wanted) break;
        if (segment.last < from) continue;
        if (cached_ != &segment) {
            auto bytes = content(segment);
            if (!bytes) return std::unexpected(bytes.error());
            cache_ = std::move(*bytes);
            cached_ = &segment;
        }
        std::string_view rest = frames_of(cache_);
        while (wanted && !rest.empty()) {
            const auto header = peek_frame(rest);
            ASSERT(header && header->frame_bytes <= rest.size());  // content() has checked them
            if (header->position >= from)
                wanted = visit(header->position,
                               rest.substr(0, header->frame_bytes).substr(kLogFrameHeaderBytes));
            rest.remove_prefix(header->frame_bytes);
        }
    }
    return {};
}

Result<void> LogView::append(std::string_view, LogPosition) { return read_only(); }
Result<void> LogView::sync() { return read_only(); }
Result<void> LogView::truncate_to_durable() { return read_only(); }
Result<void> LogView::drop_before(LogPosition) { return read_only(); }

}  // namespace skerry
