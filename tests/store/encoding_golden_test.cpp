// tests/store/encoding_golden_test.cpp — the bytes of records, rows and log segments are the recorded ones, and are read.
#include "store/file_log.hpp"
#include "store/record.hpp"
#include "store/row.hpp"
#include "store/stage.hpp"
#include "tests/catch.hpp"
#include "tests/support/golden.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace skerry;
namespace {
namespace fs = std::filesystem;

const fs::path kDisk = "tests/golden/disk";
const fs::path kSegment = "tests/golden/log/00000000000000000007.log";
constexpr ReplicaId kA{0x1122334455667788}, kB{0xfedcba9876543210};

Entry entry(ReplicaId writer, std::uint64_t seq, bool removed, std::string payload) {
    return {.replica = writer,
            .seq = Seq{seq},
            .hlc = Hlc{1ULL << 60},
            .removed = removed,
            .payload = std::move(payload)};
}

Leaf two_entries() {
    Leaf leaf;
    leaf.put(entry(kA, 7, false, "live"));
    leaf.put(entry(kB, 1ULL << 40, true, ""));
    return leaf;
}

ShardClocks some_clocks() {
    return {{ShardId{0}, VersionVector{{kA, Seq{7}}, {kB, Seq{1ULL << 40}}}},
            {ShardId{255}, VersionVector{{kB, Seq{2}}}}};
}

std::string some_batch() {
    BatchBuilder builder;
    builder.add(0, "set", LeafKind::set_birth, "", {entry(kA, 6, false, ""), {}});
    builder.add(0, "set", LeafKind::member, std::string("\0\xff", 2),
                {entry(kA, 7, false, ""), {Dot{kB, Seq{3}}}});
    builder.add(15, "gone", LeafKind::set_birth, "", {entry(kA, 1, true, ""), {}});
    std::string bytes;
    builder.finish(bytes, kA,
                   {{.shard = ShardId{2}, .after = Seq{0}, .last = Seq{1}},
                    {.shard = ShardId{9}, .after = Seq{5}, .last = Seq{7}}});
    return bytes;
}

constexpr RowAddress kAddress{ShardId{9}, 15, {0x0123456789abcdef, 0x1122334455667788}};
constexpr ElementOrder kElement{LeafKind::member, {0x0102030405060708, 0x090a0b0c0d0e0f10}};
}  // namespace

TEST_CASE("golden: log records of every kind", "[store][golden]") {
    std::string remote, stage, flip, boot, repair;
    append_remote(remote, "r1122334455667788@12", some_batch(), Onward::stays);
    append_stage(stage, {.session = 5,
                         .clocks = some_clocks(),
                         .leaves = {{{0, LeafKind::set_birth, "set", ""}, two_entries()},
                                    {{0, LeafKind::member, "set", "member"}, two_entries()}},
                         .cursor = "cursor"});
    const ShardGain gain{.shard = ShardId{9},
                         .digest = ~0ULL,
                         .digests = {~0ULL, 5},
                         .keys = {3, ~0ULL},
                         .deadlines = {0, ~0ULL}};
    append_flip(flip, {.session = 5,
                       .clocks = some_clocks(),
                       .gains = {gain},
                       .floors = {{ShardId{9}, VersionVector{{kA, Seq{3}}}}}});
    append_boot(boot, {.writer = kA, .nonce = 99, .shard_count = 256, .hash_seed = ~0ULL});
    golden::check(kDisk / "record_1_batch.bin", some_batch());
    golden::check(kDisk / "record_2_remote.bin", remote);
    golden::check(kDisk / "record_3_stage.bin", stage);
    golden::check(kDisk / "record_4_flip.bin", flip);
    append_repair(repair, {.shard = ShardId{9},
                           .masks = {{LeafKind::clear, 15, "set", VersionVector{{kA, Seq{3}}}},
                                     {LeafKind::flush, 15, "flush:1", VersionVector{{kA, Seq{2}}}}},
                           .leaves = {{{0, LeafKind::member, "set", "member"}, two_entries()}},
                           .recounts = true});
    golden::check(kDisk / "record_5_boot.bin", boot);
    golden::check(kDisk / "record_6_repair.bin", repair);

    const auto batch = decode_batch(golden::read(kDisk / "record_1_batch.bin"));
    REQUIRE(batch.has_value());
    CHECK(batch->writer == kA);
    CHECK(batch->ranges.size() == 2);
    REQUIRE(batch->operations.size() == 3);
    CHECK(batch->operations[1].key ==
          LeafKey{0, LeafKind::member, "set", std::string("\0\xff", 2)});
    CHECK(batch->operations[1].delta == LeafDelta{entry(kA, 7, false, ""), {Dot{kB, Seq{3}}}});
    CHECK(batch->operations[2].key == LeafKey{15, LeafKind::set_birth, "gone", ""});
    const std::string whole = golden::read(kDisk / "record_2_remote.bin");
    const auto back = decode_record(whole);
    REQUIRE(back.has_value());
    CHECK(std::get<Remote>(*back).source == "r1122334455667788@12");
    CHECK(std::get<Remote>(*back).batch_bytes == some_batch());
    const auto staged = decode_record(golden::read(kDisk / "record_3_stage.bin"));
    REQUIRE(staged.has_value());
    CHECK(std::get<Stage>(*staged).session == 5);
    CHECK(std::get<Stage>(*staged).clocks == some_clocks());
    CHECK(std::get<Stage>(*staged).leaves.at(1).leaf == two_entries());
    CHECK(std::get<Stage>(*staged).cursor == "cursor");
    const auto flipped = decode_record(golden::read(kDisk / "record_4_flip.bin"));
    REQUIRE(flipped.has_value());
    CHECK(std::get<Flip>(*flipped).clocks == some_clocks());
    CHECK(std::get<Flip>(*flipped).gains == std::vector{gain});
    CHECK(std::get<Flip>(*flipped).floors ==
          ShardClocks{{ShardId{9}, VersionVector{{kA, Seq{3}}}}});
    const auto booted = decode_record(golden::read(kDisk / "record_5_boot.bin"));
    REQUIRE(booted.has_value());
    CHECK(std::get<Boot>(*booted).nonce == 99);
    CHECK(std::get<Boot>(*booted).shard_count == 256);
    const auto repaired = decode_record(golden::read(kDisk / "record_6_repair.bin"));
    REQUIRE(repaired.has_value());
    CHECK(std::get<Repair>(*repaired).masks.at(0).key == "set");
    CHECK(std::get<Repair>(*repaired).masks.at(1).kind == LeafKind::flush);
    CHECK(std::get<Repair>(*repaired).masks.at(0).clock == VersionVector{{kA, Seq{3}}});
    CHECK(std::get<Repair>(*repaired).leaves.at(0).leaf == two_entries());
    CHECK(std::get<Repair>(*repaired).recounts);
}

