#include "store/file_log.hpp"

#include <algorithm>
#include <limits>
#include <optional>

namespace skerry {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUnfinished = ".new";
constexpr std::string_view kNextName = "next.new";  // gone at the next start, as every .new
constexpr std::uint64_t kMarkBytes = 64 * 1024;
constexpr std::size_t kReadBytes = 1024 * 1024;

std::unexpected<Error> damaged(const fs::path& path, std::uint64_t offset, LogPosition position) {
    return fail(Code::corrupt,
                path.string() + ": offset " + std::to_string(offset) + ": record " +
                    std::to_string(position.value) +
                    " had been durable and is damaged or missing: restore the file from a copy, or "
                    "start this node empty and let it fetch its state from a peer");
}

}  // namespace

void FileLog::Segment::mark(LogPosition position, std::uint64_t offset) {
    if (marks.empty() || offset >= marks.back().offset + kMarkBytes)
        marks.push_back({position, offset});
}

Result<FileLog::Opened> FileLog::open_segment(const fs::path& path, LogPosition next_first) {
    auto file = PosixFile::open(path, PosixFile::Mode::existing);
    if (!file) return std::unexpected(file.error());
    const auto content = read_whole_segment(*file);
    if (!content) return std::unexpected(content.error());
    const auto first = read_segment_header(path, *content);
    if (!first) return std::unexpected(first.error());
    auto segment = std::make_shared<Segment>();
    segment->file = std::move(*file);
    segment->first = *first;
    const LogPosition durable{next_first.value == 0 ? 0 : next_first.value - 1};
    const auto scan =
        scan_frames(std::string_view(*content).substr(kLogSegmentHeaderBytes), segment->first,
                    durable, [&](const LogFrame& frame, std::size_t offset) {
                        segment->mark(frame.position, kLogSegmentHeaderBytes + offset);
                    });
    segment->bytes = kLogSegmentHeaderBytes + scan.good_bytes;
    if (scan.damaged) return damaged(path, segment->bytes, scan.last.next());
    if (next_first.value != 0 && scan.last.next() != next_first) {
        return fail(
            Code::corrupt,
            path.string() + ": overlaps the segment behind it: restore the directory from a copy");
    }
    return Opened{std::move(segment), scan.last};
}

Result<std::unique_ptr<FileLog>> FileLog::open(const fs::path& directory, Options options) {
    ASSERT(options.first.value > 0);
    ASSERT(options.segment_bytes <= kLogSegmentBytesMax / 2);
    if (auto made = make_directory(directory); !made) return std::unexpected(made.error());
    const auto listing = list_log(directory);
    if (!listing) return std::unexpected(listing.error());
    std::deque<SegmentPointer> segments;
    LogPosition next_first, last;
    for (auto path = listing->segments.rbegin(); path != listing->segments.rend(); ++path) {
        auto opened = open_segment(*path, next_first);
        if (!opened) return std::unexpected(opened.error());
        if (segments.empty()) last = opened->last;
        next_first = opened->segment->first;
        segments.push_front(std::move(opened->segment));
    }
    // Every file is read and sound: only now may something be changed.
    std::unique_ptr<FileLog> log(new FileLog(directory, options));
    for (const auto& path : listing->unfinished) {
        if (auto removed = remove_file(path); !removed) return std::unexpected(removed.error());
    }
    if (auto adopted = log->adopt(std::move(segments), last); !adopted)
        return std::unexpected(adopted.error());
    return log;
}

Result<void> FileLog::adopt(std::deque<SegmentPointer> segments, LogPosition last) {
    if (segments.empty()) {
        auto made = make_segment(options_.first);
        if (!made) return std::unexpected(made.error());
        last = LogPosition{options_.first.value - 1};
        segments.push_back(std::move(*made));
    }
    segments_ = std::move(segments);
    first_ = segments_.front()->first.value;
    durable_ = last_ = last.value;
    durable_bytes_ = segments_.back()->bytes;
    // Cuts a torn tail, and makes durable what a killed process had written and not synced.
    return truncate_to_durable();
}

