// tests/node/directory_golden_test.cpp — a data directory that was written once opens for ever, and holds what it held.
//
// Recorded  a checkpoint of two writers' changes; behind it, in the log, more of both. expected.txt: keys, clocks, digests.
// Anew      tests/golden/README.md.
#include <algorithm>
#include <cstring>

#include "crdt/hash.hpp"
#include "node/database.hpp"
#include "node/own_store.hpp"
#include "store/file_log.hpp"
#include "store/lmdb_kv.hpp"
#include "tests/catch.hpp"
#include "tests/support/golden.hpp"
#include "tests/support/memory_disk.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace skerry;
namespace {
namespace fs = std::filesystem;

const fs::path kRecorded = "tests/golden/directory";
constexpr ReplicaId kA{0x1122334455667788}, kB{0xfedcba9876543210}, kLater{0x1122334400000001};
constexpr WallTime kNow{1'700'000'000'000}, kFarAway{4'000'000'000'000};
constexpr FileLog::Options kLogOptions{.segment_bytes = 8192};

StoreOptions options_of(ReplicaId writer) {
    return {.self = writer, .nonce = 4711, .shard_count = 16, .hash_seed = 77};
}

// A store, and the database over it.
struct Opened {
    std::unique_ptr<Store> store;
    std::unique_ptr<Database> database;
};

Opened open_over(Log& log, const Kv& kv, ReplicaId writer) {
    auto store = Store::open(log, kv, options_of(writer), kNow);
    INFO((store ? "" : store.error().text()));
    REQUIRE(store.has_value());
    auto database = std::make_unique<Database>(**store);
    return {std::move(*store), std::move(database)};
}

// Makes what is open durable. The bodies that would be published.
std::vector<std::string> commit(Store& store, Log& log) {
    const auto commit = store.seal();
    REQUIRE(commit.has_value());
    REQUIRE(log.append(commit->frames, commit->last).has_value());
    REQUIRE(log.sync().has_value());
    store.committed(*commit);
    std::vector<std::string> bodies;
    for (const Published& published : commit->published)
        bodies.push_back(commit->frames.substr(published.body_at, published.body_bytes));
    return bodies;
}

void take_in(Store& store, const std::vector<std::string>& bodies) {
    for (const std::string& body : bodies) {
        const auto batch = decode_batch(body);
        REQUIRE(batch.has_value());
        store.apply_remote("rfedcba9876543210@1", body, *batch);
    }
}

void write_first(Database& db) {
    db.set(0, "text", "of a");
    db.set(0, "passing", "away", kFarAway);
    db.set(3, "long", std::string(70'000, 'x'));
    REQUIRE(db.add(0, "count", 5).has_value());
    for (const std::string_view member : {"one", "two", "three"}) db.set_add(0, "set", member);
    db.hash_set(0, "hash", "field", "value");
    REQUIRE(db.hash_add(0, "hash", "sum", 40).has_value());
    db.set_deadline(0, "hash", kFarAway);
    db.set(0, "removed", "soon");
    db.remove(0, "removed");
    db.set_remove(0, "set", "three");
}

void write_elsewhere(Database& db) {
    db.set(0, "text", "of b");
    REQUIRE(db.add(0, "count", 100).has_value());
    db.set_add(0, "set", "two");
    db.set_add(0, "set", "four");
    REQUIRE(db.hash_add(0, "hash", "sum", 2).has_value());
    db.set_add(15, "theirs", std::string("\0\xff", 2));
}

void write_later(Database& db) {
    db.set(0, "text", "of a, later");
    REQUIRE(db.add(0, "count", -1).has_value());
    db.set_remove(0, "set", "one");
    db.hash_remove(0, "hash", "field");
    REQUIRE(db.add_real(0, "real", 1.5L).has_value());
}

void append_elements(std::string& out, Database& db, std::uint8_t number, const KeyRecord& record,
                     LeafKind kind) {
    std::vector<std::string> lines;
    db.for_each(number, record.key, kind, {}, [&](const Element& element) {
        const std::string sub(element.sub);
        const bool readable = std::ranges::all_of(
            sub, [](char c) { return static_cast<unsigned char>(c) - 0x20U < 0x5fU; });
        lines.push_back("  " + (readable ? sub : "(bytes)") +
                        (kind == LeafKind::field ? " = " + Database::value_of(element) : "") +
                        "\n");
        return true;
    });
    std::ranges::sort(lines);
    for (const std::string& line : lines) out += line;
}

// All that is visible, then clocks and digests by shard.
std::string picture(Store& store, Database& db) {
    std::string out;
    for (std::uint8_t number = 0; number < kDatabaseCount; ++number) {
        std::vector<std::string> keys;
        db.for_each_key(number, 0, [&](const KeyRecord& record) {
            keys.emplace_back(record.key);
            return true;
        });
        std::ranges::sort(keys);
        CHECK(db.key_count(number) == keys.size());
        for (const std::string& key : keys) {
            out += "db" + std::to_string(number) + " " + key;
            if (const auto text = db.get(number, key))
                out +=
                    " = " + (text->size() > 100 ? std::to_string(text->size()) + " bytes" : *text);
            if (const WallTime at = db.deadline(number, key); at != kNoDeadline)
                out += " until " + std::to_string(at.count());
            out += "\n";
            const KeyRecord& record = *db.record(number, key);
            append_elements(out, db, number, record, LeafKind::member);
            append_elements(out, db, number, record, LeafKind::field);
        }
    }
    for (const auto& [shard, clock] : store.durable_clocks()) {
        out += "shard " + std::to_string(shard.value) + " digest " +
               std::to_string(store.shard(shard).digest) + " clock";
        for (const auto& [writer, seq] : clock)
            out += " " + writer.text() + ":" + std::to_string(seq.value);
        out += "\n";
    }
    return out;
}

void record_anew() {
    for (const char* name : {"log", "state.mdb", "identity"}) fs::remove_all(kRecorded / name);
    MemoryLog their_log;
    MemoryKv their_kv;
    const Opened theirs = open_over(their_log, their_kv, kB);
    static_cast<void>(commit(*theirs.store, their_log));
    REQUIRE(open_identity(kRecorded, [] { return kA.value; }).has_value());
    auto kv = LmdbKv::open(kRecorded, {});
    auto log = FileLog::open(kRecorded / "log", kLogOptions);
    REQUIRE((kv.has_value() && log.has_value()));
    const Opened ours = open_over(**log, **kv, kA);
    write_first(*ours.database);
    static_cast<void>(commit(*ours.store, **log));
    write_elsewhere(*theirs.database);
    take_in(*ours.store, commit(*theirs.store, their_log));
    static_cast<void>(commit(*ours.store, **log));
    ours.store->freeze();
    REQUIRE(ours.store->save_some(1'000'000));
    REQUIRE(ours.store->image()->write(**kv, KvRoom::ordinary).has_value());
    static_cast<void>(ours.store->checkpointed());
    write_later(*ours.database);
    static_cast<void>(commit(*ours.store, **log));
    theirs.database->set_add(0, "set", "five");
    take_in(*ours.store, commit(*theirs.store, their_log));
    static_cast<void>(commit(*ours.store, **log));
    golden::write(kRecorded / "expected.txt", picture(*ours.store, *ours.database));
    REQUIRE(mark_clean(kRecorded, kA, own_events(*ours.store)).has_value());
    kv->reset();
    for (const char* name : {"state.mdb-lock", "reserve"}) fs::remove_all(kRecorded / name);
}

// A copy, which may be opened and written to.
struct Copy {
    TemporaryDirectory directory;
    Copy() {
        fs::copy(kRecorded, directory.path,
                 fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    }
    [[nodiscard]] const fs::path& path() const { return directory.path; }

    // Why it is refused.
    [[nodiscard]] Error refusal() const {
        auto kv = LmdbKv::open(path(), {});
        if (!kv) return kv.error();
        auto log = FileLog::open(path() / "log", kLogOptions);
        if (!log) return log.error();
        auto store = Store::open(**log, **kv, options_of(kLater), kNow);
        REQUIRE_FALSE(store.has_value());
        return store.error();
    }
};

// Puts other bytes for all of `old` in the file. How often it stood there.
std::size_t patch(const fs::path& path, std::string_view old, std::string_view fresh) {
    REQUIRE(old.size() == fresh.size());
    std::string bytes = golden::read(path);
    std::size_t count = 0;
    for (std::size_t at = 0; (at = bytes.find(old, at)) != std::string::npos; ++count)
        bytes.replace(at, old.size(), fresh);
    golden::write(path, bytes);
    return count;
}
}  // namespace

TEST_CASE("golden: a recorded data directory opens and holds what it held", "[node][golden]") {
    if (golden::writes_anew()) record_anew();
    const std::string expected = golden::read(kRecorded / "expected.txt");
    CHECK(expected.find("db0 count = 104\n") != std::string::npos);
    const Copy copy;
    std::string after;
    for (int round = 0; round < 2; ++round) {
        auto kv = LmdbKv::open(copy.path(), {});
        INFO((kv ? "" : kv.error().text()));
        REQUIRE(kv.has_value());
        auto log = FileLog::open(copy.path() / "log", kLogOptions);
        INFO((log ? "" : log.error().text()));
        REQUIRE(log.has_value());
        const Opened opened = open_over(**log, **kv, kLater);
        CHECK(picture(*opened.store, *opened.database) == (round == 0 ? expected : after));
        // It is not only read: this version goes on in it.
        opened.database->set(0, "new", "value " + std::to_string(round));
        static_cast<void>(commit(*opened.store, **log));
        after = picture(*opened.store, *opened.database);
        CHECK(after.find("db0 new = value") != std::string::npos);
    }
}

TEST_CASE("golden: a recorded identity is read, and a copy of it gets another", "[node][golden]") {
    const Copy copy;
    const auto identity = open_identity(copy.path(), [] { return std::uint64_t{99}; });
    REQUIRE(identity.has_value());
    CHECK(identity->writer == ReplicaId{99});
    CHECK(identity->fresh_incarnation);
    CHECK_THAT(golden::read(kRecorded / "identity"),
               Catch::StartsWith("skerry-identity 2\nwriter " + std::to_string(kA.value) + "\n"));
}

TEST_CASE("golden: files of other versions are refused with what to do", "[node][golden]") {
    const Copy copy;
    const fs::path segment = copy.path() / "log" / "00000000000000000001.log";
    Error refused{.code = Code::malformed, .where = ""};
    SECTION("the log") {
        REQUIRE(patch(segment, std::string_view("SKRYLOG1\x05\0\0\0", 12),
                      std::string_view("SKRYLOG1\x06\0\0\0", 12)) == 1);
        refused = copy.refusal();
        CHECK_THAT(refused.where, Catch::Contains("written by a later version of Skerry") &&
                                      Catch::Contains("start that version"));
    }
    SECTION("the log, by an earlier version") {
        std::string header = golden::read(segment).substr(0, kLogSegmentHeaderBytes);
        const std::string now = header;
        header[8] = 1;
        header.replace(12, 4, 4, '\0');
        const auto check = static_cast<std::uint32_t>(hash64(header));
        std::memcpy(header.data() + 12, &check, sizeof check);
        REQUIRE(patch(segment, now, header) == 1);
        refused = copy.refusal();
        CHECK_THAT(refused.where, Catch::Contains("written by an earlier version of Skerry") &&
                                      Catch::Contains("start that version"));
    }
    SECTION("the ordered store") {
        REQUIRE(patch(copy.path() / "state.mdb", "skerry state 2", "skerry state 3") >= 1);
        refused = copy.refusal();
        CHECK_THAT(refused.where, Catch::Contains("another version: start that one"));
    }
    SECTION("the rows in it") {
        {
            auto kv = LmdbKv::open(copy.path(), {});
            REQUIRE(kv.has_value());
            std::string state(**(*(*kv)->reader())->get(Table::meta, kStateMetaKey));
            state[1] = static_cast<char>(kStoreFormat + 1);  // behind the array's head
            REQUIRE(
                (*kv)
                    ->write({{Table::meta, std::string(kStateMetaKey), state}}, KvRoom::ordinary)
                    .has_value());
        }
        refused = copy.refusal();
        CHECK_THAT(refused.where, Catch::Contains("the data directory has format") &&
                                      Catch::Contains("start the version that wrote it"));
    }
    SECTION("a log record") {
        {
            auto log = FileLog::open(copy.path() / "log", kLogOptions);
            REQUIRE(log.has_value());
            std::string frames;
            append_frame(frames, (*log)->last().next(), (*log)->durable(), "\x91\x08");
            REQUIRE((*log)->append(frames, (*log)->last().next()).has_value());
        }
        refused = copy.refusal();
        CHECK_THAT(refused.where, Catch::Contains("a log record of kind 8") &&
                                      Catch::Contains("start the version that wrote it"));
    }
    SECTION("the identity") {
        REQUIRE(patch(copy.path() / "identity", "skerry-identity 2", "skerry-identity 3") == 1);
        const auto identity = open_identity(copy.path(), [] { return std::uint64_t{99}; });
        REQUIRE_FALSE(identity.has_value());
        refused = identity.error();
        CHECK_THAT(refused.where, Catch::Contains("start the version that wrote it"));
    }
    CHECK(refused.code == Code::unsupported);
}
