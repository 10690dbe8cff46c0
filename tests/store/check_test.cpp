// tests/store/check_test.cpp — a directory that a store has made is sound, and every harm done to it is named.
#include "store/check.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "crdt/types/presence.hpp"
#include "crdt/types/value.hpp"
#include "store/backup.hpp"
#include "store/data_view.hpp"
#include "store/file_log.hpp"
#include "store/store.hpp"
#include "tests/catch.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace skerry;
namespace {
namespace fs = std::filesystem;

constexpr WallTime kNow{1'700'000'000'000};
constexpr ReplicaId kSelf{0x0000000700000001};
constexpr auto kNoProgress = [](auto&&...) {};

template <class T>
T must(Result<T> result) {
    INFO((result ? "" : result.error().text()));
    REQUIRE(result.has_value());
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// A directory as a node leaves it: a checkpoint, and log behind it.
struct Directory {
    TemporaryDirectory home;
    fs::path path = home.path / "data";

    Directory() {
        const auto kv = must(LmdbKv::open(path, {}));
        const auto log = must(FileLog::open(path / "log", {.segment_bytes = 4096}));
        const auto store = must(Store::open(*log, *kv, {.self = kSelf, .shard_count = 4}, kNow));
        for (int i = 0; i < 40; ++i)
            set(*store, *log, "key:" + std::to_string(i), i % 8 == 0 ? "7" : "value");
        add(*store, *log, "set", 30);
        store->freeze();
        while (!store->save_some(1000)) {
        }
        must(store->image()->write(*kv, KvRoom::ordinary));
        (void)store->checkpointed();
        set(*store, *log, "key:1", "behind the checkpoint");
        set(*store, *log, "new", "value");
    }

    static void commit(Store& store, FileLog& log) {
        const auto sealed = store.seal();
        REQUIRE(sealed.has_value());
        must(log.append(sealed->frames, sealed->last));
        must(log.sync());
        store.committed(*sealed);
    }
    static void set(Store& store, FileLog& log, const std::string& key, const std::string& to) {
        KeyRecord& record = store.find_or_make(0, key);
        store.change(record, LeafKind::string, {}, [&](const Leaf& seen, Dot dot, Hlc now) {
            return value::set(seen, dot, now, {.bytes = to});
        });
        commit(store, log);
    }
    static void add(Store& store, FileLog& log, const std::string& key, int count) {
        KeyRecord& record = store.find_or_make(0, key);
        for (int i = 0; i < count; ++i)
            store.change(
                record, LeafKind::member, "member:" + std::to_string(i),
                [](const Leaf& seen, Dot dot, Hlc now) { return presence::add(seen, dot, now); });
        commit(store, log);
    }

    // Rows as they are, then as `harm` leaves them.
    using Rows = std::vector<std::pair<std::string, std::string>>;
    void change(Table table, const std::function<void(KvBatch& batch, const Rows& rows)>& harm) {
        const auto kv = must(LmdbKv::open(path, {}));
        Rows rows;
        {
            const auto reader = must(kv->reader());
            must(reader->scan(table, {}, {}, [&](std::string_view key, std::string_view value) {
                rows.emplace_back(key, value);
                return true;
            }));
        }
        REQUIRE_FALSE(rows.empty());
        KvBatch batch;
        harm(batch, rows);
        must(kv->write(batch, KvRoom::ordinary));
    }
};

struct Outcome {
    std::vector<std::string> found;
    CheckedState state;
    CheckedLog log;
    std::optional<std::uint64_t> keys;

    [[nodiscard]] bool says(std::string_view where, std::string_view what) const {
        for (const std::string& sentence : found)
            if (sentence.find(where) != std::string::npos &&
                sentence.find(what) != std::string::npos)
                return true;
        return false;
    }
};

Outcome check(const fs::path& path) {
    Outcome outcome;
    const auto report = [&](const Finding& finding) {
        outcome.found.push_back(finding.where + ": " + finding.what);
    };
    const auto view = must(DataView::open(path, kNoProgress));
    CHECK_FALSE(view.in_use());
    REQUIRE_FALSE(view.state_error.has_value());
    REQUIRE(view.stored != nullptr);
    REQUIRE(view.log->problems().empty());
    outcome.state = check_state(*view.stored, kSelf, report, kNoProgress);
    outcome.log = check_log(*view.log, outcome.state, report, kNoProgress);
    if (outcome.found.empty())
        outcome.keys = must(check_replay(*view.log, view.stored.get(), outcome.log, kNow));
    std::string all;
    for (const std::string& sentence : outcome.found) all += sentence + "\n";
    UNSCOPED_INFO(all);
    return outcome;
}

// The first row whose key has that many bytes.
const std::pair<std::string, std::string>& row_of(const Directory::Rows& rows, std::size_t bytes) {
    const auto row =
        std::ranges::find_if(rows, [&](const auto& r) { return r.first.size() == bytes; });
    REQUIRE(row != rows.end());
    return *row;
}

}  // namespace

TEST_CASE("check: what a store has written is sound", "[store][check]") {
    const Directory directory;
    const Outcome outcome = check(directory.path);
    CHECK(outcome.found.empty());
    CHECK(outcome.state.keys == 41);
    CHECK(outcome.state.elements == 30);
    CHECK(outcome.state.index_rows == outcome.state.entries);
    CHECK(outcome.log.to_replay == 2);
    CHECK(outcome.keys == 42);
    CHECK(outcome.log.newest.wall() == kNow);
}

TEST_CASE("check: a row of the index that is gone, or astray, is named", "[store][check]") {
    Directory directory;
    SECTION("gone") {
        directory.change(Table::ix, [](KvBatch& batch, const auto& rows) {
            batch.push_back({Table::ix, rows[3].first, std::nullopt});
        });
        CHECK(check(directory.path).says("shard", "an entry has no row in the index"));
    }
    SECTION("to another row") {
        directory.change(Table::ix, [](KvBatch& batch, const auto& rows) {
            batch.push_back({Table::ix, rows[3].first, rows[4].second});
        });
        CHECK(check(directory.path).says("shard", "the index leads to another row"));
    }
    SECTION("of no entry") {
        directory.change(Table::ix, [](KvBatch& batch, const auto& rows) {
            batch.push_back(
                {Table::ix, ix_key(ShardId{0}, {ReplicaId{99}, Seq{1}}), rows[0].second});
        });
        CHECK(check(directory.path).says("table ix", "no entry has the dot"));
    }
}

TEST_CASE("check: a row that is gone, changed or damaged is named", "[store][check]") {
    Directory directory;
    SECTION("an element is gone") {
        directory.change(Table::rows, [](KvBatch& batch, const auto& rows) {
            batch.push_back({Table::rows, row_of(rows, kElementRowKeyBytes).first, std::nullopt});
        });
        const Outcome outcome = check(directory.path);
        CHECK(outcome.says("key \"set\"", "has 29"));
        CHECK(outcome.says("shard", "its digest is not that of its rows"));
        CHECK(outcome.says("table ix", "no entry has the dot"));
    }
    SECTION("a key is gone") {
        directory.change(Table::rows, [](KvBatch& batch, const auto& rows) {
            batch.push_back({Table::rows, row_of(rows, kKeyRowKeyBytes).first, std::nullopt});
        });
        CHECK(check(directory.path).says("shard", "keys in database 0"));
    }
    SECTION("no row of ours") {
        directory.change(Table::rows, [](KvBatch& batch, const auto& rows) {
            batch.push_back({Table::rows, rows[0].first, std::string("\x93\x01")});
        });
        CHECK(check(directory.path).says("row ", "corrupt"));
    }
    SECTION("in the place of another key") {
        directory.change(Table::rows, [](KvBatch& batch, const auto& rows) {
            const auto& row = row_of(rows, kKeyRowKeyBytes);
            std::string key = row.first;
            key[12] = static_cast<char>(key[12] ^ 1);
            batch.push_back({Table::rows, key, row.second});
        });
        CHECK(check(directory.path).says("key ", "stands in the row of another key"));
    }
    SECTION("with another value") {
        directory.change(Table::rows, [](KvBatch& batch, const auto& rows) {
            const auto row = std::ranges::find_if(
                rows, [](const auto& r) { return r.second.find("value") != std::string::npos; });
            std::string changed = row->second;
            changed[changed.find("value")] = 'V';
            batch.push_back({Table::rows, row->first, changed});
        });
        const Outcome outcome = check(directory.path);
        CHECK(outcome.says("shard", "its digest is not that of its rows"));
        CHECK(outcome.found.size() == 1);
    }
}

TEST_CASE("check: meta rows that contradict rows or log are named", "[store][check]") {
    Directory directory;
    const auto replace = [&](auto&& alter) {
        directory.change(Table::meta, [&](KvBatch& batch, const auto& rows) {
            for (const auto& [key, value] : rows) alter(batch, key, value);
        });
    };
    SECTION("a clock that goes less far") {
        replace([](KvBatch& batch, const std::string& key, const std::string& value) {
            if (key == kStateMetaKey) return;
            ShardMeta meta = must(decode_shard_meta(value));
            meta.clock = VersionVector{{kSelf, Seq{1}}};
            batch.push_back({Table::meta, key, encode(meta)});
        });
        const Outcome outcome = check(directory.path);
        CHECK(outcome.says("key ", "is beyond the shard's clock"));
        CHECK(outcome.says("log, record", "its clock lacks"));
    }
    SECTION("sums of a database that are not those of its rows") {
        replace([](KvBatch& batch, const std::string& key, const std::string& value) {
            if (key == kStateMetaKey) return;
            ShardMeta meta = must(decode_shard_meta(value));
            ++meta.databases[0].digest;
            meta.databases[0].counts = false;
            meta.databases[1].mask = VersionVector{{kSelf, Seq{1'000'000}}};
            batch.push_back({Table::meta, key, encode(meta)});
        });
        const Outcome outcome = check(directory.path);
        CHECK(outcome.says("database 0", "its digest is not that of its rows"));
        CHECK(outcome.says("database 0", "none of its leaves counts"));
        CHECK(outcome.says("database 1", "has a mask beyond the shard's clock"));
    }
    SECTION("a position behind the log") {
        replace([](KvBatch& batch, const std::string& key, const std::string& value) {
            if (key != kStateMetaKey) return;
            StateMeta meta = must(decode_state_meta(value));
            meta.covered = LogPosition{1000};
            batch.push_back({Table::meta, key, encode(meta)});
        });
        CHECK(check(directory.path).says("log", "before the checkpoint at 1000"));
    }
    SECTION("a checkpoint older than it says") {
        replace([](KvBatch& batch, const std::string& key, const std::string& value) {
            if (key != kStateMetaKey) return;
            StateMeta meta = must(decode_state_meta(value));
            meta.covered = meta.covered.next();
            batch.push_back({Table::meta, key, encode(meta)});
        });
        CHECK(check(directory.path).says("log, record", "says that it has this record"));
    }
    SECTION("a row of nobody's") {
        replace([](KvBatch& batch, const std::string& key, const std::string&) {
            if (key == kStateMetaKey) batch.push_back({Table::meta, "other", "x"});
        });
        CHECK(check(directory.path).says("table meta", "does not know"));
    }
}

TEST_CASE("check: a deadline of nobody is named", "[store][check]") {
    Directory directory;
    directory.change(Table::rows, [](KvBatch& batch, const auto& rows) {
        const RowAddress address = must(parse_row_key(row_of(rows, kKeyRowKeyBytes).first)).address;
        RowAddress nowhere = address;
        nowhere.order.check ^= 1;
        batch.push_back({Table::deadlines, deadline_key(kNow, nowhere), ""});
    });
    CHECK(check(directory.path).says("table deadlines", "leads to no key"));
}

TEST_CASE("data_view: reading changes nothing, and keeps a node out", "[store][check]") {
    const Directory directory;
    const auto listing = [&] {
        std::vector<std::string> names;
        for (const auto& entry : fs::recursive_directory_iterator(directory.path))
            names.push_back(entry.path().string());
        std::ranges::sort(names);
        return names;
    };
    (void)must(DirectoryLock::take(directory.path));
    fs::remove(directory.path / "state.mdb-lock");
    const auto before = listing();
    {
        const auto view = must(DataView::open(directory.path, kNoProgress));
        CHECK_FALSE(view.in_use());
        const auto node = DirectoryLock::take(directory.path);
        REQUIRE_FALSE(node.has_value());
        CHECK(node.error().code == Code::refused);
        CHECK_FALSE(must(DataView::open(directory.path, kNoProgress)).in_use());
    }
    CHECK(listing() == before);
    const auto node = must(DirectoryLock::take(directory.path));
    CHECK(must(DataView::open(directory.path, kNoProgress)).in_use());
}

TEST_CASE("log_view: segments are read on after they were dropped", "[store][check]") {
    const TemporaryDirectory home;
    const auto log = must(FileLog::open(home.path, {.segment_bytes = 4096}));
    const auto append = [&] {
        std::string frames;
        append_frame(frames, log->last().next(), log->durable(), std::string(1000, 'x'));
        must(log->append(frames, log->last().next()));
        must(log->sync());
    };
    for (int i = 0; i < 20; ++i) append();
    const auto view = must(LogView::open(home.path, kNoProgress));
    CHECK(view->problems().empty());
    for (int i = 0; i < 20; ++i) append();
    must(log->drop_before(LogPosition{30}));
    CHECK(log->first() > LogPosition{20});
    std::uint64_t count = 0;
    must(view->read(LogPosition{1}, [&](LogPosition position, std::string_view body) {
        CHECK(position.value == ++count);
        return body.size() == 1000;
    }));
    CHECK(count == 20);
    CHECK(view->last() == LogPosition{20});
    CHECK_FALSE(view->read(LogPosition{0}, [](auto...) { return true; }).has_value());
    CHECK_FALSE(view->append({}, {}).has_value());
}

TEST_CASE("log_view: records that arrive while it reads are no damage", "[store][check]") {
    const TemporaryDirectory home;
    const auto log = must(FileLog::open(home.path, {.sync = false}));
    std::atomic<bool> stop = false;
    std::jthread writer([&] {
        while (!stop && log->last().value < 40'000) {
            std::string frames;
            append_frame(frames, log->last().next(), log->durable(), std::string(1000, 'x'));
            if (!log->append(frames, log->last().next()) || !log->sync()) return;
        }
    });
    for (int i = 0; i < 40; ++i) {
        const auto view = must(LogView::open(home.path, kNoProgress));
        for (const auto& problem : view->problems()) FAIL_CHECK(problem.what);
    }
    stop = true;
}

TEST_CASE("backup: the list of files is read back, and refused when it is damaged",
          "[store][check]") {
    const TemporaryDirectory home;
    CHECK_FALSE(must(read_backup_list(home.path)).has_value());
    const BackupList list{.made = kNow,
                          .first = LogPosition{17},
                          .last = LogPosition{4711},
                          .files = {{"log/00000000000000000017.log", 5, 0x123},
                                    {"state.mdb", 1 << 20, ~std::uint64_t{0}}}};
    must(write_backup_list(home.path, list));
    const auto again = must(read_backup_list(home.path));
    REQUIRE(again.has_value());
    CHECK(again->files == list.files);
    CHECK((again->made == kNow && again->first == list.first && again->last == list.last));
    auto file = must(PosixFile::open(home.path / "backup", PosixFile::Mode::existing));
    const std::uint64_t bytes = must(file.bytes());
    for (std::uint64_t at = 0; at < bytes; ++at) {
        char byte = 0;
        (void)must(file.read_at(&byte, 1, at));
        must(file.write_at(std::string(1, static_cast<char>(byte ^ 1)), at));
        CHECK_FALSE(read_backup_list(home.path).has_value());
        must(file.write_at(std::string(1, byte), at));
    }
    // Whoever wrote it: nothing outside the directory is named.
    BackupList outside = list;
    outside.files[0].name = "log/../../0000000000000.log";
    must(write_backup_list(home.path, outside));
    CHECK_FALSE(read_backup_list(home.path).has_value());
}