TEST_CASE("golden: a batch that is passed on says so", "[store][golden]") {
    std::string passed;
    append_remote(passed, "r1122334455667788@12", some_batch(), Onward::passed_on);
    golden::check(kDisk / "record_7_passed.bin", passed);
    const std::string bytes = golden::read(kDisk / "record_7_passed.bin");
    const auto back = decode_record(bytes);
    REQUIRE(back.has_value());
    CHECK(std::get<Remote>(*back).passed_on);
    CHECK(std::get<Remote>(*back).batch_bytes == some_batch());
}

TEST_CASE("golden: a record of a kind that is not known says so", "[store][golden]") {
    std::string bytes = golden::read(kDisk / "record_5_boot.bin");
    bytes[1] = 8;  // behind the array's head
    const auto record = decode_record(bytes);
    REQUIRE_FALSE(record.has_value());
    CHECK(record.error().code == Code::unsupported);
    CHECK_THAT(record.error().where, Catch::Contains("start the version that wrote it"));
}

void check_key_rows(const KeyRow& row) {
    const auto back = decode_key_row(golden::read(kDisk / "row_key.bin"));
    REQUIRE(back.has_value());
    CHECK(back->key == row.key);
    CHECK(back->leaves == row.leaves);
    CHECK((back->totals.live == row.totals.live && back->totals.elements == row.totals.elements));
    CHECK(back->sums == row.sums);
    const auto plain = decode_key_row(golden::read(kDisk / "row_plain_key.bin"));
    CHECK((plain && plain->sums == ElementSums{}));
    const auto masked = parse_masked_key(golden::read(kDisk / "key_of_masked.bin"));
    CHECK((masked && *masked == kAddress));
}

