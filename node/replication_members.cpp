// The part of node/replication.hpp that keeps the table of members (node/members.hpp): joins it, learns addresses from it,
// leaves out who is silent for long, and turns away who is gone.
#include <algorithm>
#include <set>

#include "node/replication.hpp"

namespace skerry {

namespace {
constexpr MonoTime kLookEvery{250};
// Of its limit: then the table says so, and it is no matter who is started anew meanwhile.
constexpr int kSilentPart = 16;
// Each of those who find a member silent waits a little longer than the one before: the first one's word reaches the rest.
constexpr MonoTime kEvictApart{2000};
// Two live nodes of one name that cannot see each other must not take each other's place time and again.
constexpr MonoTime kReturnEvery{60'000};
constexpr MonoTime kTargetStands{10'000};

std::string sentence_of_gone(const Member& row) {
    const std::string what = row.state == MemberState::left ? " has left the cluster"
                                                            : " has been forgotten by the cluster";
    return "'" + row.name + "' (" + row.id.text() + ")" + what +
           ": wipe its data directory and start it again, and it joins as a new member";
}
}  // namespace

// ---- who is who

const Replication::Peer* Replication::peer_of_member(const Member& row) const {
    const Peer* by_address = nullptr;
    for (const auto& [link, peer] : peers_) {
        if (peer.who.writer.value != 0 && member_of(peer.who.writer) == row.id) return &peer;
        if (peer.who.writer.value == 0 && peer.address == row.gossip_address) by_address = &peer;
    }
    return by_address;
}

// A hub is chosen by its edge, and given the time to answer.
MonoTime Replication::known_since(const std::string& address, MonoTime now) {
    if (options_.role == Role::edge) return now;
    for (const Member& row : members_.rows())
        if (row.counts() && row.gossip_address == address && row.silent_since != WallTime{})
            return silent_since(row, now);
    return now;
}

MonoTime Replication::heard_at(const Member& row) const {
    MonoTime heard{-1};
    if (const Peer* peer = peer_of_member(row)) heard = peer->heard_at;
    if (const auto edge = edges_.find(row.id); edge != edges_.end())
        heard = std::max(heard, edge->second.heard_at);
    return heard;
}

bool Replication::hears(const Member& row, MonoTime now) const {
    if (const auto edge = edges_.find(row.id);
        edge != edges_.end() && now <= edge->second.heard_at + kSilentMax)
        return true;
    const Peer* peer = peer_of_member(row);
    return peer != nullptr && peer->greeted && peer->up && !peer->cut &&
           now <= peer->heard_at + kSilentMax;
}

std::optional<Refuse> Replication::refusal_of_gone(const Introduction& who) {
    const Member* row = members_.find(member_of(who.writer));
    if (row == nullptr || !row->gone()) return std::nullopt;
    return Refuse{RefuseCode::gone, sentence_of_gone(*row)};
}

void Replication::become_gone(std::string why) {
    if (gone_) return;
    note(NoteLevel::error, "no_member",
         {{"why", why}, {"writes", "refused"}, {"see", "Members in docs/OPERATIONS.md"}});
    gone_ = std::move(why);
}

// ---- this node's own row

Member Replication::own_row() const {
    return {.id = member_of(store_.self()),
            .name = options_.name,
            .region = options_.region,
            .gossip_address = options_.gossip_address,
            .publish_address = options_.publish_address,
            .client_address = options_.client_address,
            .role = options_.role,
            .state = MemberState::active,
            .holds = store_.options().holds};
}

std::vector<Member> Replication::namesakes(MonoTime now) {
    std::vector<Member> found;
    for (const Member& other : members_.rows())
        if (other.id != member_of(store_.self()) && other.name == options_.name && !other.gone() &&
            other.state != MemberState::replaced && !hears(other, now))
            found.push_back(other);
    return found;
}

bool Replication::joined() {
    const Member* own = members_.find(member_of(store_.self()));
    return own != nullptr && *own == own_row();
}

// A peer's heartbeat has come: what it has now is what this node must have to count. Not for ever: it may be gone with its
// disk, and then nobody has it.
void Replication::aim_to_join(const Heartbeat& heartbeat, MonoTime now) {
    if (join_target_ && now < join_target_at_ + kTargetStands) return;
    join_target_ = heartbeat.durable;
    join_target_at_ = now;
}

bool Replication::may_join(MonoTime now) {
    const Member* own = members_.find(member_of(store_.self()));
    if (own == nullptr) {
        const bool founds =
            options_.seeds.empty() && std::ranges::all_of(members_.rows(), &Member::gone);
        return founds || (join_target_ && store_.durably_covers(*join_target_));
    }
    if (own->state == MemberState::evicted)
        return std::ranges::any_of(peers_, [&](const auto& pair) {
            return pair.second.greeted && now <= pair.second.heard_at + kSilentMax;
        });
    if (own->state != MemberState::replaced) return true;
    // Somebody has come under this name while this node was away. It keeps the name while it lives.
    if (now < returned_at_ + kReturnEvery || now < started_at_ + kSilentMax) return false;
    return std::ranges::none_of(members_.rows(), [&](const Member& other) {
        return other.id != own->id && other.name == options_.name && hears(other, now);
    });
}

void Replication::step_own_row(MonoTime now) {
    if (!may_join(now)) return;
    const Member wanted = own_row();
    const Member* found = members_.find(wanted.id);
    const bool comes = found == nullptr || !found->counts();
    // One that has the name and is not there is what this node was before, or another that has given way.
    if (comes || (now >= started_at_ + kSilentMax && now >= returned_at_ + kReturnEvery))
        for (Member& other : namesakes(now)) {
            returned_at_ = now;
            other.state = MemberState::replaced;
            members_.write(other);
            note(NoteLevel::warn, "member_replaced",
                 {{"name", other.name}, {"member", other.id.text()}, {"by", wanted.id.text()}});
        }
    const Member* own = members_.find(wanted.id);
    Member heard = own == nullptr ? Member{} : *own;
    if (heard == wanted) return;
    heard.silent_since = {};
    members_.write(wanted);
    if (heard == wanted) return;
    note(NoteLevel::info, comes ? "member_joined" : "member_changed",
         {{"name", wanted.name}, {"member", wanted.id.text()}});
}

// ---- the others

void Replication::step_members(MonoTime now) {
    if (now < members_looked_at_ + kLookEvery) return;
    members_looked_at_ = now;
    step_domains(now);
    if (alone()) return;
    follow_table(now);
    if (gone_ || fenced_ || paused_ || store_.halted()) return;
    step_own_row(now);
    if (options_.role != Role::edge) evict_silent(now);  // an edge hears nobody but its hub
}

void Replication::follow_table(MonoTime now) {
    const MemberId self = member_of(store_.self());
    std::vector<std::string> addresses;
    for (const Member& row : members_.rows()) {
        if (row.id == self && row.gone()) become_gone("this node, " + sentence_of_gone(row));
        if (row.id == self || row.gone()) continue;
        if (row.state != MemberState::replaced) addresses.push_back(row.gossip_address);
    }
    note_active(now);
    learn(addresses, now);
    drop_strangers(addresses, now);
}

// Members that are gone, and addresses that nobody has any more, are not called again.
void Replication::drop_strangers(const std::vector<std::string>& addresses, MonoTime now) {
    const auto named = [](const std::vector<std::string>& list, const std::string& address) {
        return std::ranges::find(list, address) != list.end();
    };
    for (auto next = peers_.begin(); next != peers_.end();) {
        const Peer& peer = next->second;
        const Member* row =
            peer.who.writer.value == 0 ? nullptr : members_.find(member_of(peer.who.writer));
        const bool gone = row != nullptr && row->gone();
        const bool wanted = named(addresses, peer.address) || named(options_.seeds, peer.address);
        const bool stale = peer.tie == Tie::edge ? row != nullptr && row->role != Role::edge
                           : row != nullptr      ? peer.address != row->gossip_address
                                                 : is_address_of_gone(peer.address);
        // A new node at the address of one that is gone has called: it is given the time to answer.
        const MonoTime since =
            peer.up ? std::max(peer.heard_at, peer.known_since) : peer.known_since;
        const bool live = now <= since + kSilentMax;
        if (!gone && (wanted || live || !stale)) {
            ++next;
            continue;
        }
        if (gone)
            note(NoteLevel::warn, "member_gone",
                 {{"name", peer.who.name}, {"member", row->id.text()}, {"peer", peer.address}});
        if (pull_ && pull_->link == peer.link) end_pull("the peer is no member any more");
        const std::string address = peer.address;
        transport_.disconnect(peer.link);
        next = peers_.erase(next);
        if (wanted && options_.role != Role::edge)
            peer_at(address, now);  // another node may answer there; an edge looks for a hub
    }
}

bool Replication::is_address_of_gone(const std::string& address) {
    return std::ranges::any_of(members_.rows(), [&](const Member& row) {
        return row.gone() && row.gossip_address == address;
    });
}

void Replication::evict_silent(MonoTime now) {
    note_active(now);  // this node may just have written
    const std::vector<Member> rows = members_.rows();
    const Member* own = members_.find(member_of(store_.self()));
    if (own == nullptr || !own->counts()) return;
    const MemberId self = own->id;
    MonoTime apart{};
    for (Member row : rows) {
        if (!row.counts() || row.id == self) continue;
        if (row.id < self) apart += kEvictApart;
        const MonoTime heard = std::max(active_.at(row.id).since, heard_at(row));
        const MonoTime limit = silent_max(row.role);
        if (now < heard + std::max(limit / kSilentPart, kSilentMax) + apart) continue;
        if (row.silent_since == WallTime{}) {
            row.silent_since = store_.now() - (now - heard);
            members_.write(row);
        }
        if (now < heard + limit + apart) continue;
        row.state = MemberState::evicted;
        members_.write(row);
        note(NoteLevel::warn, "member_evicted",
             {{"name", row.name},
              {"member", row.id.text()},
              {"silent_ms", std::to_string((now - heard).count())}});
    }
}

// ---- what operators ask for

Result<void> Replication::forget(std::string_view name, MonoTime now) {
    if (alone()) return fail(Code::refused, "this node stands alone: it has no members to forget");
    if (options_.role == Role::edge)
        return fail(Code::refused,
                    "an edge cannot know who is connected: say it to a hub or a core");
    if (gone_) return fail(Code::refused, *gone_);
    const Member* found = nullptr;
    // A name is that of the one that has it now; an identity is of one alone.
    const auto rank = [](const Member* row) {
        if (row == nullptr) return 0;
        return row->gone() ? 1 : row->state == MemberState::replaced ? 2 : 3;
    };
    for (const Member& row : members_.rows())
        if (row.name == name && rank(&row) > rank(found)) found = &row;
    if (const auto id = parse_member_id(name); found == nullptr && id) found = members_.find(*id);
    const std::string quoted = "'" + std::string(name.substr(0, kNameBytesMax)) + "'";
    if (found == nullptr)
        return fail(Code::refused, "no member is named " + quoted + ": CRDT.MEMBERS lists them");
    if (found->gone())
        return fail(Code::refused,
                    quoted + " is " + std::string(name_of(found->state)) + " already");
    if (found->id == member_of(store_.self()))
        return fail(Code::refused, quoted + " is this node: CRDT.LEAVE takes it out");
    if (hears(*found, now))
        return fail(Code::refused, quoted + " is connected (heard " +
                                       std::to_string((now - heard_at(*found)).count()) +
                                       " ms ago): stop it first, or say CRDT.LEAVE to it");
    Member row = *found;
    row.state = MemberState::forgotten;
    members_.write(row);
    note(NoteLevel::warn, "member_forgotten", {{"name", row.name}, {"member", row.id.text()}});
    return {};
}

std::vector<std::string> Replication::lacking(const ShardClocks& clocks, MonoTime now) {
    std::vector<std::string> names;
    std::set<ShardId> held;  // by one of them
    for (const Member& row : members_.rows()) {
        const Peer* peer = peer_of_member(row);  // nullptr: an edge of another hub's
        if (peer == nullptr || row.id == member_of(store_.self()) || !row.counts() ||
            !hears(row, now))
            continue;
        ShardClocks shared = clocks;
        keep_shared(*peer, shared);
        if (!covers(*peer, shared)) names.push_back(row.name);
        for (const auto& [shard, clock] : shared) held.insert(shard);
    }
    for (const auto& [shard, clock] : clocks)
        if (!held.contains(shard))
            return {"any member that holds shard " + std::to_string(shard.value)};
    return names;
}

bool Replication::hears_members(MonoTime now) {
    return std::ranges::any_of(members_.rows(), [&](const Member& row) {
        return row.id != member_of(store_.self()) && row.counts() && hears(row, now);
    });
}

void Replication::leave() {
    Member row = own_row();
    row.state = MemberState::left;
    members_.write(row);
    become_gone("this node " + sentence_of_gone(row));
}

// ---- what is shown

std::vector<MemberStatus> Replication::members(MonoTime now) {
    std::map<MemberId, std::map<ReplicaId, std::uint64_t>> writers;
    for (const auto& [shard, clock] : store_.durable_clocks())
        for (const auto& [writer, seq] : clock) writers[member_of(writer)][writer] += seq.value;
    std::vector<Member> rows = members_.rows();
    const auto add_joining = [&](const Member& row) {
        if (std::ranges::find(rows, row.id, &Member::id) == rows.end()) rows.push_back(row);
    };
    if (!alone()) {
        Member own = own_row();
        own.state = MemberState::joining;
        add_joining(own);
    }
    for (const auto& [link, peer] : peers_)
        if (peer.greeted && peer.up && now <= peer.heard_at + kSilentMax)
            add_joining({.id = member_of(peer.who.writer),
                         .name = peer.who.name,
                         .region = peer.who.region,
                         .gossip_address = peer.who.gossip_address,
                         .publish_address = peer.who.publish_address,
                         .client_address = peer.who.client_address,
                         .role = peer.who.role,
                         .state = MemberState::joining,
                         .holds = peer.who.holds});
    std::ranges::sort(rows, {}, [](const Member& row) { return std::tie(row.name, row.id); });
    std::vector<MemberStatus> shown;
    for (const Member& row : rows) {
        MemberStatus& status = shown.emplace_back();
        status.row = row;
        status.is_self = row.id == member_of(store_.self());
        for (const auto& [writer, events] : writers[row.id])
            status.writers.emplace_back(writer, events);
        const MonoTime heard = status.is_self ? now : heard_at(row);
        status.heard_ms = heard < MonoTime{} ? -1 : (now - heard).count();
    }
    return shown;
}

}  // namespace skerry
