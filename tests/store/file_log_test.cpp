// tests/store/file_log_test.cpp — the log in segment files: what is wrong with a file is said, and nothing is changed.
//
// Apart    what every log keeps to: log_conformance_test.cpp.
#include "store/file_log.hpp"

#include <atomic>
#include <thread>

#include "store/directory_lock.hpp"
#include "tests/catch.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace skerry;
namespace {
namespace fs = std::filesystem;

constexpr FileLog::Options kSmall{.segment_bytes = 4096};
constexpr std::size_t kBodyBytes = 1000;

void append(FileLog& log, std::size_t bytes) {
    std::string frames;
    const LogPosition position = log.last().next();
    append_frame(frames, position, log.durable(), std::string(bytes, 'b'));
    REQUIRE(log.append(frames, position).has_value());
}

// Twelve synced records, three in a segment.
void make_log(const fs::path& directory) {
    auto log = FileLog::open(directory, kSmall);
    REQUIRE(log.has_value());
    for (int i = 0; i < 12; ++i) {
        append(**log, kBodyBytes);
        REQUIRE((*log)->sync().has_value());
    }
}

void overwrite(const fs::path& path, std::uint64_t offset, std::string_view bytes) {
    auto file = PosixFile::open(path, PosixFile::Mode::existing);
    REQUIRE(file.has_value());
    REQUIRE(file->write_at(bytes, offset).has_value());
}

std::vector<std::pair<std::string, std::uint64_t>> listing(const fs::path& directory) {
    std::vector<std::pair<std::string, std::uint64_t>> files;
    for (const auto& entry : fs::directory_iterator(directory))
        files.emplace_back(entry.path().filename(), entry.file_size());
    std::ranges::sort(files);
    return files;
}

const std::string kFirst = "00000000000000000001.log";
const std::string kSecond = "00000000000000000004.log";
const std::string kLast = "00000000000000000010.log";
}  // namespace

TEST_CASE("file_log: what is wrong with a file is said with what to do, and nothing is changed",
          "[store][file_log]") {
    TemporaryDirectory dir;
    make_log(dir.path);
    REQUIRE(fs::exists(dir.path / kLast));
    std::string named = kFirst;
    std::string sentence;
    Code code = Code::corrupt;
    SECTION("rot in an earlier segment") {
        overwrite(dir.path / kFirst, kLogSegmentHeaderBytes + 60, "rot");
        sentence = "offset 24: record 1 had been durable and is damaged or missing: restore";
    }
    SECTION("rot in the last segment, before a frame that was written later") {
        overwrite(dir.path / (named = kLast), kLogSegmentHeaderBytes + 60, "rot");
        sentence = "offset 24: record 10 had been durable and is damaged or missing: restore";
    }
    SECTION("a segment in the middle is missing") {
        REQUIRE(fs::remove(dir.path / kSecond));
        sentence = "record 4 had been durable and is damaged or missing: restore";
    }
    SECTION("a header that is damaged") {
        overwrite(dir.path / (named = kSecond), 17, "x");
        sentence = "the segment's header is damaged: restore the file";
    }
    SECTION("a file of another program") {
        overwrite(dir.path / (named = kSecond), 0, "OTHERLOG");
        code = Code::unsupported;
        sentence = "not a log segment of Skerry, or its first bytes are damaged: move it away";
    }
    SECTION("an empty file") {
        fs::resize_file(dir.path / (named = kSecond), 0);
        code = Code::unsupported;
        sentence = "not a log segment of Skerry, or its first bytes are damaged: move it away";
    }
    SECTION("a later version") {
        overwrite(dir.path / (named = kSecond), 8, std::string(1, kLogFormat + 1));
        code = Code::unsupported;
        sentence = "written by a later version of Skerry";
    }
    SECTION("a renamed segment") {
        named = "00000000000000000005.log";
        fs::rename(dir.path / kSecond, dir.path / named);
        sentence = "should be named " + kSecond + ": rename it back";
    }
    SECTION("segments of two times") {
        TemporaryDirectory other;
        named = "00000000000000000003.log";
        {
            auto log = FileLog::open(other.path, {.segment_bytes = 4096, .first = LogPosition{3}});
            REQUIRE(log.has_value());
            std::string frames;
            for (std::uint64_t i = 3; i <= 5; ++i)
                append_frame(frames, LogPosition{i}, LogPosition{2}, "theirs");
            REQUIRE((*log)->append(frames, LogPosition{5}).has_value());
        }
        fs::copy_file(other.path / named, dir.path / named);
        sentence = "overlaps the segment behind it: restore the directory from a copy";
    }
    const auto before = listing(dir.path);
    const auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(!log.has_value());
    CHECK(log.error().code == code);
    CHECK_THAT(log.error().where, Catch::Contains(named) && Catch::Contains(sentence));
    CHECK(listing(dir.path) == before);
}

