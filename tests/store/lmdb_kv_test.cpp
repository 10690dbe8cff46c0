// tests/store/lmdb_kv_test.cpp — the store over LMDB: batches, long values, full disks, files that are not ours.
#include "store/lmdb_kv.hpp"

#include <lmdb.h>
#include <stdlib.h>

#include <array>
#include <fstream>
#include <map>

#include "tests/catch.hpp"

using namespace skerry;
namespace {
namespace fs = std::filesystem;
using Rows = std::map<std::string, std::string>;

struct DirectoryOfKv {
    fs::path path;
    DirectoryOfKv() {
        std::string pattern = (fs::temp_directory_path() / "skerry-kv-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path = pattern;
    }
    ~DirectoryOfKv() { fs::remove_all(path); }
};

std::unique_ptr<LmdbKv> opened(const fs::path& directory, std::uint64_t bytes_max = 0) {
    auto kv = LmdbKv::open(directory, {.bytes_max = bytes_max});
    INFO((kv ? "" : kv.error().text()));
    REQUIRE(kv.has_value());
    return std::move(*kv);
}

KvChange put(std::string key, std::string value, Table table = Table::rows) {
    return {.table = table, .key = std::move(key), .value = std::move(value)};
}
KvChange drop(std::string key, Table table = Table::rows) {
    return {.table = table, .key = std::move(key), .value = std::nullopt};
}

Rows rows_of(const Kv& kv, Table table = Table::rows, std::string_view from = {},
             std::string_view to = {}) {
    Rows rows;
    auto reader = kv.reader();
    REQUIRE(reader.has_value());
    const auto done =
        (*reader)->scan(table, from, to, [&](std::string_view key, std::string_view value) {
            CHECK((rows.empty() || rows.rbegin()->first < key));
            rows.emplace(key, value);
            return true;
        });
    REQUIRE(done.has_value());
    for (const auto& [key, value] : rows) {
        const auto found = (*reader)->get(table, key);
        REQUIRE(found.has_value());
        CHECK((found->has_value() && **found == value));
    }
    return rows;
}

std::string noise(std::size_t bytes, std::uint64_t seed) {
    std::string out(bytes, '\0');
    for (char& c : out) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        c = static_cast<char>(seed >> 56);
    }
    return out;
}
}  // namespace

TEST_CASE("lmdb_kv: values of every length come back, also after a reopening", "[store][lmdb_kv]") {
    DirectoryOfKv dir;
    Rows expected;
    KvBatch batch;
    std::uint64_t seed = 1;
    for (const std::size_t bytes :
         {0, 1, 24, 25, 4000, 65535, 65536, 65537, 131040, 131041, 3000000}) {
        const std::string key = "key" + std::to_string(bytes);
        expected[key] = noise(bytes, ++seed);
        batch.push_back(put(key, expected[key]));
    }
    expected[std::string(511, 'z')] = "longest key";
    batch.push_back(put(std::string(511, 'z'), "longest key"));
    REQUIRE(opened(dir.path)->write(batch).has_value());
    const auto kv = opened(dir.path);
    CHECK(rows_of(*kv) == expected);
    CHECK(rows_of(*kv, Table::meta).empty());
    const auto reader = *kv->reader();
    CHECK(*reader->get(Table::rows, "absent") == std::nullopt);
    CHECK(*reader->get(Table::rows, "") == std::nullopt);
    CHECK(*reader->get(Table::rows, std::string(600, 'k')) == std::nullopt);
}

