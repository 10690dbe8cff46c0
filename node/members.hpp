// node/members.hpp — the table of members: who belongs to the cluster, as data of the configuration domain.
//
// Row      one hash per member in kConfigurationDatabase, under its identity, the upper half of its writer ids, so that it
//          outlives incarnations. Fields: name, region, gossip, publish, client, role, state, gone, holds, silent. Concurrent edits meet
//          field by field, the last writer wins (docs/SEMANTICS.md, HSET).
// State    active, evicted (silent too long) and replaced (another identity came under the name) follow one another.
// Gone     left or forgotten is for good, whatever `state` says: a field of its own that is only ever written, so that a
//          member which comes back just then cannot write over it.
// Joining  is no row: a node writes its own once it has what its peers had when it came (node/replication_members.cpp).
// Weight   nothing that keeps data whole relies on the table; it says who is called, who is let in, whom garbage waits for.
// Thread   core thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/message.hpp"
#include "node/database.hpp"

namespace skerry {

// A data directory under one name for as long as it is one: the upper half of the ids that it writes under.
struct MemberId {
    std::uint32_t value = 0;
    friend constexpr auto operator<=>(MemberId, MemberId) = default;
    [[nodiscard]] std::string text() const;  // 8 hex digits
};
[[nodiscard]] constexpr MemberId member_of(ReplicaId writer) { return MemberId{writer.lineage()}; }
// nullopt: not 8 hex digits.
[[nodiscard]] std::optional<MemberId> parse_member_id(std::string_view text);

enum class MemberState : std::uint8_t { joining, active, evicted, replaced, left, forgotten };
[[nodiscard]] std::string_view name_of(MemberState state);

struct Member {
    MemberId id;
    std::string name, region, gossip_address, publish_address, client_address;
    Role role = Role::core;
    MemberState state = MemberState::joining;
    Holdings holds = {};
    // Since when a member has not heard it; 0: it is there. Written once it has been for long, taken back by itself.
    WallTime silent_since{};

    [[nodiscard]] bool gone() const {
        return state == MemberState::left || state == MemberState::forgotten;
    }
    // Does what it lacks keep garbage at the others?
    [[nodiscard]] bool counts() const { return state == MemberState::active; }
    friend bool operator==(const Member&, const Member&) = default;
};

// A member as it is seen from one node.
struct MemberStatus {
    Member row;
    bool is_self = false;
    std::int64_t heard_ms = -1;  // since it was last heard there; -1 = never
    std::vector<std::pair<ReplicaId, std::uint64_t>> writers;  // incarnations, with their events
};

class MemberTable {
  public:
    explicit MemberTable(Store& store) : store_(store), data_(store) {}

    // All rows, by identity. Lifetime: until the next call.
    [[nodiscard]] const std::vector<Member>& rows();
    // nullptr: no such row. Lifetime: as rows().
    [[nodiscard]] const Member* find(MemberId id);
    // Writes what differs from the row that is there; a state of gone is never taken back. Requires: not joining.
    void write(const Member& member);

  private:
    void set(MemberId id, std::string_view field, std::string_view text);

    Store& store_;
    Database data_;
    std::optional<VersionVector> read_at_;
    std::uint64_t repaired_ =
        0;  // leaves of the store, as it was read: a repair leaves the clock as it is
    std::vector<Member> rows_;
};

}  // namespace skerry
