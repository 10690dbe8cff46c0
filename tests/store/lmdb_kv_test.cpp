// tests/store/lmdb_kv_test.cpp — the store over LMDB: files that are cut or not ours, and what a full disk costs.
//
// Apart    what every ordered store keeps to: kv_conformance_test.cpp.
#include "store/lmdb_kv.hpp"

#include <lmdb.h>

#include <fstream>
#include <map>

#include "tests/catch.hpp"
#include "tests/store/file_limit.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace skerry;
namespace {
namespace fs = std::filesystem;
using Rows = std::map<std::string, std::string>;

std::unique_ptr<LmdbKv> opened(const fs::path& directory) {
    auto kv = LmdbKv::open(directory, {});
    INFO((kv ? "" : kv.error().text()));
    REQUIRE(kv.has_value());
    return std::move(*kv);
}

KvChange put(std::string key, std::string value) {
    return {.table = Table::rows, .key = std::move(key), .value = std::move(value)};
}
Result<void> write(Kv& kv, const KvBatch& batch) { return kv.write(batch, KvRoom::ordinary); }

Rows rows_of(const Kv& kv) {
    Rows rows;
    const auto reader = *kv.reader();
    REQUIRE(reader
                ->scan(Table::rows, {}, {},
                       [&](std::string_view key, std::string_view value) {
                           return rows.emplace(key, value).second;
                       })
                .has_value());
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

TEST_CASE("lmdb_kv: what a failed write took of the disk is given back", "[store][lmdb_kv]") {
    TemporaryDirectory dir;
    const auto kv = opened(dir.path);
    REQUIRE(write(*kv, {put("kept", noise(100000, 1))}).has_value());
    const fs::path path = dir.path / "state.mdb";
    const std::uint64_t bytes = fs::file_size(path);
    KvBatch batch;
    for (std::uint64_t i = 0; i < 1000; ++i)
        batch.push_back(put("k" + std::to_string(i), noise(3000, i)));
    const KvRoom room = GENERATE(KvRoom::ordinary, KvRoom::with_reserve);
    {
        FileLimit limit;
        limit.set(bytes + (1 << 20));
        const auto written = kv->write(batch, room);
        REQUIRE_FALSE(written.has_value());
        CHECK(written.error().code == Code::out_of_space);
        CHECK(fs::file_size(path) <= bytes + 65536);  // an empty transaction may have been tried
        CHECK(rows_of(*kv) == Rows{{"kept", noise(100000, 1)}});
        REQUIRE(write(*kv, {put("small", "fits")}).has_value());
    }
    REQUIRE(write(*kv, batch).has_value());
    CHECK(rows_of(*kv).size() == 1002);
    CHECK(fs::file_size(dir.path / "reserve") == LmdbKv::kReserveBytes);
}

TEST_CASE("lmdb_kv: a limit of its own holds, the reserve's too", "[store][lmdb_kv]") {
    TemporaryDirectory dir;
    const KvRoom room = GENERATE(KvRoom::ordinary, KvRoom::with_reserve);
    const auto kv = LmdbKv::open(dir.path, {.bytes_max = 4 << 20});
    REQUIRE(kv.has_value());
    Result<void> written;
    std::uint64_t rounds = 0;
    for (; written; ++rounds) {
        REQUIRE(rounds < 1000);
        written = (*kv)->write({put(noise(8, rounds), noise(500000, rounds))}, room);
    }
    CHECK(written.error().code == Code::out_of_space);
    CHECK(rows_of(**kv).size() == rounds - 1);
    const std::uint64_t reserve = room == KvRoom::with_reserve ? LmdbKv::kReserveBytes : 0;
    CHECK((*kv)->stats().bytes_on_disk <= (4 << 20) + reserve);
}

TEST_CASE("lmdb_kv: a file of another program is refused and kept", "[store][lmdb_kv]") {
    TemporaryDirectory dir;
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
    TemporaryDirectory dir;
    Rows expected;
    {
        const auto kv = opened(dir.path);
        REQUIRE(
            write(*kv, {put("long", noise(200000, 1)), put("short", noise(2500, 2))}).has_value());
        REQUIRE(write(*kv, {{Table::rows, "long", std::nullopt}}).has_value());
        for (int i = 0; i < 30; ++i)
            REQUIRE(write(*kv, {put("k" + std::to_string(i), noise(900, 3))}).has_value());
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