TEST_CASE("lmdb_kv: random batches agree with a map", "[store][lmdb_kv]") {
    DirectoryOfKv dir;
    std::array<Rows, kTableCount> model;
    auto kv = opened(dir.path);
    const std::string draws = noise(6000, 7);
    std::size_t at = 0;
    const auto draw = [&](unsigned below) {
        return static_cast<unsigned char>(draws[at++ % draws.size()]) % below;
    };
    for (std::uint64_t round = 0; round < 60; ++round) {
        KvBatch batch;
        for (std::uint64_t i = 0; i < 20; ++i) {
            const auto table = draw(kTableCount);
            const std::string key = "k" + std::to_string(draw(40));
            if (draw(3) == 0) {
                batch.push_back(drop(key, Table{static_cast<std::uint8_t>(table)}));
                model[table].erase(key);
            } else {
                const std::string value = noise(draw(6) == 0 ? 150000 : draw(200), round * 100 + i);
                batch.push_back(put(key, value, Table{static_cast<std::uint8_t>(table)}));
                model[table][key] = value;
            }
        }
        REQUIRE(kv->write(batch).has_value());
        if (round % 20 == 19) kv.reset(), kv = opened(dir.path);
        for (std::size_t t = 0; t < kTableCount; ++t) {
            REQUIRE(rows_of(*kv, Table{static_cast<std::uint8_t>(t)}) == model[t]);
        }
    }
    // Nothing of a long value stays behind.
    KvBatch all;
    for (std::size_t t = 0; t < kTableCount; ++t) {
        for (const auto& [key, value] : model[t])
            all.push_back(drop(key, Table{static_cast<std::uint8_t>(t)}));
    }
    const auto before = kv->stats();
    REQUIRE(kv->write(all).has_value());
    CHECK(before.bytes_used > 1000000);
    CHECK(kv->stats().bytes_used < 100000);
    CHECK(kv->stats().bytes_on_disk >= before.bytes_used);
}

TEST_CASE("lmdb_kv: a scan stays in its range, and stops when told to", "[store][lmdb_kv]") {
    DirectoryOfKv dir;
    const auto kv = opened(dir.path);
    REQUIRE(kv->write({put("a", "1"), put("b", "2"), put("b0", "3"), put("c", "4")}).has_value());
    CHECK(rows_of(*kv, Table::rows, "b", "c") == Rows{{"b", "2"}, {"b0", "3"}});
    CHECK(rows_of(*kv, Table::rows, "aa", {}).size() == 3);
    CHECK(rows_of(*kv, Table::rows, "d", {}).empty());
    int visited = 0;
    const auto reader = *kv->reader();
    REQUIRE(
        reader->scan(Table::rows, {}, {}, [&](auto, auto) { return ++visited < 2; }).has_value());
    CHECK(visited == 2);
}

TEST_CASE("lmdb_kv: a reader keeps its snapshot", "[store][lmdb_kv]") {
    DirectoryOfKv dir;
    const auto kv = opened(dir.path);
    REQUIRE(kv->write({put("a", "old")}).has_value());
    const auto reader = *kv->reader();
    REQUIRE(kv->write({put("a", "new"), put("b", noise(200000, 3))}).has_value());
    CHECK(**reader->get(Table::rows, "a") == "old");
    CHECK(*reader->get(Table::rows, "b") == std::nullopt);
    CHECK(**(*kv->reader())->get(Table::rows, "a") == "new");
}

TEST_CASE("lmdb_kv: a batch beyond the limits changes nothing", "[store][lmdb_kv]") {
    DirectoryOfKv dir;
    const auto kv = opened(dir.path);
    const std::string key = GENERATE(std::string(), std::string(512, 'k'));
    const auto refused = kv->write({put("a", "1"), put(key, "2")});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Code::too_large);
    CHECK(rows_of(*kv).empty());
}

