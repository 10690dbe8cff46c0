// tests/store/log_conformance_test.cpp — what every log keeps to, the real one and the simulated one alike.
//
// Rig      a log, and what may befall it between two processes: a kill, a power cut, rot, a full disk.
// Apart    files that are not ours are the real one's business (file_log_test.cpp); a sync that fails, the simulated one's
//          (at the end).
#include "sim/disk.hpp"
#include "store/file_log.hpp"
#include "tests/catch.hpp"
#include "tests/store/file_limit.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace skerry;
namespace {
namespace fs = std::filesystem;

class LogRig {
  public:
    virtual ~LogRig() = default;
    // As a process opens it at its start.
    [[nodiscard]] virtual Result<void> open() = 0;
    // The process is killed: what it had written is there, synced or not.
    virtual void kill() = 0;
    // The machine stops: of what was not synced, the first bytes are there. The process is gone.
    virtual void cut_power(std::size_t unsynced_bytes_kept) = 0;
    // A byte of the record's body changes. Requires: closed by kill() or cut_power().
    virtual void rot(LogPosition position) = 0;
    // A long append does not fit any more.
    virtual void fill() = 0;
    virtual void make_room() = 0;
    [[nodiscard]] virtual Log& log() = 0;
};

class FileLogRig final : public LogRig {
  public:
    Result<void> open() override {
        log_.reset();
        auto opened = FileLog::open(directory_.path, {.segment_bytes = kSegmentBytes});
        if (!opened) return std::unexpected(opened.error());
        log_ = std::move(*opened);
        return {};
    }
    void kill() override { log_.reset(); }
    void cut_power(std::size_t unsynced_bytes_kept) override {
        const LogPosition durable = log_->durable();
        log_.reset();
        // Only the last segment has anything that was not synced.
        const fs::path path = last_segment();
        const std::uint64_t whole = fs::file_size(path);
        const std::uint64_t end = end_of(path, durable) + unsynced_bytes_kept;
        if (end >= whole) return;
        fs::resize_file(path, end);
        fs::resize_file(path, whole);  // zeros, as in what was preallocated
    }
    void rot(LogPosition position) override {
        fs::path path;
        for (const fs::path& segment : segments())
            if (std::stoull(segment.stem().string()) <= position.value) path = segment;
        auto file = PosixFile::open(path, PosixFile::Mode::existing);
        REQUIRE(file.has_value());
        const std::uint64_t at =
            end_of(path, LogPosition{position.value - 1}) + kLogFrameHeaderBytes;
        char byte = 0;
        REQUIRE(file->read_at(&byte, 1, at) == 1U);
        byte = static_cast<char>(byte ^ 1);
        REQUIRE(file->write_at({&byte, 1}, at).has_value());
    }
    void fill() override { limit_.set(end_of(last_segment(), log_->last()) + kRoomLeft); }
    void make_room() override { limit_.lift(); }
    Log& log() override { return *log_; }

  private:
    static constexpr std::uint64_t kSegmentBytes = 8192;
    static constexpr std::uint64_t kRoomLeft = 1500;

    [[nodiscard]] std::vector<fs::path> segments() const {
        std::vector<fs::path> found;
        for (const auto& entry : fs::directory_iterator(directory_.path))
            found.push_back(entry.path());
        std::ranges::sort(found);
        return found;
    }
    [[nodiscard]] fs::path last_segment() const { return segments().back(); }
    // Where the record's frame ends in the segment; where frames begin, for a position before them.
    [[nodiscard]] static std::uint64_t end_of(const fs::path& path, LogPosition position) {
        const auto file = PosixFile::open(path, PosixFile::Mode::existing);
        REQUIRE(file.has_value());
        std::string content(static_cast<std::size_t>(*file->bytes()), '\0');
        REQUIRE(file->read_at(content.data(), content.size(), 0) == content.size());
        std::uint64_t at = kLogSegmentHeaderBytes;
        for (;;) {
            const auto frame = parse_frame(std::string_view(content).substr(at));
            if (!frame || frame->position > position) return at;
            at += frame->frame_bytes;
        }
    }

    TemporaryDirectory directory_;
    std::unique_ptr<FileLog> log_;
    FileLimit limit_;
};

class SimLogRig final : public LogRig {
  public:
    Result<void> open() override { return log_.reopen(); }
    void kill() override {}
    void cut_power(std::size_t unsynced_bytes_kept) override { log_.crash(unsynced_bytes_kept); }
    void rot(LogPosition position) override { log_.rot(position); }
    void fill() override { log_.set_room(sim::Room::none); }
    void make_room() override { log_.set_room(sim::Room::plenty); }
    Log& log() override { return log_; }

