#include "crdt/codec.hpp"

#include <random>

#include "tests/catch.hpp"

using namespace skerry;
namespace {
constexpr ReplicaId kA{1}, kB{0xfedcba9876543210};

Leaf two_entries() {
    Leaf leaf;
    leaf.put({.replica = kA, .seq = Seq{7}, .hlc = Hlc{99}, .removed = false, .payload = "x"});
    leaf.put(
        {.replica = kB, .seq = Seq{300}, .hlc = Hlc{1ull << 60}, .removed = true, .payload = "y"});
    return leaf;
}
}  // namespace

TEST_CASE("codec: a leaf comes back equal, with a writer table and without", "[crdt][codec]") {
    const Leaf leaf = two_entries();
    std::string bare;
    Packer(bare).put(leaf);
    Unpacker in(bare);
    CHECK(in.leaf() == leaf);
    CHECK(in.done("leaf"));

    WriterTable table;
    std::string body, framed;
    Packer(body, &table).put(leaf);
    Packer frame(framed);
    frame.array(2);
    frame.put(table);
    framed += body;
    Unpacker with_table(framed);
    with_table.array_of(2);
    with_table.writer_table();
    CHECK(with_table.leaf() == leaf);
    CHECK(with_table.done("leaf"));
}

TEST_CASE("codec: every truncation and every changed byte is an error or a value, never a crash",
          "[crdt][codec]") {
    std::string bytes;
    Packer packer(bytes);
    packer.array(3);
    packer.put(LeafKey{1, LeafKind::member, "key", "member"});
    packer.put(two_entries());
    packer.put(VersionVector{{kA, Seq{3}}});
    const auto read = [](std::string_view data) {
        Unpacker in(data);
        in.array_of(3);
        (void)in.leaf_key();
        (void)in.leaf();
        (void)in.clock();
        return in.done("test").has_value();
    };
    REQUIRE(read(bytes));
    for (std::size_t cut = 0; cut < bytes.size(); ++cut)
        CHECK_FALSE(read(std::string_view(bytes).substr(0, cut)));
    std::mt19937 rng(1);
    for (int round = 0; round < 20000; ++round) {
        std::string damaged = bytes;
        damaged[rng() % damaged.size()] = static_cast<char>(rng());
        (void)read(damaged);
    }
}

TEST_CASE("codec: a count beyond the bytes is refused before memory is taken", "[crdt][codec]") {
    Unpacker in(std::string_view("\xdd\xff\xff\xff\xff", 5));
    (void)in.array();
    CHECK_FALSE(in.done("array"));
}

// A member may be as long as a value: keys alone are short. A pull stages it under its whole key.
TEST_CASE("codec: a leaf key carries a sub-key as long as a value", "[crdt][codec]") {
    const LeafKey key{1, LeafKind::member, "key", std::string(kKeyBytesMax + 1, 'm')};
    std::string bytes;
    Packer(bytes).put(key);
    Unpacker in(bytes);
    CHECK(in.leaf_key() == key);
    CHECK(in.done("leaf key"));
}
