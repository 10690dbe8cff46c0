// tests/node/feed_test.cpp — what a pull is served from a checkpoint whose flip has not been drained.
#include "node/feed.hpp"

#include "tests/catch.hpp"
#include "tests/support/store_place.hpp"

namespace skerry {
namespace {

// All that is served to somebody with nothing, in chunks of about so many bytes.
std::map<LeafKey, Leaf> served(const StorePlace& place, std::uint64_t credit_bytes) {
    PullRequest request;
    for (std::uint16_t i = 0; i < 16; ++i) request.base.emplace_back(ShardId{i}, VersionVector{});
    request.credit_bytes = credit_bytes;
    std::map<LeafKey, Leaf> leaves;
    std::string part;
    do {
        const auto reader = place.kv().reader();
        REQUIRE(reader.has_value());
        auto chunk = serve_pull(**reader, request);
        REQUIRE(chunk.has_value());
        for (PulledLeaf& leaf : chunk->leaves) {
            INFO(leaf.key.key);
            CHECK(leaves.emplace(leaf.key, leaf.leaf).second);
        }
        if (chunk->part) {
            part += chunk->part->bytes;
            if (part.size() == chunk->part->total_bytes) {
                const auto leaf = decode_leaf(std::exchange(part, {}));
                REQUIRE(leaf.has_value());
                CHECK(leaves.emplace(leaf->key, leaf->leaf).second);
            }
        }
        request.cursor = chunk->cursor;
    } while (!request.cursor.empty());
    return leaves;
}

TEST_CASE("feed: a checkpoint that is half drained is served as it is joined", "[node][feed]") {
    StorePlace source(1);
    // Staged leaves are read by the MiB: the key's others lie behind this one.
    source.set("long", std::string(1'500'000, 'x'));
    source.add_member("long", "theirs");
    source.set("theirs", "1");
    for (int i = 0; i < 50; ++i) source.set(std::string("k").append(std::to_string(i)), "1");
    source.commit();
    const std::size_t credit_bytes = GENERATE(1, 500, 1'000'000);
    const bool at_once = GENERATE(false, true);
    StoreOptions options;
    options.flip_bytes_max = at_once ? ~std::size_t{0} : 0;
    StorePlace place(2, options);
    place.add_member("long", "own");
    place.set("k7", "2");
    place.commit();
    for (const Stage& chunk : source.chunks(7)) place->stage(chunk);
    place.flip(7, source->clocks());
    CHECK(place->draining() != at_once);
    (void)place.members("theirs");  // some join by touch
    (void)place.get("k3");
    place.checkpoint();

    const auto leaves = served(place, credit_bytes);
    for (const char* key : {"long", "theirs", "k3", "k7", "k49"})
        CHECK(leaves.at({0, LeafKind::string, key, {}}).any_live());
    CHECK(leaves.at({0, LeafKind::string, "k7", {}}).count() == 2);
    CHECK(leaves.at({0, LeafKind::set_birth, "long", {}}).count() == 2);
    CHECK(leaves.contains({0, LeafKind::member, "long", "own"}));
    CHECK(leaves.contains({0, LeafKind::member, "long", "theirs"}));
    CHECK(leaves.size() == 55);
}

}  // namespace
}  // namespace skerry
