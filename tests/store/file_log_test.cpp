// tests/store/file_log_test.cpp — the log in segment files: what survives a reopening, a torn tail, damage.
#include "store/file_log.hpp"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>

#include "store/directory_lock.hpp"
#include "tests/catch.hpp"

using namespace skerry;
namespace {
namespace fs = std::filesystem;

struct TemporaryDirectory {
    fs::path path;
    TemporaryDirectory() {
        std::string pattern = (fs::temp_directory_path() / "skerry-log-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path = pattern;
    }
    ~TemporaryDirectory() { fs::remove_all(path); }
};

constexpr FileLog::Options kSmall{.segment_bytes = 4096};

std::string body_of(std::uint64_t position, std::size_t bytes) {
    return std::string(bytes, static_cast<char>('a' + position % 26));
}

void append(FileLog& log, std::size_t bytes) {
    std::string frames;
    const LogPosition position = log.last().next();
    append_frame(frames, position, log.durable(), body_of(position.value, bytes));
    REQUIRE(log.append(frames, position).has_value());
}

std::vector<std::uint64_t> positions_read(const FileLog& log, LogPosition from, std::size_t bytes) {
    std::vector<std::uint64_t> seen;
    const auto done = log.read(from, [&](LogPosition position, std::string_view body) {
        CHECK(body == body_of(position.value, bytes));
        seen.push_back(position.value);
        return true;
    });
    REQUIRE(done.has_value());
    return seen;
}

fs::path last_segment(const fs::path& directory) {
    fs::path last;
    for (const auto& entry : fs::directory_iterator(directory)) last = std::max(last, entry.path());
    return last;
}

void overwrite(const fs::path& path, std::uint64_t offset, std::string_view bytes) {
    auto file = PosixFile::open(path, PosixFile::Mode::existing);
    REQUIRE(file.has_value());
    REQUIRE(file->write_at(bytes, offset).has_value());
}
}  // namespace

TEST_CASE("file_log: records come back after a reopening, from any position", "[store][file_log]") {
    TemporaryDirectory dir;
    const std::size_t bytes =
        GENERATE(std::size_t{0}, std::size_t{1000}, std::size_t{9000}, std::size_t{3000000});
    {
        auto log = FileLog::open(dir.path, kSmall);
        REQUIRE(log.has_value());
        CHECK((*log)->first() == (*log)->last().next());
        for (int i = 0; i < 20; ++i) append(**log, bytes);
        CHECK((*log)->durable() < (*log)->last());
        REQUIRE((*log)->sync().has_value());
        CHECK((*log)->durable() == LogPosition{20});
    }
    auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(log.has_value());
    CHECK((*log)->last() == LogPosition{20});
    CHECK((*log)->durable() == LogPosition{20});
    for (std::uint64_t from = 1; from <= 21; ++from) {
        const auto seen = positions_read(**log, LogPosition{from}, bytes);
        REQUIRE(seen.size() == 21 - from);
        if (!seen.empty()) CHECK(seen.front() == from);
    }
}

TEST_CASE("file_log: dropping takes whole segments and says so to readers", "[store][file_log]") {
    TemporaryDirectory dir;
    auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(log.has_value());
    for (int i = 0; i < 20; ++i) append(**log, 1000);
    REQUIRE((*log)->sync().has_value());
    REQUIRE((*log)->drop_before(LogPosition{10}).has_value());
    CHECK((*log)->first() > LogPosition{1});
    CHECK((*log)->first() <= LogPosition{10});
    const auto gone =
        (*log)->read(LogPosition{1}, [](LogPosition, std::string_view) { return true; });
    REQUIRE(!gone.has_value());
    CHECK(gone.error().code == Code::truncated);
    CHECK(positions_read(**log, LogPosition{10}, 1000).size() == 11);
}

TEST_CASE("file_log: what was forgotten is never found behind new records", "[store][file_log]") {
    TemporaryDirectory dir;
    {
        auto log = FileLog::open(dir.path, FileLog::Options{});
        REQUIRE(log.has_value());
        append(**log, 100);
        REQUIRE((*log)->sync().has_value());
        for (int i = 0; i < 5; ++i) append(**log, 100);
        REQUIRE((*log)->truncate_to_durable().has_value());
        CHECK((*log)->last() == LogPosition{1});
        append(**log, 100);
    }
    auto log = FileLog::open(dir.path, FileLog::Options{});
    REQUIRE(log.has_value());
    CHECK((*log)->last() == LogPosition{2});
}

TEST_CASE("file_log: a torn tail is cut, and the log goes on", "[store][file_log]") {
    TemporaryDirectory dir;
    {
        auto log = FileLog::open(dir.path, FileLog::Options{});
        REQUIRE(log.has_value());
        append(**log, 100);
        REQUIRE((*log)->sync().has_value());
        append(**log, 100);
        append(**log, 100);
    }
    // The second frame is torn; the third, written beside it, does not claim that the second was
    // durable.
    overwrite(last_segment(dir.path), kLogSegmentHeaderBytes + 124 + 60, "torn");
    auto log = FileLog::open(dir.path, FileLog::Options{});
    REQUIRE(log.has_value());
    CHECK((*log)->last() == LogPosition{1});
    append(**log, 100);
    CHECK(positions_read(**log, LogPosition{1}, 100) == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("file_log: damage to durable records is reported and nothing changed",
          "[store][file_log]") {
    TemporaryDirectory dir;
    {
        auto log = FileLog::open(dir.path, kSmall);
        REQUIRE(log.has_value());
        for (int i = 0; i < 12; ++i) {
            append(**log, 1000);
            REQUIRE((*log)->sync().has_value());
        }
    }
    std::string name;
    SECTION("in the last segment, before a frame that was written later") {
        name = last_segment(dir.path).filename();
        overwrite(dir.path / name, kLogSegmentHeaderBytes + 60, "rot");
    }
    SECTION("in an earlier segment") {
        name = "00000000000000000001.log";
        overwrite(dir.path / name, kLogSegmentHeaderBytes + 60, "rot");
    }
    SECTION("a segment in the middle is missing") {
        name = "00000000000000000001.log";
        REQUIRE(fs::remove(dir.path / "00000000000000000004.log"));
    }
    const auto bytes = fs::file_size(dir.path / name);
    const auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(!log.has_value());
    CHECK(log.error().code == Code::corrupt);
    CHECK(log.error().where.find(name + ": offset ") != std::string::npos);
    CHECK(fs::file_size(dir.path / name) == bytes);
}

TEST_CASE("file_log: files of others and of later versions are refused", "[store][file_log]") {
    TemporaryDirectory dir;
    {
        REQUIRE(FileLog::open(dir.path, kSmall).has_value());
    }
    SECTION("foreign") { overwrite(last_segment(dir.path), 0, "OTHERLOG"); }
    SECTION("later") { overwrite(last_segment(dir.path), 8, "\x02"); }
    const auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(!log.has_value());
    CHECK(log.error().code == Code::unsupported);
}

TEST_CASE("file_log: a sync may run beside appends, over segments too", "[store][file_log]") {
    TemporaryDirectory dir;
    constexpr std::size_t kBytes = 100;
    {
        auto log = FileLog::open(dir.path, kSmall);
        REQUIRE(log.has_value());
        std::atomic<bool> done{false};
        std::atomic<bool> sound{true};
        std::thread syncing([&] {
            while (!done) {
                const LogPosition before = (*log)->last();
                if (!(*log)->sync() || (*log)->durable() < before) sound = false;
            }
        });
        for (int i = 0; i < 2000; ++i) append(**log, kBytes);
        done = true;
        syncing.join();
        CHECK(sound);
        REQUIRE((*log)->sync().has_value());
        append(**log, kBytes);
        REQUIRE((*log)->truncate_to_durable().has_value());
    }
    const auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(log.has_value());
    CHECK(positions_read(**log, LogPosition{1}, kBytes).size() == 2000);
}

TEST_CASE("file_log: after a failed append nothing is written before the end is forgotten",
          "[store][file_log]") {
    const TemporaryDirectory directory;
    auto log = FileLog::open(directory.path, kSmall);
    REQUIRE(log.has_value());
    append(**log, 100);
    REQUIRE((*log)->sync().has_value());
    std::string frame;
    append_frame(frame, LogPosition{2}, LogPosition{1}, body_of(2, 100));
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    ::signal(SIGXFSZ, SIG_IGN);  // then a write beyond the limit is an error like any other
    const rlimit narrow{200, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &narrow) == 0);
    CHECK_FALSE((*log)->append(frame, LogPosition{2}).has_value());
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_FALSE((*log)->append(frame, LogPosition{2}).has_value());
    CHECK((*log)->last() == LogPosition{1});
    REQUIRE((*log)->truncate_to_durable().has_value());
    append(**log, 100);
    CHECK(positions_read(**log, LogPosition{1}, 100) == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("directory_lock: a second holder is refused until the first is gone",
          "[store][directory_lock]") {
    TemporaryDirectory dir;
    {
        const auto first = DirectoryLock::take(dir.path);
        REQUIRE(first.has_value());
        const auto second = DirectoryLock::take(dir.path);
        REQUIRE(!second.has_value());
        CHECK(second.error().code == Code::refused);
        CHECK(second.error().where.find("is in use by process ") != std::string::npos);
    }
    CHECK(DirectoryLock::take(dir.path).has_value());
}
