// tests/store/record_test.cpp — log records: batches as long as they may be come back, and never grow beyond a record.
#include "store/record.hpp"

#include "store/log.hpp"
#include "tests/catch.hpp"

using namespace skerry;
namespace {
constexpr ReplicaId kWriter{7}, kOther{8};

// An operation of every form that one member can have: of ours, over an entry of another writer.
void add_member(BatchBuilder& builder, std::uint64_t number) {
    LeafDelta delta{.entry = {.replica = kWriter,
                              .seq = Seq{1 + number},
                              .hlc = Hlc{1},
                              .removed = true,
                              .payload = ""},
                    .superseded = {Dot{kOther, Seq{1 + number}}}};
    builder.add(0, "key", LeafKind::member, std::to_string(number), delta);
}
}  // namespace

TEST_CASE("record: a batch of half a million operations comes back", "[store][record]") {
    constexpr std::uint64_t kCount = 500'000;
    BatchBuilder builder;
    for (std::uint64_t i = 0; i < kCount; ++i) add_member(builder, i);
    std::string bytes;
    builder.finish(bytes, kWriter, {{.shard = ShardId{3}, .after = Seq{0}, .last = Seq{kCount}}});
    const auto batch = decode_batch(bytes);
    INFO((batch ? "" : batch.error().text()));
    REQUIRE(batch.has_value());
    REQUIRE(batch->operations.size() == kCount);
    CHECK(batch->operations.back().key.sub == std::to_string(kCount - 1));
    CHECK_FALSE(decode_batch(bytes + '\0').has_value());
    CHECK_FALSE(decode_batch(std::string_view(bytes).substr(0, bytes.size() - 1)).has_value());
}

TEST_CASE("record: a batch says when it is full, and begins anew", "[store][record]") {
    BatchBuilder builder;
    std::string bytes;
    SECTION("of operations") {
        for (std::uint64_t i = 0; i < kBatchOperationsMax; ++i) {
            REQUIRE_FALSE(builder.full());
            add_member(builder, i);
        }
    }
    SECTION("of bytes") {
        const LeafDelta delta{.entry = {.replica = kWriter,
                                        .seq = Seq{1},
                                        .hlc = Hlc{1},
                                        .removed = false,
                                        .payload = std::string(kValueBytesMax, 'v')},
                              .superseded = {}};
        while (!builder.full()) builder.add(0, "key", LeafKind::field, "field", delta);
    }
    CHECK(builder.full());
    builder.finish(bytes, kWriter, {{.shard = ShardId{3}, .after = Seq{0}, .last = Seq{1}}});
    CHECK(bytes.size() <= kLogBodyBytesMax);
    CHECK_FALSE(builder.full());
    CHECK(builder.empty());
}
