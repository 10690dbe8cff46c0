#include "node/verification.hpp"

#include "node/database.hpp"
#include "node/verdict_reply.hpp"
#include "tests/catch.hpp"
#include "tests/support/memory_disk.hpp"

using namespace skerry;
namespace {

constexpr WallTime kStart{1'700'000'000'000};
constexpr std::uint16_t kShards = 8;
constexpr LinkId kLink{1};

// A store of one writer, without peers: two of the same writer that do the same are equal.
struct Holder {
    Holder()
        : store(*Store::open(log, kv, {.self = ReplicaId{7}, .nonce = 1, .shard_count = kShards},
                             kStart)),
          database(*store) {
        commit();
    }
    void commit() {
        while (auto sealed = store->seal()) {
            REQUIRE(log.append(sealed->frames, sealed->last).has_value());
            REQUIRE(log.sync().has_value());
            store->committed(*sealed);
        }
    }
    void fill() {
        for (int i = 0; i < 300; ++i)
            database.set(static_cast<std::uint8_t>(i % 3), "key" + std::to_string(i), "value");
        for (int i = 0; i < 2500; ++i) (void)database.set_add(0, "set", std::to_string(i));
        for (int i = 0; i < 30; ++i)
            database.hash_set(1, "hash" + std::to_string(i), "field", "value");
        commit();
    }

