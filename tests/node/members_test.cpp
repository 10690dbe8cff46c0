// tests/node/members_test.cpp — the table of members as data: how edits meet, and that no client can see or touch it.
#include "node/members.hpp"

#include "tests/catch.hpp"
#include "tests/support/command_fixture.hpp"

namespace skerry {
namespace {

Member row(std::uint32_t id, const std::string& name, MemberState state = MemberState::active) {
    return {.id = MemberId{id},
            .name = name,
            .region = "eu",
            .gossip_address = name + ":1",
            .publish_address = name + ":2",
            .client_address = name + ":3",
            .state = state};
}

}  // namespace

TEST_CASE("members: an identity is 8 hex digits", "[node][members]") {
    CHECK(MemberId{0x0012abcd}.text() == "0012abcd");
    CHECK(parse_member_id("0012abcd") == MemberId{0x0012abcd});
    CHECK_FALSE(parse_member_id("12abcd"));
    CHECK_FALSE(parse_member_id("0012abcg"));
    CHECK(member_of(ReplicaId{0x0012abcd'00000007}) == MemberId{0x0012abcd});
}

TEST_CASE("members: what is written is read, and written only if it differs", "[node][members]") {
    CommandFixture f;
    MemberTable table(f.store());
    CHECK(table.rows().empty());
    table.write(row(2, "beta"));
    table.write(row(1, "alpha", MemberState::evicted));
    CHECK(table.rows() == std::vector{row(1, "alpha", MemberState::evicted), row(2, "beta")});
    const ShardClocks before = f.store().clocks();
    table.write(row(2, "beta"));
    CHECK(f.store().clocks() == before);
    CHECK(table.find(MemberId{3}) == nullptr);
}

TEST_CASE("members: no client sees the table or takes anything from it", "[node][members]") {
    CommandFixture f;
    MemberTable table(f.store());
    table.write(row(1, "alpha"));
    CHECK(f.run("DBSIZE") == ":0\r\n");
    CHECK(f.run("RANDOMKEY") == "$-1\r\n");
    CHECK(f.run("KEYS *") == "*0\r\n");
    CHECK(f.run("SCAN 0") == "*2\r\n$1\r\n0\r\n*0\r\n");
    CHECK(f.run("EXISTS 00000001") == ":0\r\n");
    CHECK(f.run("SELECT 16") == "-ERR DB index is out of range\r\n");
    CHECK(f.run("MOVE 00000001 16").starts_with("-ERR"));
    CHECK(f.run("INFO keyspace").find("db") == std::string::npos);
    CHECK(f.run("FLUSHALL") == "+OK\r\n");
    CHECK(table.rows() == std::vector{row(1, "alpha")});
    CHECK(f.store().shard(f.store().configuration_shard()).clock.event_count() > 0);
}

TEST_CASE("members: concurrent edits meet field by field, and gone wins", "[node][members]") {
    CommandFixture a(ReplicaId{0x1'00000001});
    CommandFixture b(ReplicaId{0x2'00000001});
    MemberTable at_a(a.store()), at_b(b.store());
    at_a.write(row(3, "gamma", MemberState::evicted));
    a.commit();
    b.hear(a);
    // It is forgotten here while it says there that it is back, at another address.
    at_a.write(row(3, "gamma", MemberState::forgotten));
    b.advance(WallTime(1000));
    Member back = row(3, "gamma");
    back.gossip_address = "elsewhere:1";
    at_b.write(back);
    a.commit();
    b.commit();
    a.hear(b);
    b.hear(a);
    for (MemberTable* table : {&at_a, &at_b}) {
        const Member* found = table->find(MemberId{3});
        REQUIRE(found != nullptr);
        CHECK(found->state == MemberState::forgotten);
        CHECK(found->gossip_address == "elsewhere:1");
        CHECK(found->gone());
        CHECK_FALSE(found->counts());
    }
    const ShardId shard = a.store().configuration_shard();
    CHECK(a.store().shard(shard).digest == b.store().shard(shard).digest);
    at_a.write(back);  // whoever writes it, it stays gone
    CHECK(at_a.find(MemberId{3})->state == MemberState::forgotten);
}

TEST_CASE("members: CRDT.MEMBERS is an array of maps", "[node][members]") {
    CommandFixture f;
    const std::string shown = f.run("CRDT.MEMBERS");
    CHECK(shown.starts_with("*1\r\n*26\r\n$4\r\nname\r\n$5\r\nalpha\r\n$8\r\nidentity\r\n"));
    CHECK(shown.find("$5\r\nstate\r\n$6\r\nactive\r\n") != std::string::npos);
    CHECK(shown.find("$12\r\nincarnations\r\n:1\r\n$7\r\nwriters\r\n*2\r\n") != std::string::npos);
    f.run("HELLO 3");
    CHECK(f.run("CRDT.MEMBERS").starts_with("*1\r\n%13\r\n"));
}

TEST_CASE("members: a node that is none refuses every write, removals too", "[node][members]") {
    CommandFixture f;
    f.run("SET k v");
    f.node.no_member = "NOMEMBER it has left";
    CHECK(f.run("SET k w") == "-NOMEMBER it has left\r\n");
    CHECK(f.run("DEL k") == "-NOMEMBER it has left\r\n");
    CHECK(f.run("CRDT.FORGET gamma") == "-NOMEMBER it has left\r\n");
    CHECK(f.run("GET k") == "$1\r\nv\r\n");
}

}  // namespace skerry