TEST_CASE("file_log: a torn record with a whole one behind it is cut, if neither had been durable",
          "[store][file_log]") {
    TemporaryDirectory dir;
    {
        auto log = FileLog::open(dir.path, kSmall);
        REQUIRE(log.has_value());
        append(**log, 100);
        REQUIRE((*log)->sync().has_value());
        append(**log, 100);
        append(**log, 100);
    }
    const std::uint64_t second = kLogSegmentHeaderBytes + kLogFrameHeaderBytes + 100;
    overwrite(dir.path / kFirst, second + kLogFrameHeaderBytes + 60, "torn");
    const auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(log.has_value());
    CHECK((*log)->last() == LogPosition{1});
}

TEST_CASE("file_log: a segment that a crash left unfinished is removed", "[store][file_log]") {
    TemporaryDirectory dir;
    make_log(dir.path);
    {
        REQUIRE(
            PosixFile::open(dir.path / "00000000000000000013.log.new", PosixFile::Mode::emptied));
    }
    auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(log.has_value());
    CHECK((*log)->last() == LogPosition{12});
    CHECK_FALSE(fs::exists(dir.path / "00000000000000000013.log.new"));
}

TEST_CASE("file_log: one append fills several segments, each within its length",
          "[store][file_log]") {
    TemporaryDirectory dir;
    auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(log.has_value());
    std::string frames;
    for (std::uint64_t i = 1; i <= 30; ++i)
        append_frame(frames, LogPosition{i}, LogPosition{0}, std::string(kBodyBytes, 'b'));
    REQUIRE((*log)->append(frames, LogPosition{30}).has_value());
    const auto files = listing(dir.path);
    CHECK(files.size() == 10);
    for (const auto& [name, bytes] : files) CHECK(bytes <= kSmall.segment_bytes);
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
    CHECK((*log)->last() == LogPosition{2000});
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

TEST_CASE("file_log: the blocks of the next segment are there before it begins",
          "[store][file_log]") {
    const TemporaryDirectory dir;
    {
        auto opened = FileLog::open(dir.path, kSmall);
        REQUIRE(opened.has_value());
        FileLog& log = **opened;
        CHECK_FALSE(log.has_next());
        CHECK(log.reserved_bytes() == kSmall.segment_bytes - kLogSegmentHeaderBytes);
        append(log, 3 * kBodyBytes);
        CHECK(log.reserved_bytes() < kSmall.segment_bytes - 3 * kBodyBytes);
        REQUIRE(log.prepare_next().has_value());
        REQUIRE(log.prepare_next().has_value());
        CHECK(log.has_next());
        CHECK(log.reserved_bytes() == kSmall.segment_bytes - kLogSegmentHeaderBytes);
        CHECK(fs::file_size(dir.path / "next.new") == kSmall.segment_bytes);
        append(log, 3 * kBodyBytes);
        CHECK_FALSE(log.has_next());
        CHECK_FALSE(fs::exists(dir.path / "next.new"));
        append(log, 3 * kBodyBytes);  // and goes on without
        REQUIRE(log.prepare_next().has_value());
        REQUIRE(log.sync().has_value());
    }
    CHECK_FALSE(fs::exists(dir.path / "next.new"));
    const auto log = FileLog::open(dir.path, kSmall);
    REQUIRE(log.has_value());
    CHECK((*log)->last() == LogPosition{3});
    CHECK_FALSE(fs::exists(dir.path / "next.new"));
}