// A file that cannot be removed goes at the next start.
FileLog::~FileLog() {
    if (next_) static_cast<void>(remove_file(directory_ / kNextName));
}

// On a full disk a segment goes on without blocks of its own, behind the bytes that it has.
Result<std::uint64_t> FileLog::reserve(PosixFile& file, std::uint64_t bytes) const {
    const auto reserved = file.preallocate(options_.segment_bytes);
    if (reserved) return options_.segment_bytes;
    if (reserved.error().code != Code::out_of_space) return std::unexpected(reserved.error());
    if (auto cut = file.resize(bytes); !cut) return std::unexpected(cut.error());
    return bytes;
}

Result<void> FileLog::prepare_next() {
    if (has_next()) return {};
    auto file = PosixFile::open(directory_ / kNextName, PosixFile::Mode::emptied);
    auto done = file ? file->preallocate(options_.segment_bytes) : std::unexpected(file.error());
    if (done) done = file->sync_all();
    if (!done) {
        if (auto removed = remove_file(directory_ / kNextName); !removed) return removed;
        return done.error().code == Code::out_of_space ? Result<void>() : done;
    }
    const std::scoped_lock lock(mutex_);
    next_ = std::move(*file);
    return {};
}

bool FileLog::has_next() const {
    const std::scoped_lock lock(mutex_);
    return next_.has_value();
}

std::uint64_t FileLog::reserved_bytes() const {
    const std::scoped_lock lock(mutex_);
    const Segment& current = *segments_.back();
    const std::uint64_t left = current.reserved - std::min(current.reserved, current.bytes);
    return next_ ? std::max(left, options_.segment_bytes - kLogSegmentHeaderBytes) : left;
}

// The file that is to become a segment: the one that was prepared, or a new one, under a name that nobody else uses.
Result<PosixFile> FileLog::take_next(const fs::path& unfinished) {
    const std::scoped_lock lock(mutex_);
    if (!next_) return PosixFile::open(unfinished, PosixFile::Mode::emptied);
    PosixFile file = std::move(*next_);
    next_.reset();
    if (auto renamed = rename_file(directory_ / kNextName, unfinished); !renamed)
        return std::unexpected(renamed.error());
    return file;
}

Result<FileLog::SegmentPointer> FileLog::make_segment(LogPosition first) {
    const fs::path path = directory_ / name_of_segment(first);
    const fs::path unfinished = path.string() + std::string(kUnfinished);
    auto segment = std::make_shared<Segment>();
    segment->first = first;
    auto file = take_next(unfinished);
    if (!file) return std::unexpected(file.error());
    segment->file = std::move(*file);
    const auto reserved = reserve(segment->file, 0);
    auto done = reserved ? segment->file.write_at(segment_header(first), 0)
                         : std::unexpected(reserved.error());
    if (done) done = segment->file.sync_all();
    if (done) done = rename_file(unfinished, path);
    if (done) done = sync_directory(directory_);
    if (!done) {
        static_cast<void>(remove_file(unfinished));
        return std::unexpected(done.error());
    }
    segment->reserved = *reserved;
    segment->file.set_path(path);
    return segment;
}

std::uint64_t FileLog::bytes_kept() const {
    const std::scoped_lock lock(mutex_);
    std::uint64_t bytes = 0;
    for (const auto& segment : segments_) bytes += segment->bytes;
    return bytes;
}