    MemoryLog log;
    MemoryKv kv;
    std::unique_ptr<Store> store;
    Database database;
};

std::vector<ShardId> all_shards() {
    std::vector<ShardId> shards;
    for (std::uint16_t i = 0; i < kShards; ++i) shards.push_back(ShardId{i});
    return shards;
}

// Plays the wire: `between` runs before each answer. The verdict, and when it came.
template <class Between>
Verdict verdict_of(Verification& asker, Store& peer, Between between, bool answers = true) {
    MonoTime now{1000};
    asker.begin({{kLink, "peer", all_shards()}}, now);
    while (now < MonoTime(60'000)) {
        for (const auto& [link, request] : asker.take_requests()) {
            between();
            if (!answers) continue;
            const auto reply = serve_digests(peer, request);
            REQUIRE(reply.has_value());
            asker.on_reply(link, *reply, now);
        }
        if (const auto verdicts = asker.take_verdicts()) return verdicts->at(0);
        asker.tick(now += MonoTime(20));
    }
    FAIL("no verdict");
    return {};
}

void nothing() {}
}  // namespace

TEST_CASE("bucket_digests: the buckets of a shard add up to its digest, in any slices",
          "[node][verification]") {
    Holder holder;
    holder.fill();
    for (const std::size_t rows : {std::size_t{1}, std::size_t{7}, std::size_t{100'000}}) {
        for (const ShardId shard : all_shards()) {
            WalkPlace place;
            BucketDigests sums;
            std::size_t left = rows;
            while (!add_rows(*holder.store, shard, place, left, sums)) left = rows;
            std::uint64_t sum = 0;
            for (const auto& [bucket, digest] : sums) sum += digest;
            CHECK(sum == holder.store->shard(shard).digest);
        }
    }
}

TEST_CASE("bucket_digests: buckets are equal parts of a shard, in the order of its keys",
          "[node][verification]") {
    for (const std::uint16_t shards : std::to_array<std::uint16_t>({1, 3, 8, 256, 16384})) {
        const ShardId last{static_cast<std::uint16_t>(shards - 1)};
        const std::uint64_t first = first_order(last, shards);
        const std::uint64_t middle = first + (~std::uint64_t{0} - first) / 2 + 1;
        CHECK(bucket_of({last, 0, {first, 0}}, shards) == 0);
        CHECK(bucket_of({last, 0, {~std::uint64_t{0}, 0}}, shards) == kBucketCount - 1);
        CHECK(bucket_of({last, 0, {middle, 0}}, shards) == kBucketCount / 2);
        const ShardId before{static_cast<std::uint16_t>(shards - 2)};
        CHECK((first == 0 || bucket_of({before, 0, {first - 1, 0}}, shards) == kBucketCount - 1));
        // That of the configuration domain has all orders.
        const ShardId own = configuration_shard(shards);
        const std::uint64_t half = std::uint64_t{1} << 63;
        CHECK(first_order(own, shards) == 0);
        CHECK(bucket_of({own, kConfigurationDatabase, {half, 0}}, shards) == kBucketCount / 2);
        CHECK(bucket_of({own, kConfigurationDatabase, {~std::uint64_t{0}, 0}}, shards) ==
              kBucketCount - 1);
    }
}

TEST_CASE("verification: stores that hold the same are equal", "[node][verification]") {
    Holder here, there;
    here.fill();
    there.fill();
    Verification asker(*here.store);
    const Verdict verdict = verdict_of(asker, *there.store, nothing);
    CHECK(verdict.answered);
    CHECK(verdict.equal == kShards);
    CHECK(verdict.rows == 300 + 2501 + 2 * 30);
    CHECK(verdict.not_comparable.empty());
    CHECK(verdict.differing.empty());
}

TEST_CASE("verification: equal clocks over other values are a difference, with its bucket",
          "[node][verification]") {
    Holder here, there;
    here.fill();
    there.fill();
    here.database.set(2, "odd", "one");
    there.database.set(2, "odd", "other");
    here.commit();
    there.commit();
    Verification asker(*here.store);
    const Verdict verdict = verdict_of(asker, *there.store, nothing);
    const RowAddress odd = here.store->address_of(2, "odd");
    REQUIRE(verdict.differing.size() == 1);
    CHECK(verdict.differing[0].shard == odd.shard);
    CHECK(verdict.differing[0].buckets == std::vector{bucket_of(odd, kShards)});
    CHECK(verdict.differing[0].damage == Verdict::Damage::unknown);
    CHECK(verdict.equal == kShards - 1);
    CHECK(asker.differences() == 1);
}

TEST_CASE("verification: unequal clocks are waited for, and then told with the lag",
          "[node][verification]") {
    Holder here, there;
    here.fill();
    there.fill();
    here.database.set(2, "odd", "one");
    here.database.set(2, "odd", "two");
    here.commit();
    Verification asker(*here.store);
    SECTION("they become equal") {
        int asked = 0;
        const Verdict verdict = verdict_of(asker, *there.store, [&] {
            if (++asked != 5) return;
            there.database.set(2, "odd", "one");
            there.database.set(2, "odd", "two");
            there.commit();
        });
        CHECK(asked >= 5);
        CHECK(verdict.equal == kShards);
    }
    SECTION("they do not") {
        const Verdict verdict = verdict_of(asker, *there.store, nothing);
        CHECK(verdict.equal == kShards - 1);
        REQUIRE(verdict.not_comparable.size() == 1);
        CHECK(verdict.not_comparable[0].shard == here.store->address_of(2, "odd").shard);
        CHECK(verdict.not_comparable[0].lacking_there == 2);
        CHECK(verdict.not_comparable[0].lacking_here == 0);
        CHECK(verdict.took >= Verification::kPatience);
        CHECK(verdict.took < 2 * Verification::kPatience);
    }
    SECTION("what is not durable is not compared") {
        there.database.set(2, "odd", "one");
        there.database.set(2, "odd", "two");
        CHECK(verdict_of(asker, *there.store, nothing).not_comparable.size() == 1);
    }
}

TEST_CASE("verification: a shard that changes while it is read is read again",
          "[node][verification]") {
    Holder here, there;
    here.fill();
    there.fill();
    Verification asker(*here.store);
    int asked = 0;
    // In the middle of the large set, which takes several slices.
    const Verdict verdict = verdict_of(asker, *there.store, [&] {
        if (++asked != 3) return;
        for (Holder* holder : {&here, &there}) {
            (void)holder->database.set_add(0, "set", "late");
            holder->commit();
        }
    });
    CHECK(verdict.equal == kShards);
    CHECK(verdict.rows > 300 + 2502 + 2 * 30);
}

TEST_CASE("verification: a silent peer is given up, and said to be silent",
          "[node][verification]") {
    Holder here, there;
    here.fill();
    Verification asker(*here.store);
    const Verdict verdict = verdict_of(asker, *there.store, nothing, false);
    CHECK_FALSE(verdict.answered);
    CHECK(verdict.equal == 0);
    CHECK(verdict.not_comparable.size() == kShards);
    CHECK(verdict.took >= Verification::kSilentMax);
}

TEST_CASE("verification: a request that cannot be is refused", "[node][verification]") {
    Holder holder;
    CHECK_FALSE(serve_digests(*holder.store, {1, {{ShardId{kShards + 1}, {}}}, {}}).has_value());
    CHECK_FALSE(serve_digests(*holder.store, {1, {{ShardId{0}, {}}}, "nonsense"}).has_value());
}

TEST_CASE("verdict_reply: maps in RESP3, flat arrays in RESP2", "[node][verification]") {
    Verdict verdict;
    verdict.peer = "b";
    verdict.shards = 3;
    verdict.equal = 1;
    verdict.differing.push_back({ShardId{5}, {7, 255}, Verdict::Damage::there});
    verdict.not_comparable.push_back({ShardId{6}, 2, 0});
    for (const Protocol protocol : {Protocol::resp2, Protocol::resp3}) {
        std::string out;
        ReplyWriter reply(out, protocol);
        reply_verdicts(reply, {verdict});
        const bool maps = protocol == Protocol::resp3;
        CHECK(out.starts_with(maps ? "*1\r\n%9\r\n$4\r\npeer\r\n$1\r\nb\r\n$7\r\nverdict\r\n"
                                   : "*1\r\n*18\r\n$4\r\npeer\r\n$1\r\nb\r\n$7\r\nverdict\r\n"));
        CHECK(out.find("$9\r\ndifferent\r\n") != std::string::npos);
        CHECK(out.find("$7\r\ndamaged\r\n$5\r\nthere\r\n$7\r\nbuckets\r\n*2\r\n:7\r\n:255\r\n") !=
              std::string::npos);
        CHECK(out.ends_with("$12\r\nlacking_here\r\n:2\r\n$13\r\nlacking_there\r\n:0\r\n"));
    }
}
