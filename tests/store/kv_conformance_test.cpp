// tests/store/kv_conformance_test.cpp — what every ordered store keeps to, the real one and the simulated one alike.
//
// Apart    files that are cut or not ours are the real one's business (lmdb_kv_test.cpp); calls that fail, the simulated
//          one's (at the end).
#include <array>
#include <map>

#include "sim/disk.hpp"
#include "store/lmdb_kv.hpp"
#include "tests/catch.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace skerry;
namespace {
using Rows = std::map<std::string, std::string>;

class KvRig {
  public:
    virtual ~KvRig() = default;
    // A process begins, and finds what the one before it had written.
    virtual void reopen() = 0;
    [[nodiscard]] virtual Kv& kv() = 0;
    // Nothing more fits but what may use the reserve. Keys under "fill" are the rig's.
    virtual void fill() = 0;
    virtual void make_room() = 0;
};

std::string noise(std::size_t bytes, std::uint64_t seed) {
    std::string out(bytes, '\0');
    for (char& c : out) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        c = static_cast<char>(seed >> 56);
    }
    return out;
}

KvChange put(std::string key, std::string value, Table table = Table::rows) {
    return {.table = table, .key = std::move(key), .value = std::move(value)};
}
KvChange drop(std::string key, Table table = Table::rows) {
    return {.table = table, .key = std::move(key), .value = std::nullopt};
}
Result<void> write(Kv& kv, const KvBatch& batch) { return kv.write(batch, KvRoom::ordinary); }

class LmdbRig final : public KvRig {
  public:
    LmdbRig() { reopen(); }
    void reopen() override {
        kv_.reset();
        auto opened = LmdbKv::open(directory_.path, {.bytes_max = bytes_max_});
        INFO((opened ? "" : opened.error().text()));
        REQUIRE(opened.has_value());
        kv_ = std::move(*opened);
    }
    Kv& kv() override { return *kv_; }
    void fill() override {
        bytes_max_ = kv_->stats().bytes_on_disk + (1 << 20);
        reopen();
        for (const std::size_t bytes : {200'000, 20'000, 2'000, 200, 20}) {
            while (write(*kv_, {put("fill" + std::to_string(filled_), noise(bytes, filled_))}))
                ++filled_;
        }
    }
    void make_room() override {
        bytes_max_ = 0;
        reopen();
    }

  private:
    TemporaryDirectory directory_;
    std::uint64_t bytes_max_ = 0;
    std::uint64_t filled_ = 0;
    std::unique_ptr<LmdbKv> kv_;
};

class SimRig final : public KvRig {
  public:
    void reopen() override {}
    Kv& kv() override { return kv_; }
    void fill() override { kv_.set_room(sim::Room::reserve); }
    void make_room() override { kv_.set_room(sim::Room::plenty); }

  private:
    sim::SimKv kv_;
};

std::unique_ptr<KvRig> each_rig() {
    const bool real = GENERATE(true, false);
    UNSCOPED_INFO((real ? "lmdb_kv" : "sim_kv"));
    if (real) return std::make_unique<LmdbRig>();
    return std::make_unique<SimRig>();
}

// What a scan gives, in order; each row is also got by its key.
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

Table table_of(std::size_t number) { return Table{static_cast<std::uint8_t>(number)}; }
}  // namespace

TEST_CASE("kv: values of every length come back, also after a reopening", "[store][kv]") {
    const auto rig = each_rig();
    Rows expected;
    KvBatch batch;
    std::uint64_t seed = 1;
    for (const std::size_t bytes :
         {0, 1, 24, 25, 4000, 65535, 65536, 65537, 131040, 131041, 3000000}) {
        const std::string key = "key" + std::to_string(bytes);
        expected[key] = noise(bytes, ++seed);
        batch.push_back(put(key, expected[key]));
    }
    const std::string longest(kKvKeyBytesMax, 'z');
    expected[longest] = "longest key";
    batch.push_back(put(longest, "longest key"));
    REQUIRE(write(rig->kv(), batch).has_value());
    CHECK(rows_of(rig->kv()) == expected);
    rig->reopen();
    CHECK(rows_of(rig->kv()) == expected);
    CHECK(rows_of(rig->kv(), Table::meta).empty());
    const auto reader = *rig->kv().reader();
    CHECK(*reader->get(Table::rows, "absent") == std::nullopt);
    CHECK(*reader->get(Table::rows, "") == std::nullopt);
    CHECK(*reader->get(Table::rows, std::string(600, 'k')) == std::nullopt);
}

TEST_CASE("kv: random batches agree with a map, table by table", "[store][kv]") {
    const auto rig = each_rig();
    std::array<Rows, kTableCount> model;
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
                batch.push_back(drop(key, table_of(table)));
                model[table].erase(key);
            } else {
                const std::string value = noise(draw(6) == 0 ? 150000 : draw(200), round * 100 + i);
                batch.push_back(put(key, value, table_of(table)));
                model[table][key] = value;
            }
        }
        REQUIRE(write(rig->kv(), batch).has_value());
        if (round % 20 == 19) rig->reopen();
        for (std::size_t t = 0; t < kTableCount; ++t)
            REQUIRE(rows_of(rig->kv(), table_of(t)) == model[t]);
    }
    // Nothing of a long value stays behind.
    KvBatch all;
    for (std::size_t t = 0; t < kTableCount; ++t)
        for (const auto& [key, value] : model[t]) all.push_back(drop(key, table_of(t)));
    const auto before = rig->kv().stats();
    REQUIRE(write(rig->kv(), all).has_value());
    CHECK(before.bytes_used > 1000000);
    CHECK(before.bytes_on_disk >= before.bytes_used);
    CHECK(rig->kv().stats().bytes_used < 100000);
}