// As many whole frames from the front of `frames` as the segment still takes, but one at least.
// Also asserts that they are whole frames for the next positions.
FileLog::Run FileLog::run_of(std::string_view frames, std::uint64_t room) const {
    Run run{.bytes = 0, .last = last(), .marks = {}};
    while (run.bytes < frames.size()) {
        const auto header = peek_frame(frames.substr(run.bytes));
        ASSERT(header.has_value());
        ASSERT(header->position == run.last.next());
        ASSERT(header->frame_bytes <= frames.size() - run.bytes);
        if (run.bytes > 0 && run.bytes + header->frame_bytes > room) break;
        if (run.marks.empty() || run.bytes >= run.marks.back().offset + kMarkBytes)
            run.marks.push_back({header->position, run.bytes});
        run.last = header->position;
        run.bytes += header->frame_bytes;
    }
    return run;
}

Result<void> FileLog::append(std::string_view frames, LogPosition last_position) {
    if (tail_undefined_) return fail(Code::io_failed, "log: an append has failed");
    if (sync_failed_) return fail(Code::io_failed, "log: a sync has failed");
    tail_undefined_ = true;
    while (!frames.empty()) {
        SegmentPointer segment = segments_.back();
        const auto room = [&] {
            return options_.segment_bytes - std::min(options_.segment_bytes, segment->bytes);
        };
        Run run = run_of(frames, room());
        if (run.bytes > room() && segment->bytes > kLogSegmentHeaderBytes) {
            if (auto begun = begin_next_segment(); !begun) return begun;
            segment = segments_.back();
            run = run_of(frames, room());
        }
        auto written = segment->file.write_at(frames.substr(0, run.bytes), segment->bytes);
        if (!written) return written;
        const std::scoped_lock lock(mutex_);
        for (const auto& mark : run.marks)
            segment->mark(mark.position, segment->bytes + mark.offset);
        segment->bytes += run.bytes;
        last_.store(run.last.value, std::memory_order_release);
        frames.remove_prefix(run.bytes);
    }
    ASSERT(last() == last_position);
    tail_undefined_ = false;
    return {};
}

Result<void> FileLog::begin_next_segment() {
    Segment& full = *segments_.back();
    // Synced whatever the options: a later segment is the proof that the earlier ones were whole.
    auto sealed = full.file.resize(full.bytes);
    if (sealed) sealed = full.file.sync_all();
    if (!sealed) return sealed;
    note_durable({segments_.back(), full.bytes, last()});
    auto made = make_segment(last().next());
    if (!made) return std::unexpected(made.error());
    const std::scoped_lock lock(mutex_);
    durable_bytes_ = kLogSegmentHeaderBytes;
    segments_.push_back(std::move(*made));
    return {};
}

Result<void> FileLog::sync() {
    Tail tail;
    {
        const std::scoped_lock lock(mutex_);
        tail = {segments_.back(), segments_.back()->bytes, last()};
    }
    if (durable() >= tail.last) return {};
    if (sync_failed_) return fail(Code::io_failed, "log: a sync has failed");
    if (options_.sync) {
        if (auto synced = tail.segment->file.sync_data(); !synced) {
            sync_failed_ = true;
            return synced;
        }
    }
    note_durable(tail);
    return {};
}

void FileLog::note_durable(const Tail& tail) {
    const std::scoped_lock lock(mutex_);
    if (durable() >= tail.last) return;  // another sync, begun later, ended before
    if (tail.segment == segments_.back()) durable_bytes_ = tail.bytes;
    durable_.store(tail.last.value, std::memory_order_release);
}

Result<void> FileLog::truncate_to_durable() {
    tail_undefined_ = true;
    const SegmentPointer segment = segments_.back();
    {
        const std::scoped_lock lock(mutex_);
        ++epoch_;
        segment->bytes = durable_bytes_;
        std::erase_if(segment->marks,
                      [&](const Mark& mark) { return mark.offset >= durable_bytes_; });
        last_.store(durable().value, std::memory_order_release);
    }
    // Cut physically, and durably: an old frame must never be found behind a new one.
    auto cut = segment->file.resize(durable_bytes_);
    if (cut) cut = segment->file.sync_all();
    if (!cut) return cut;
    const auto reserved = reserve(segment->file, durable_bytes_);
    if (!reserved) return std::unexpected(reserved.error());
    {
        const std::scoped_lock lock(mutex_);
        segment->reserved = *reserved;
    }
    tail_undefined_ = false;
    sync_failed_ = false;
    return {};
}