  private:
    sim::SimLog log_;
};

std::unique_ptr<LogRig> each_rig() {
    const bool real = GENERATE(true, false);
    UNSCOPED_INFO((real ? "file_log" : "sim_log"));
    if (real) return std::make_unique<FileLogRig>();
    return std::make_unique<SimLogRig>();
}

// An opened one, empty.
std::unique_ptr<LogRig> opened_rig() {
    auto rig = each_rig();
    REQUIRE(rig->open().has_value());
    return rig;
}

constexpr std::size_t kFrame = kLogFrameHeaderBytes + 100;

std::string body_of(std::uint64_t position, std::size_t bytes) {
    return std::string(bytes, static_cast<char>('a' + position % 26));
}

// Frames for the next `count` positions, appended at once.
Result<void> append(Log& log, std::size_t bytes, std::size_t count = 1) {
    std::string frames;
    LogPosition position = log.last();
    for (std::size_t i = 0; i < count; ++i) {
        position = position.next();
        append_frame(frames, position, log.durable(), body_of(position.value, bytes));
    }
    return log.append(frames, position);
}

void append_and_sync(Log& log, std::size_t bytes, std::size_t count = 1) {
    REQUIRE(append(log, bytes, count).has_value());
    REQUIRE(log.sync().has_value());
}

std::vector<std::uint64_t> positions_from(const Log& log, std::uint64_t from, std::size_t bytes) {
    std::vector<std::uint64_t> seen;
    const auto done = log.read(LogPosition{from}, [&](LogPosition position, std::string_view body) {
        CHECK(body == body_of(position.value, bytes));
        seen.push_back(position.value);
        return true;
    });
    INFO((done ? "" : done.error().text()));
    REQUIRE(done.has_value());
    return seen;
}
}  // namespace

TEST_CASE("log: an empty one begins behind position 0, also when opened again", "[store][log]") {
    const auto rig = opened_rig();
    for (int i = 0; i < 2; ++i) {
        CHECK(rig->log().first() == LogPosition{1});
        CHECK(rig->log().last() == LogPosition{0});
        CHECK(rig->log().durable() == LogPosition{0});
        CHECK(positions_from(rig->log(), 1, 0).empty());
        rig->kill();
        REQUIRE(rig->open().has_value());
    }
}

TEST_CASE("log: records come back in order from any position, also after a reopening",
          "[store][log]") {
    const std::size_t bytes =
        GENERATE(std::size_t{0}, std::size_t{1000}, std::size_t{9000}, std::size_t{300000});
    const auto rig = opened_rig();
    REQUIRE(append(rig->log(), bytes, 13).has_value());
    REQUIRE(append(rig->log(), bytes, 7).has_value());
    CHECK(rig->log().last() == LogPosition{20});
    REQUIRE(rig->log().sync().has_value());
    CHECK(rig->log().durable() == LogPosition{20});
    CHECK(rig->log().bytes_kept() >= 20 * bytes);
    for (int round = 0; round < 2; ++round) {
        for (std::uint64_t from = 1; from <= 21; ++from) {
            const auto seen = positions_from(rig->log(), from, bytes);
            REQUIRE(seen.size() == 21 - from);
            if (!seen.empty()) CHECK((seen.front() == from && seen.back() == 20));
        }
        rig->kill();
        REQUIRE(rig->open().has_value());
        CHECK(rig->log().last() == LogPosition{20});
        CHECK(rig->log().durable() == LogPosition{20});
    }
}

TEST_CASE("log: a read stops when it is told to, and sees what is not synced", "[store][log]") {
    const auto rig = opened_rig();
    REQUIRE(append(rig->log(), 100, 5).has_value());
    CHECK(rig->log().durable() < rig->log().last());
    CHECK(positions_from(rig->log(), 1, 100).size() == 5);
    int visited = 0;
    const auto done = rig->log().read(LogPosition{2},
                                      [&](LogPosition, std::string_view) { return ++visited < 2; });
    CHECK(done.has_value());
    CHECK(visited == 2);
}

TEST_CASE("log: a killed process loses nothing that it had appended", "[store][log]") {
    const auto rig = opened_rig();
    append_and_sync(rig->log(), 100);
    REQUIRE(append(rig->log(), 100, 30).has_value());
    rig->kill();
    REQUIRE(rig->open().has_value());
    CHECK(rig->log().last() == LogPosition{31});
    // What anything is built on from here must not go away again.
    CHECK(rig->log().durable() == LogPosition{31});
    rig->cut_power(0);
    REQUIRE(rig->open().has_value());
    CHECK(rig->log().last() == LogPosition{31});
}

TEST_CASE("log: a power cut tears the unsynced tail anywhere; the log goes on", "[store][log]") {
    const std::size_t kept = GENERATE(as<std::size_t>{}, 0, 1, kLogFrameHeaderBytes, kFrame - 1,
                                      kFrame, 2 * kFrame + 50);
    const auto rig = opened_rig();
    append_and_sync(rig->log(), 100, 3);
    REQUIRE(append(rig->log(), 100, 3).has_value());
    rig->cut_power(kept);
    REQUIRE(rig->open().has_value());
    const std::uint64_t last = 3 + kept / kFrame;
    CHECK(rig->log().last() == LogPosition{last});
    append_and_sync(rig->log(), 100);
    rig->kill();
    REQUIRE(rig->open().has_value());
    CHECK(positions_from(rig->log(), 1, 100).size() == last + 1);
}

