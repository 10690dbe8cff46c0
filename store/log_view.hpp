// store/log_view.hpp — the log of a directory for reading alone: damaged, perhaps, or still written by another process.
//
// Shows    what the segments hold at the moment of opening, whole frames only. Nothing on the disk is changed, made or cut.
// Beside   a process may append, seal and drop meanwhile: files stay open, and a dropped one stays readable.
// Problem  a fault of a file: named, not the end. Whoever wants the records asks first whether there is none.
// Cost     open reads every byte once; memory: one segment.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "store/log_frame.hpp"
#include "store/log_segment.hpp"

namespace skerry {

class LogView final : public Log {
  public:
    // Called with the bytes looked at so far, and with all.
    using Progress = absl::FunctionRef<void(std::uint64_t done, std::uint64_t total)>;
    // An absent directory is an empty log.   Errors: io_failed.
    [[nodiscard]] static Result<std::unique_ptr<LogView>> open(
        const std::filesystem::path& directory, Progress progress);

    struct Problem {
        Code code;
        std::string what;  // a sentence: the file, the place, the remedy
    };
    [[nodiscard]] const std::vector<Problem>& problems() const { return problems_; }

    struct Segment {
        PosixFile file;
        LogPosition first;
        LogPosition last;         // first() - 1 where there is no frame
        std::uint64_t bytes = 0;  // header and whole frames
    };
    // In order. Requires: no problems.
    [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
    // Header and whole frames, as they were at the opening.   Errors: io_failed, corrupt.
    [[nodiscard]] static Result<std::string> content(const Segment& segment);
    // What is seen here is then durable for whoever writes the log, too.   Errors: io_failed.
    [[nodiscard]] Result<void> make_durable();

    [[nodiscard]] LogPosition first() const override;
    [[nodiscard]] LogPosition last() const override;
    [[nodiscard]] LogPosition durable() const override { return last(); }
    [[nodiscard]] std::uint64_t bytes_kept() const override;
    // Requires: no problems.
    [[nodiscard]] Result<void> read(LogPosition from, Visit visit) const override;

    // All refused: this is for reading.
    [[nodiscard]] Result<void> append(std::string_view frames, LogPosition last_position) override;
    [[nodiscard]] Result<void> sync() override;
    [[nodiscard]] Result<void> truncate_to_durable() override;
    Result<void> drop_before(LogPosition position) override;

  private:
    [[nodiscard]] Result<bool> open_segments(const std::filesystem::path& directory);
    [[nodiscard]] Result<void> scan(Segment& segment, const Segment* next);
    struct Read {
        LogScan found;
        std::size_t bytes;  // of the file
    };
    [[nodiscard]] static Result<Read> read_settled(const Segment& segment, LogPosition durable);
    void note(Code code, std::string what) { problems_.push_back({code, std::move(what)}); }

    std::vector<Segment> segments_;
    std::vector<Problem> problems_;
    // The segment that was read last: positions are asked for one by one.
    mutable const Segment* cached_ = nullptr;
    mutable std::string cache_;
};

}  // namespace skerry