Result<std::optional<FileLog::Window>> FileLog::locate(LogPosition position) const {
    const std::scoped_lock lock(mutex_);
    if (position < segments_.front()->first) {
        return fail(Code::truncated, "log: record " + std::to_string(position.value) +
                                         " is no longer kept, the first is " +
                                         std::to_string(segments_.front()->first.value));
    }
    if (position > last()) return std::nullopt;
    auto found = std::ranges::upper_bound(segments_, position, {},
                                          [](const auto& segment) { return segment->first; });
    const auto& segment = *std::prev(found);
    const auto mark = std::ranges::upper_bound(segment->marks, position, {}, &Mark::position);
    ASSERT(mark != segment->marks.begin());
    return Window{segment, std::prev(mark)->offset, segment->bytes, epoch_};
}

Result<void> FileLog::read(LogPosition from, Visit visit) const {
    Progress progress{.next = from};
    while (progress.wanted) {
        const auto window = locate(progress.next);
        if (!window) return std::unexpected(window.error());
        if (!*window) return {};
        if (auto done = read_window(**window, progress, visit); !done) return done;
    }
    return {};
}

Result<void> FileLog::read_window(const Window& window, Progress& progress, Visit visit) const {
    const PosixFile& file = window.segment->file;
    std::string buffer;
    std::uint64_t offset = window.from;  // of the frame that is next
    std::size_t at = 0;                  // where it begins in the buffer
    while (offset < window.to) {
        std::string_view rest = std::string_view(buffer).substr(at);
        const auto header = peek_frame(rest);
        const std::size_t wanted = header ? header->frame_bytes : kLogFrameHeaderBytes;
        if (rest.size() < wanted && wanted <= window.to - offset) {
            const std::uint64_t left = window.to - offset;
            buffer.resize(static_cast<std::size_t>(
                std::min<std::uint64_t>(left, std::max(wanted, kReadBytes))));
            const auto got = file.read_at(buffer.data(), buffer.size(), offset);
            if (!got) return std::unexpected(got.error());
            buffer.resize(*got);
            at = 0;
            if (*got >= wanted) continue;
            rest = buffer;  // the file is shorter than it was
        }
        const auto frame = parse_frame(rest);
        if (!frame || frame->position > progress.next || frame->frame_bytes > window.to - offset) {
            const std::scoped_lock lock(mutex_);
            if (epoch_ != window.epoch)
                return {};  // truncated below us: look again from the same position
            return damaged(file.path(), offset, progress.next);
        }
        at += frame->frame_bytes;
        offset += frame->frame_bytes;
        if (frame->position < progress.next) continue;  // on the way from the mark
        progress.next = progress.next.next();
        progress.wanted = visit(frame->position, frame->body);
        if (!progress.wanted) return {};
    }
    return {};
}

Result<void> FileLog::drop_before(LogPosition position) {
    const std::scoped_lock one_drop(drop_mutex_);
    for (;;) {
        SegmentPointer oldest;
        {
            const std::scoped_lock lock(mutex_);
            if (segments_.size() < 2 || segments_[1]->first > position) return {};
            oldest = std::move(segments_.front());
            segments_.pop_front();
            first_.store(segments_.front()->first.value, std::memory_order_release);
        }
        // One by one, each durably, oldest first: a crash leaves no hole.
        auto removed = remove_file(oldest->file.path());
        if (removed) removed = sync_directory(directory_);
        if (removed) continue;
        const std::scoped_lock lock(mutex_);
        first_.store(oldest->first.value, std::memory_order_release);
        segments_.push_front(std::move(oldest));
        return removed;
    }
}

}  // namespace skerry