TEST_CASE("log: what was forgotten is never found behind new records", "[store][log]") {
    const auto rig = opened_rig();
    append_and_sync(rig->log(), 100);
    REQUIRE(append(rig->log(), 100, 5).has_value());
    REQUIRE(rig->log().truncate_to_durable().has_value());
    CHECK(rig->log().last() == LogPosition{1});
    REQUIRE(append(rig->log(), 100).has_value());
    rig->kill();
    REQUIRE(rig->open().has_value());
    CHECK(rig->log().last() == LogPosition{2});
    CHECK(positions_from(rig->log(), 1, 100).size() == 2);
}

TEST_CASE("log: what is dropped is refused to readers, and what is kept stays", "[store][log]") {
    const auto rig = opened_rig();
    append_and_sync(rig->log(), 1000, 40);
    const std::uint64_t bytes = rig->log().bytes_kept();
    REQUIRE(rig->log().drop_before(LogPosition{30}).has_value());
    for (int round = 0; round < 2; ++round) {
        const LogPosition first = rig->log().first();
        CHECK(first > LogPosition{1});
        CHECK(first <= LogPosition{30});
        CHECK(rig->log().bytes_kept() < bytes);
        const auto gone = rig->log().read(LogPosition{first.value - 1},
                                          [](LogPosition, std::string_view) { return true; });
        REQUIRE_FALSE(gone.has_value());
        CHECK(gone.error().code == Code::truncated);
        CHECK(positions_from(rig->log(), first.value, 1000).size() == 41 - first.value);
        rig->kill();
        REQUIRE(rig->open().has_value());
    }
    append_and_sync(rig->log(), 1000);
    CHECK(rig->log().last() == LogPosition{41});
}

TEST_CASE("log: damage to what had been durable is reported each time, and nothing is changed",
          "[store][log]") {
    const std::uint64_t position = GENERATE(as<std::uint64_t>{}, 1, 5, 19);
    const auto rig = opened_rig();
    for (int i = 0; i < 20; ++i) append_and_sync(rig->log(), 1000);
    rig->kill();
    rig->rot(LogPosition{position});
    for (int i = 0; i < 2; ++i) {
        const auto opened = rig->open();
        REQUIRE_FALSE(opened.has_value());
        CHECK(opened.error().code == Code::corrupt);
    }
    rig->rot(LogPosition{position});  // and is well again
    REQUIRE(rig->open().has_value());
    CHECK(positions_from(rig->log(), 1, 1000).size() == 20);
}

TEST_CASE("log: a full disk refuses an append; what was durable stays, and room is enough",
          "[store][log]") {
    const bool reopen = GENERATE(false, true);
    const auto rig = opened_rig();
    append_and_sync(rig->log(), 1000, 2);
    rig->fill();
    const auto refused = append(rig->log(), 1000, 9);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Code::out_of_space);
    CHECK_FALSE(append(rig->log(), 1).has_value());  // nothing comes behind half a record
    if (reopen) {
        rig->kill();
        REQUIRE(rig->open().has_value());  // on a disk that is still full
        CHECK(rig->log().last() < LogPosition{11});
    } else {
        REQUIRE(rig->log().truncate_to_durable().has_value());
        CHECK(rig->log().last() == LogPosition{2});
    }
    const std::uint64_t last = rig->log().last().value;
    REQUIRE(last >= 2);
    CHECK(positions_from(rig->log(), 1, 1000).size() == last);
    rig->make_room();
    append_and_sync(rig->log(), 1000, 30);
    CHECK(positions_from(rig->log(), 1, 1000).size() == last + 30);
}

TEST_CASE("log: an append of much more than a segment is read back whole", "[store][log]") {
    const auto rig = opened_rig();
    append_and_sync(rig->log(), 1000);
    REQUIRE(append(rig->log(), 1000, 100).has_value());
    REQUIRE(rig->log().sync().has_value());
    rig->cut_power(0);
    REQUIRE(rig->open().has_value());
    CHECK(positions_from(rig->log(), 1, 1000).size() == 101);
}

TEST_CASE("sim_log: after a sync that failed nothing is taken for durable", "[store][log][sim]") {
    sim::SimLog log;
    append_and_sync(log, 100);
    REQUIRE(append(log, 100).has_value());
    log.fail_next_sync();
    for (int i = 0; i < 2; ++i) {
        const auto synced = log.sync();
        REQUIRE_FALSE(synced.has_value());
        CHECK(synced.error().code == Code::io_failed);
    }
    const auto appended = append(log, 100);
    REQUIRE_FALSE(appended.has_value());
    CHECK(appended.error().code == Code::io_failed);
    CHECK(log.durable() == LogPosition{1});
    REQUIRE(log.truncate_to_durable().has_value());
    CHECK(positions_from(log, 1, 100).size() == 1);
    append_and_sync(log, 100);
}