TEST_CASE("golden: rows and their keys", "[store][golden]") {
    const Leaf leaf = two_entries();
    const KeyRow row{
        .key = "set",
        .leaves = {{LeafKind::deadline, two_entries()}, {LeafKind::set_birth, two_entries()}},
        .totals = {.live = {3, 0, 1}, .elements = 6},
        .sums = {.digest = ~0ULL,
                 .counting = 2,
                 .highest = VersionVector{{kA, Seq{7}}, {kB, Seq{300}}},
                 .mask = VersionVector{{kB, Seq{200}}}}};
    const ShardMeta shard{.clock = VersionVector{{kA, Seq{7}}, {kB, Seq{1ULL << 40}}},
                          .ix_floor = VersionVector{{kA, Seq{6}}},
                          .purge_floor = VersionVector{{kA, Seq{4}}},
                          .digest = ~0ULL,
                          .keys = {5, 0, 0, 1},
                          .deadlines = {2, 0, 0, 1},
                          .databases = {DatabaseSums{7, true, VersionVector{{kB, Seq{9}}}}},
                          .tombstones = 9,
                          .before = VersionVector{{kA, Seq{5}}}};
    const StateMeta state{.covered = LogPosition{300},
                          .shard_count = 256,
                          .hash_seed = ~0ULL,
                          .clock = Hlc{1ULL << 60},
                          .draining = 5,
                          .staging = 6,
                          .cursor = "cursor"};
    golden::check(kDisk / "row_key.bin",
                  encode_key_row(row.key, row.totals, row.sums,
                                 {{LeafKind::deadline, &leaf}, {LeafKind::set_birth, &leaf}}));
    golden::check(kDisk / "row_plain_key.bin", encode_key_row("plain", {}, {}, {}));
    golden::check(kDisk / "key_of_masked.bin", masked_key(kAddress));
    golden::check(kDisk / "row_element.bin", encode_element("member", two_entries()));
    const StagedLeaf staged{{15, LeafKind::set_birth, "set", ""}, two_entries()};
    golden::check(kDisk / "stage_leaf.bin", encode_staged(LogPosition{300}, staged));
    golden::check(kDisk / "stage_clock.bin", encode_stage_clock(VersionVector{{kA, Seq{7}}}));
    golden::check(kDisk / "key_of_stage_own.bin",
                  stage_key(5, stage_place(kAddress, LeafKind::set_birth, {})));
    golden::check(kDisk / "key_of_stage_element.bin",
                  stage_key(5, stage_place(kAddress, LeafKind::member, kElement)));
    golden::check(kDisk / "key_of_stage_clock.bin",
                  stage_clock_key(5, ShardId{9}, LogPosition{300}));
    golden::check(kDisk / "meta_shard.bin", encode(shard));
    golden::check(kDisk / "meta_state.bin", encode(state));
    golden::check(kDisk / "key_of_key_row.bin", key_row_key(kAddress));
    golden::check(kDisk / "key_of_element_row.bin", element_row_key(kAddress, kElement));
    golden::check(kDisk / "key_of_ix.bin", ix_key(ShardId{9}, Dot{kB, Seq{1ULL << 40}}));
    golden::check(kDisk / "key_of_deadline.bin",
                  deadline_key(WallTime{1'700'000'000'000}, kAddress));
    golden::check(kDisk / "key_of_shard_meta.bin", shard_meta_key(ShardId{9}));

    check_key_rows(row);
    const auto element_back = decode_element_row(golden::read(kDisk / "row_element.bin"));
    REQUIRE(element_back.has_value());
    CHECK(element_back->leaf == two_entries());
    const auto shard_back = decode_shard_meta(golden::read(kDisk / "meta_shard.bin"));
    REQUIRE(shard_back.has_value());
    CHECK(shard_back->clock == shard.clock);
    CHECK(shard_back->ix_floor == shard.ix_floor);
    CHECK(shard_back->before == shard.before);
    CHECK((shard_back->digest == shard.digest && shard_back->keys == shard.keys));
    CHECK(shard_back->databases == shard.databases);
    const auto state_back = decode_state_meta(golden::read(kDisk / "meta_state.bin"));
    REQUIRE(state_back.has_value());
    CHECK((state_back->covered == state.covered && state_back->clock == state.clock));
    CHECK(
        (state_back->draining == 5 && state_back->staging == 6 && state_back->cursor == "cursor"));
    const auto place = parse_row_key(golden::read(kDisk / "key_of_element_row.bin"));
    REQUIRE(place.has_value());
    CHECK((place->address == kAddress && place->element == kElement));
}

// Where keys and elements stand is a hash: it must never be another.
TEST_CASE("golden: the places of keys and elements", "[store][golden]") {
    std::string places;
    for (const std::string_view key : {"", "key", "{tag}rest"}) {
        const KeyOrder order = key_order(key, 77);
        append_u64(places, order.order);
        append_u64(places, order.check);
        const ElementOrder element = element_order(LeafKind::field, key, 77);
        append_u64(places, element.hash.high);
        append_u64(places, element.hash.low);
    }
    golden::check(kDisk / "places.bin", places);
}

TEST_CASE("golden: a segment of the log is written as recorded, and read", "[store][golden]") {
    TemporaryDirectory dir;
    const FileLog::Options options{.segment_bytes = 1024, .first = LogPosition{7}};
    std::string frames;
    append_frame(frames, LogPosition{7}, LogPosition{6}, some_batch());
    append_frame(frames, LogPosition{8}, LogPosition{6}, "");
    append_frame(frames, LogPosition{9}, LogPosition{7}, std::string(300, '\xa5'));
    {
        auto log = FileLog::open(dir.path, options);
        REQUIRE(log.has_value());
        REQUIRE((*log)->append(frames, LogPosition{9}).has_value());
        REQUIRE((*log)->sync().has_value());
    }
    golden::check(kSegment, golden::read(dir.path / kSegment.filename()));

    fs::copy_file(kSegment, dir.path / kSegment.filename(), fs::copy_options::overwrite_existing);
    auto log = FileLog::open(dir.path, options);
    REQUIRE(log.has_value());
    CHECK((*log)->first() == LogPosition{7});
    CHECK((*log)->last() == LogPosition{9});
    std::string again;
    REQUIRE((*log)
                ->read(LogPosition{7},
                       [&](LogPosition position, std::string_view body) {
                           append_frame(again, position, LogPosition{position.value == 9 ? 7U : 6U},
                                        body);
                           return true;
                       })
                .has_value());
    CHECK(again == frames);
}
