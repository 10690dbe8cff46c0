// store/file_log.hpp — the log in segment files of a directory: the real backend of store/log.hpp.
//
// Segment  00000000000000000001.log, named by its first position; 64 MiB, preallocated but on a full disk; whole frames
//          only, so that one which fits in no segment makes a longer one. What lies before the current segment is
//          durable: a segment is cut to its frames and synced before the next one begins.
//
//          0           8        12       16               24
//          | SKRYLOG1  | format | check  | first position | frames (store/log_frame.hpp) ... | zeros
//
//          check: the low 32 bits of XXH3-64 over the other fields. Integers little-endian. A segment comes into being
//          under the name .new, whole, and is renamed.
// Open     every frame is checked. A torn tail is cut; damage to what had been durable is reported with file and offset,
//          and nothing is changed. The exclusive use of the directory is the caller's (store/directory_lock.hpp).
// Spare    the next segment's blocks are taken beforehand, in next.new: a switch waits for no allocation, and on a full disk
//          the log goes on in them.
// Cost     read(from) seeks by a sparse index, a mark each 64 KiB; memory: 1 MiB a read, or the longest frame met.
#pragma once

#include <atomic>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "store/log.hpp"
#include "store/log_frame.hpp"
#include "store/log_segment.hpp"
#include "store/posix_file.hpp"

namespace skerry {

class FileLog final : public Log {
  public:
    struct Options {
        std::uint64_t segment_bytes = std::uint64_t{64} << 20;  // at most kLogSegmentBytesMax / 2
        bool sync =
            true;  // false: sync() only says that it did, and a power cut may be reported as damage
        LogPosition first{1};  // of a log that begins here
    };

    // Makes the directory and an empty log when there is none.
    // Errors: corrupt, unsupported (foreign, or of a later version), io_failed, out_of_space.
    [[nodiscard]] static Result<std::unique_ptr<FileLog>> open(
        const std::filesystem::path& directory, Options options);

    FileLog(const FileLog&) = delete;
    FileLog& operator=(const FileLog&) = delete;
    ~FileLog() override;

    [[nodiscard]] LogPosition first() const override {
        return LogPosition{first_.load(std::memory_order_acquire)};
    }
    [[nodiscard]] LogPosition last() const override {
        return LogPosition{last_.load(std::memory_order_acquire)};
    }
    [[nodiscard]] LogPosition durable() const override {
        return LogPosition{durable_.load(std::memory_order_acquire)};
    }
    [[nodiscard]] std::uint64_t bytes_kept() const override;
    [[nodiscard]] Result<void> append(std::string_view frames, LogPosition last_position) override;
    [[nodiscard]] Result<void> sync() override;
    [[nodiscard]] Result<void> truncate_to_durable() override;
    [[nodiscard]] Result<void> read(LogPosition from, Visit visit) const override;
    [[nodiscard]] Result<void> drop_before(LogPosition position) override;

    // Takes blocks for the next segment where that has not been done. On a full disk there are none, which is no error.
    // Errors: io_failed.   Thread: one at a time, beside append().
    [[nodiscard]] Result<void> prepare_next();
    // How much may still be appended, no more at once than a segment takes, on a disk without a free block.
    [[nodiscard]] std::uint64_t reserved_bytes() const;
    [[nodiscard]] bool has_next() const;

  private:
    struct Mark {
        LogPosition position;
        std::uint64_t offset;
    };
    // Shared with the readers inside it, so that a segment may be dropped beside them.
    struct Segment {
        PosixFile file;
        LogPosition first;
        std::uint64_t bytes = kLogSegmentHeaderBytes;  // where the next frame goes
        std::uint64_t reserved = 0;                    // of the file: blocks it has
        std::vector<Mark> marks;                       // ascending; where frames begin
        void mark(LogPosition position, std::uint64_t offset);
    };
    using SegmentPointer = std::shared_ptr<Segment>;
    // What a read may look at without the mutex.
    struct Window {
        std::shared_ptr<const Segment> segment;
        std::uint64_t from;
        std::uint64_t to;
        std::uint64_t epoch;
    };
    struct Progress {
        LogPosition next;
        bool wanted = true;
    };
    // Frames that are written to one segment at once.
    struct Run {
        std::uint64_t bytes;
        LogPosition last;
        std::vector<Mark> marks;  // offsets from the run's begin
    };
    struct Opened {
        SegmentPointer segment;
        LogPosition last;
    };
    // What had been appended at one moment.
    struct Tail {
        SegmentPointer segment;
        std::uint64_t bytes = 0;
        LogPosition last;
    };

    FileLog(std::filesystem::path directory, Options options)
        : directory_(std::move(directory)), options_(options) {}
    [[nodiscard]] static Result<Opened> open_segment(const std::filesystem::path& path,
                                                     LogPosition next_first);
    [[nodiscard]] Result<void> adopt(std::deque<SegmentPointer> segments, LogPosition last);
    [[nodiscard]] Result<SegmentPointer> make_segment(LogPosition first);
    // How many bytes have blocks: a segment's, or what there is.
    [[nodiscard]] Result<std::uint64_t> reserve(PosixFile& file, std::uint64_t bytes) const;
    [[nodiscard]] Result<PosixFile> take_next(const std::filesystem::path& unfinished);
    [[nodiscard]] Result<void> begin_next_segment();
    void note_durable(const Tail& tail);
    [[nodiscard]] Run run_of(std::string_view frames, std::uint64_t room) const;
    [[nodiscard]] Result<std::optional<Window>> locate(LogPosition position) const;
    [[nodiscard]] Result<void> read_window(const Window& window, Progress& progress,
                                           Visit visit) const;

    const std::filesystem::path directory_;
    const Options options_;
    std::atomic<std::uint64_t> first_{1}, last_{0}, durable_{0};
    mutable std::mutex
        mutex_;  // guards the list, its segments' bytes, blocks and marks, next_, durable_bytes_, epoch_
    std::deque<SegmentPointer> segments_;  // never empty; the last one is appended to
    std::optional<PosixFile> next_;        // under mutex_
    std::uint64_t epoch_ = 0;          // counts truncations: bytes below a reader may have changed
    std::mutex drop_mutex_;            // one drop at a time
    std::uint64_t durable_bytes_ = 0;  // of the current segment; under mutex_
    bool tail_undefined_ = false;      // the appending thread's
    std::atomic<bool> sync_failed_{false};
};

}  // namespace skerry