TEST_CASE("kv: of several changes of one key in a batch, the last one stands", "[store][kv]") {
    const auto rig = each_rig();
    REQUIRE(write(rig->kv(), {put("a", "1"), drop("a"), put("b", "2"), put("b", "3"), put("c", "4"),
                              drop("c"), drop("never there")})
                .has_value());
    CHECK(rows_of(rig->kv()) == Rows{{"b", "3"}});
}

TEST_CASE("kv: a scan stays in its range, in byte order, and stops when told to", "[store][kv]") {
    const auto rig = each_rig();
    REQUIRE(write(rig->kv(), {put("c", "4"), put("a", "1"), put("b", "2"), put("b0", "3"),
                              put("\xff", "6"), put("\x80", "5"), put("b", "x", Table::ix)})
                .has_value());
    CHECK(rows_of(rig->kv(), Table::rows, "b", "c") == Rows{{"b", "2"}, {"b0", "3"}});
    CHECK(rows_of(rig->kv(), Table::rows, "aa", {}).size() == 5);
    CHECK(rows_of(rig->kv(), Table::rows, "d", "e").empty());
    CHECK(rows_of(rig->kv(), Table::rows, "d", {}).begin()->first == "\x80");
    CHECK(rows_of(rig->kv(), Table::ix) == Rows{{"b", "x"}});
    CHECK(rows_of(rig->kv(), Table::deadlines).empty());
    int visited = 0;
    const auto reader = *rig->kv().reader();
    REQUIRE(
        reader->scan(Table::rows, {}, {}, [&](auto, auto) { return ++visited < 2; }).has_value());
    CHECK(visited == 2);
}

TEST_CASE("kv: a reader keeps its snapshot", "[store][kv]") {
    const auto rig = each_rig();
    REQUIRE(write(rig->kv(), {put("a", "old"), put("long", noise(200000, 1))}).has_value());
    const auto reader = *rig->kv().reader();
    REQUIRE(
        write(rig->kv(), {put("a", "new"), put("b", noise(200000, 3)), drop("long")}).has_value());
    for (int i = 0; i < 5; ++i) REQUIRE(write(rig->kv(), {put("c", noise(100000, 4))}).has_value());
    CHECK(**reader->get(Table::rows, "a") == "old");
    CHECK(*reader->get(Table::rows, "b") == std::nullopt);
    CHECK(**reader->get(Table::rows, "long") == noise(200000, 1));
    const auto later = *rig->kv().reader();
    CHECK(**later->get(Table::rows, "a") == "new");
    CHECK(*later->get(Table::rows, "long") == std::nullopt);
}

TEST_CASE("kv: a batch beyond the limits changes nothing", "[store][kv]") {
    const auto rig = each_rig();
    const std::string key = GENERATE(std::string(), std::string(kKvKeyBytesMax + 1, 'k'));
    const auto refused = write(rig->kv(), {put("a", "1"), put(key, "2")});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Code::too_large);
    CHECK(rows_of(rig->kv()).empty());
}

TEST_CASE("kv: a full one changes nothing and reads on; with the reserve it is written to",
          "[store][kv]") {
    const std::size_t bytes = GENERATE(std::size_t{100}, std::size_t{3000}, std::size_t{200000});
    const auto rig = each_rig();
    KvBatch batch;
    for (std::uint64_t i = 0; i < 1'000'000 / bytes; ++i)
        batch.push_back(put("key" + std::to_string(i), noise(bytes, i)));
    REQUIRE(write(rig->kv(), batch).has_value());
    rig->fill();
    const Rows expected = rows_of(rig->kv(), Table::rows, "key", "kez");
    CHECK(expected.size() == batch.size());
    for (KvChange& change : batch) change.value = noise(bytes, 99);
    const auto refused = write(rig->kv(), batch);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Code::out_of_space);
    CHECK(rows_of(rig->kv(), Table::rows, "key", "kez") == expected);
    rig->reopen();
    // What a checkpoint of removals is: a short row instead of each, and a row of its own.
    KvBatch smaller{put("clock", noise(500, 1), Table::meta)};
    for (const auto& [key, value] : expected) smaller.push_back(put(key, "removed"));
    const auto shrunk = rig->kv().write(smaller, KvRoom::with_reserve);
    INFO((shrunk ? "" : shrunk.error().text()));
    REQUIRE(shrunk.has_value());
    const Rows removed = rows_of(rig->kv(), Table::rows, "key", "kez");
    CHECK(removed.size() == expected.size());
    CHECK(removed.begin()->second == "removed");
    rig->make_room();
    REQUIRE(write(rig->kv(), batch).has_value());
    CHECK(rows_of(rig->kv(), Table::rows, "key", "kez").at("key0") == noise(bytes, 99));
}

TEST_CASE("sim_kv: a write that fails changes nothing", "[store][kv][sim]") {
    sim::SimKv kv;
    REQUIRE(write(kv, {put("a", "1")}).has_value());
    kv.fail_next_write();
    const auto written = write(kv, {put("a", "2")});
    REQUIRE_FALSE(written.has_value());
    CHECK(written.error().code == Code::io_failed);
    CHECK(rows_of(kv) == Rows{{"a", "1"}});
    kv.set_room(sim::Room::none);
    CHECK(kv.write({put("a", "2")}, KvRoom::with_reserve).error().code == Code::out_of_space);
    CHECK(rows_of(kv) == Rows{{"a", "1"}});
}