TEST_CASE("lmdb_kv: a full store changes nothing, reads on, and deletes", "[store][lmdb_kv]") {
    DirectoryOfKv dir;
    auto kv = opened(dir.path, 4 << 20);
    const std::size_t bytes = GENERATE(std::size_t{100}, std::size_t{3000}, std::size_t{200000});
    Rows expected;
    Result<void> written;
    for (std::uint64_t round = 0; written; ++round) {
        REQUIRE(round < 1000);
        KvBatch batch;
        for (std::uint64_t i = 0; i < 400000 / bytes; ++i) {
            batch.push_back(put(noise(8, round * 10000 + i), noise(bytes, i)));
        }
        written = kv->write(batch);
        for (const KvChange& change : batch) {
            if (written) expected[change.key] = *change.value;
        }
    }
    CHECK(written.error().code == Code::out_of_space);
    CHECK(expected.size() > 5);
    CHECK(rows_of(*kv) == expected);
    kv.reset();
    kv = opened(dir.path, 4 << 20);
    KvBatch drops;
    for (const auto& [key, value] : expected) drops.push_back(drop(key));
    const auto dropped = kv->write(drops);
    INFO((dropped ? "" : dropped.error().text()));
    REQUIRE(dropped.has_value());
    CHECK(rows_of(*kv).empty());
    CHECK(kv->stats().bytes_on_disk <= (4 << 20) + LmdbKv::kReserveBytes);
    // The pages are free for others.
    REQUIRE(kv->write({put("a", noise(bytes, 1))}).has_value());
    CHECK(rows_of(*kv).size() == 1);
}

TEST_CASE("lmdb_kv: a file of another program is refused and kept", "[store][lmdb_kv]") {
    DirectoryOfKv dir;
    const fs::path path = dir.path / "state.mdb";
    const bool is_lmdb = GENERATE(true, false);
    if (is_lmdb) {
        MDB_env* env = nullptr;
        MDB_txn* txn = nullptr;
        MDB_dbi table = 0;
        std::string text = "theirs";
        MDB_val val{text.size(), text.data()};
        REQUIRE(::mdb_env_create(&env) == 0);
        REQUIRE(::mdb_env_open(env, path.c_str(), MDB_NOSUBDIR, 0640) == 0);
        REQUIRE(::mdb_txn_begin(env, nullptr, 0, &txn) == 0);
        REQUIRE(::mdb_dbi_open(txn, nullptr, 0, &table) == 0);
        REQUIRE(::mdb_put(txn, table, &val, &val, 0) == 0);
        REQUIRE(::mdb_txn_commit(txn) == 0);
        ::mdb_env_close(env);
    } else {
        std::ofstream(path) << noise(20000, 5);
    }
    const auto bytes = fs::file_size(path);
    const auto refused = LmdbKv::open(dir.path, {});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == (is_lmdb ? Code::unsupported : Code::corrupt));
    CHECK(refused.error().where.find("choose another data directory") != std::string::npos);
    CHECK(fs::file_size(path) == bytes);
}

TEST_CASE("lmdb_kv: a file that was cut is refused, or misses nothing", "[store][lmdb_kv]") {
    DirectoryOfKv dir;
    Rows expected;
    {
        const auto kv = opened(dir.path);
        REQUIRE(
            kv->write({put("long", noise(200000, 1)), put("short", noise(2500, 2))}).has_value());
        REQUIRE(kv->write({drop("long")}).has_value());
        for (int i = 0; i < 30; ++i)
            REQUIRE(kv->write({put("k" + std::to_string(i), noise(900, 3))}).has_value());
        expected = rows_of(*kv);
    }
    const fs::path path = dir.path / "state.mdb";
    const std::uint64_t whole = fs::file_size(path);
    fs::copy_file(path, dir.path / "copy");
    int refused = 0;
    for (std::uint64_t bytes = whole; bytes >= 8192; bytes -= 4096) {
        fs::copy_file(dir.path / "copy", path, fs::copy_options::overwrite_existing);
        fs::resize_file(path, bytes);
        const auto kv = LmdbKv::open(dir.path, {});
        if (kv) {
            REQUIRE(rows_of(**kv) == expected);
            continue;
        }
        ++refused;
        CHECK(kv.error().code == Code::corrupt);
        CHECK(fs::file_size(path) == bytes);
    }
    CHECK(refused > 5);
}
