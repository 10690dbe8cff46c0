// The part of node/replication.hpp that knows who the peers are: greetings, refusals, tripwires, and what is shown of them.
#include <algorithm>

#include "node/replication.hpp"

namespace skerry {

namespace {
// A caller asks again every second; an operator wants to read it once a minute.
constexpr MonoTime kRefusalNotedEvery{60'000};
constexpr MonoTime kRefusalShown{60'000};  // after the last attempt
constexpr std::size_t kRefusedMax = 64;
constexpr MonoTime kHelloAgain{200};  // a Hello may still be under way
constexpr std::size_t kCallersMax = 4096;

// Nobody can call an edge.
std::string place_of(const Introduction& who) {
    return who.role == Role::edge ? "edge:" + who.name : who.gossip_address;
}
}  // namespace

// ---- greetings

void Replication::learn(const std::vector<std::string>& addresses, MonoTime now) {
    if (options_.role == Role::edge) return;  // it finds hubs by itself
    for (const std::string& address : addresses)
        if (!address.empty() && address != options_.gossip_address && peers_.size() < kPeersMax)
            peer_at(address, now);
}

// To an edge: what is of its domains.
Introduction Replication::introduction(const Holdings* of) const {
    Introduction who;
    who.cluster = options_.cluster;
    who.shard_count = store_.slot_shard_count();
    who.hash_seed = store_.options().hash_seed;
    who.name = options_.name;
    who.region = options_.region;
    who.writer = store_.self();
    who.nonce = store_.options().nonce;
    who.gossip_address = options_.gossip_address;
    who.publish_address = options_.publish_address;
    who.client_address = options_.client_address;
    who.role = options_.role;
    who.holds = store_.options().holds;
    who.domains = options_.domains;
    if (of != nullptr) {
        std::erase_if(who.holds.domains,
                      [&](DomainNumber domain) { return !of->holds_domain(domain); });
        std::erase_if(who.domains,
                      [&](const DomainRule& rule) { return !of->holds_domain(rule.number); });
    }
    for (const auto& [link, peer] : peers_)
        if (peer.greeted && peer.tie == Tie::mesh && who.peers.size() < kPeersMax)
            who.peers.push_back(peer.address);
    return who;
}

// A live peer of that name that is another node: neither the same data directory nor at the same
// address.
const Replication::Peer* Replication::same_name(const Introduction& who, MonoTime now) const {
    const auto found = std::ranges::find_if(peers_, [&](const auto& pair) {
        const Peer& peer = pair.second;
        return peer.greeted && peer.up && now <= peer.heard_at + kSilentMax &&
               peer.who.name == who.name && peer.who.writer.lineage() != who.writer.lineage() &&
               (who.role == Role::edge || (peer.address != who.gossip_address &&
                                           peer.who.gossip_address != who.gossip_address));
    });
    return found == peers_.end() ? nullptr : &found->second;
}

std::optional<Refuse> Replication::refusal(const Introduction& who, MonoTime now) {
    if (who.cluster != options_.cluster)
        return Refuse{RefuseCode::cluster, "this node is of cluster '" + options_.cluster +
                                               "', the caller of '" + who.cluster +
                                               "': give both the same --cluster"};
    if (who.shard_count != store_.slot_shard_count() || who.hash_seed != store_.options().hash_seed)
        return Refuse{RefuseCode::shards,
                      "this cluster has " + std::to_string(store_.slot_shard_count()) +
                          " shards, the caller " + std::to_string(who.shard_count) +
                          ": give both the same --shards"};
    if (who.nonce == store_.options().nonce && who.writer == store_.self())
        return Refuse{RefuseCode::self, "this address is the caller's own"};
    if (who.writer == store_.self())
        return Refuse{RefuseCode::same_writer,
                      "a copied data directory: two live nodes write as " + who.writer.text()};
    if (who.role == Role::edge && options_.role != Role::hub)
        return Refuse{RefuseCode::no_hub, "'" + options_.name + "' is no hub: give the edge '" +
                                              who.name + "' the --peer of a node with --role hub"};
    if (auto gone = refusal_of_gone(who)) return gone;
    if (auto domains = refusal_of_domains(who)) return domains;
    const Peer* other = same_name(who, now);
    if (who.name == options_.name || other != nullptr)
        return Refuse{RefuseCode::same_name,
                      "two nodes are named '" + who.name + "', at " +
                          (other == nullptr ? options_.gossip_address : other->address) + " and " +
                          place_of(who) + ": give each its own --name"};
    return std::nullopt;
}

void Replication::on_hello(const ConnectionToken& from, const Hello& hello, MonoTime now) {
    if (const auto why = refusal(hello.from, now)) return refuse(from, hello.from, *why, now);
    if (is_cut(hello.from.name)) return;
    refused_.erase(place_of(hello.from));
    if (callers_.size() >= kCallersMax) callers_.clear();  // those who still call say Hello again
    if (hello.from.role == Role::edge) return on_edge_hello(from, hello, now);
    callers_[from] = {hello.from.name, {}, hello.from.holds};
    transport_.reply(from, encode(HelloOk{introduction()}));
    learn({hello.from.gossip_address}, now);
    for (auto& [link, peer] : peers_) {
        if (peer.address != hello.from.gossip_address) continue;
        peer.known_since = now;
        if (peer.who.nonce != hello.from.nonce) peer.reported_by = 0;
    }
    update_stable_cut(now);
    heartbeat_at_ =
        now - kHeartbeat + MonoTime(100);  // the caller subscribes now, and waits for one
}

void Replication::on_hello_ok(Peer& peer, HelloOk& hello, MonoTime now) {
    if (refusal(hello.from, now)) return;  // said to it when it called; it says so when we call
    const bool known = peer.greeted && peer.who.nonce == hello.from.nonce;
    std::vector<std::string> others = std::move(hello.from.peers);
    if (!known) {
        note_renewed(peer, hello.from);
        note(NoteLevel::info, "peer_greeted",
             {{"name", hello.from.name},
              {"region", hello.from.region},
              {"peer", peer.address},
              {"writer", hello.from.writer.text()}});
        if (peer.tie == Tie::mesh) {
            transport_.subscribe(peer.link, hello.from.publish_address);
            peer.feed_since = now;
        }
        peer.beats = 0;
        stop_following(peer);
    }
    if (peer.tie == Tie::hub) callers_[{}] = {hello.from.name, {}, hello.from.holds};
    peer.who = std::move(hello.from);
    peer.greeted = true;
    peer.refuses.clear();
    learn(others, now);
    update_stable_cut(now);
}

// What a peer writes under says what became of it while it was away.
void Replication::note_renewed(Peer& peer, const Introduction& now) {
    if (const auto told = options_.found.find(now.name);
        told != options_.found.end() && peer.found.empty())
        peer.found = told->second;
    const ReplicaId was = peer.who.writer;
    if (was.value == 0 || was == now.writer) return;
    const bool same_place = was.lineage() == now.writer.lineage();
    peer.found = "it writes as " + now.writer.text() + ", before as " + was.text() + ": " +
                 (same_place ? "its end was not clean, or its data is a copy put back"
                             : "its data directory is another one: emptied, restored or copied");
    note(NoteLevel::info, "peer_renewed",
         {{"name", now.name},
          {"writer", now.writer.text()},
          {"before", was.text()},
          {"directory", same_place ? "the same" : "another"}});
}

// ---- refusals: both sides say why

void Replication::refuse(const ConnectionToken& from, const Introduction& who, const Refuse& refuse,
                         MonoTime now) {
    transport_.reply(from, encode(refuse));
    callers_.erase(from);
    if (refuse.code == RefuseCode::self) return;
    ++counters_.refused;
    const std::string address = place_of(who);
    if (refused_.size() >= kRefusedMax && !refused_.contains(address)) refused_.clear();
    const auto [place, fresh] = refused_.try_emplace(address);
    Refused& refused = place->second;
    if (fresh || refused.why != refuse.reason || now >= refused.noted_at + kRefusalNotedEvery) {
        refused.noted_at = now;
        note(NoteLevel::warn, "peer_refused",
             {{"name", who.name}, {"peer", address}, {"why", refuse.reason}});
    }
    refused.who = who;
    refused.why = refuse.reason;
    refused.at = now;
    if (refuse.code == RefuseCode::same_writer) fence(refuse.reason, who.name);
}

void Replication::on_refuse(Peer& peer, const Refuse& refuse, MonoTime now) {
    if (refuse.code == RefuseCode::not_introduced) {  // it was started again, or has forgotten
        if (now >= peer.hello_at + kHelloAgain) peer.hello_at = MonoTime{-1'000'000};
        return;
    }
    if (refuse.code == RefuseCode::self) {
        transport_.disconnect(peer.link);
        peers_.erase(peer.link);
        return;
    }
    ++counters_.refused;
    if (peer.refuses != refuse.reason || now >= peer.refuses_noted_at + kRefusalNotedEvery) {
        peer.refuses_noted_at = now;
        note(NoteLevel::warn, "refused_by_peer", {{"peer", peer.address}, {"why", refuse.reason}});
    }
    peer.refuses = refuse.reason;
    peer.greeted = false;
    stop_following(peer);
    if (pull_ && pull_->link == peer.link) end_pull("the peer refuses this node");
    if (refuse.code == RefuseCode::same_writer) fence(refuse.reason, peer.who.name);
    if (refuse.code == RefuseCode::gone) become_gone("a peer says: " + refuse.reason);
}

// ---- tripwires: a dot may never name two events

void Replication::check_own_dots(const ShardClocks& theirs, const std::string& peer) {
    if (fenced_) return;
    for (const auto& [shard, clock] : theirs) {
        if (!store_.holds(shard)) continue;
        const Dot known{store_.self(), clock.at(store_.self())};
        if (store_.shard(shard).clock.contains(known)) continue;
        return fence("peer " + peer + " has " + known.text() + " of shard " +
                         std::to_string(shard.value) +
                         ", which this node has not written: an old copy of the data directory",
                     peer);
    }
}

void Replication::fence(std::string why, const std::string& shown_by) {
    if (fenced_) return;
    fenced_by_ = shown_by;
    ++counters_.fences;
    note(NoteLevel::error, "writer_fenced",
         {{"writer", store_.self().text()},
          {"why", why},
          {"next", "the node goes on under a new writer id; see Copies in docs/OPERATIONS.md"}});
    fenced_ = std::move(why);
}

// ---- what peers report, and what is shown of it

std::uint64_t Replication::own_events(const ShardClocks& clocks) const {
    std::uint64_t count = 0;
    for (const auto& [shard, clock] : clocks) count += clock.at(store_.self()).value;
    return count;
}

void Replication::report(Peer& peer, std::uint64_t nonce, ShardClocks durable, MonoTime) {
    check_own_dots(durable, peer.who.name);
    peer.durable = std::move(durable);
    peer.own_events = own_events(peer.durable) + own_events_elsewhere(peer);
    peer.reported = true;
    peer.reported_by = nonce;
    if (peer.tie != Tie::edge) catch_up_.reported(peer.link.value, peer.durable);
    std::uint64_t least = peer.own_events;
    for (const auto& [link, other] : peers_) least = std::min(least, other.own_events);
    lag_.forget(least);
}

void Replication::report_changed(Peer& peer, const Heartbeat& heartbeat) {
    check_own_dots(heartbeat.durable, peer.who.name);
    const bool known = peer.reported && peer.reported_by == heartbeat.nonce;
    if (!known || heartbeat.number != peer.beat_heard + 1)
        send(peer.link,
             Ping{++requests_});  // one is missing: what of the others? The answer names all
    if (!known) return;
    std::map<ShardId, VersionVector> clocks(peer.durable.begin(), peer.durable.end());
    for (const auto& [shard, clock] : heartbeat.durable) clocks[shard] = clock;
    peer.durable.assign(clocks.begin(), clocks.end());
    peer.own_events = own_events(peer.durable) + own_events_elsewhere(peer);
}

void Replication::count_own_events(const Commit& commit, MonoTime now) {
    for (const auto& [shard, clock] : commit.clocks) {
        Seq& known = own_committed_[shard];
        const Seq seq = clock.at(store_.self());
        own_event_count_ += seq.value - known.value;
        known = seq;
    }
    lag_.committed(own_event_count_, commit.frames.size(), now.count());
}

PeerStatus Replication::status_of(const Peer& peer, const ShardClocks& durable, MonoTime now) {
    PeerStatus row;
    row.name = peer.who.name;
    row.region = peer.who.region;
    row.address = peer.address;
    row.client_address = peer.who.client_address;
    row.role = peer.who.role;
    row.writer = peer.who.writer;
    row.link = !peer.up || now > peer.heard_at + kSilentMax ? "down" : "up";
    row.phase = pull_ && pull_->link == peer.link ? pull_->flipping            ? "flipping"
                                                    : pull_->full == Full::all ? "pulling all"
                                                                               : "pulling"
                : peer.following                  ? "following"
                : peer.greeted                    ? "greeted"
                : !peer.refuses.empty()           ? "refused"
                                                  : "calling";
    row.silent_ms = peer.heard_at < MonoTime(0) ? -1 : (now - peer.heard_at).count();
    row.parked_bytes = peer.parked_bytes;
    row.clock_ms = peer.clock.count();
    row.trouble = peer.refuses;
    row.found = peer.found;
    const auto refused = refused_.find(peer.address);
    if (row.trouble.empty() && refused != refused_.end() &&
        now <= refused->second.at + kRefusalShown)
        row.trouble = refused->second.why;
    const std::map<ShardId, VersionVector> theirs(peer.durable.begin(), peer.durable.end());
    for (const auto& [shard, clock] : durable) {
        if (!shares(peer, shard)) continue;
        const auto found = theirs.find(shard);
        row.lag_events += clock.event_count() -
                          (found == theirs.end() ? 0 : clock.meet(found->second).event_count());
    }
    row.cut = !counts(peer, now)                      ? "out"
              : has_said(peer) && row.lag_events == 0 ? "level"
                                                      : "holds";
    row.lag = lag_.behind(peer.own_events, now.count());
    return row;
}

std::vector<PeerStatus> Replication::peers(MonoTime now) {
    const ShardClocks durable = store_.durable_clocks();
    std::vector<PeerStatus> rows;
    for (const auto& [link, peer] : peers_) rows.push_back(status_of(peer, durable, now));
    for (const auto& [address, refused] : refused_) {
        if (now > refused.at + kRefusalShown ||
            std::ranges::any_of(peers_, [&](const auto& p) { return p.second.address == address; }))
            continue;
        PeerStatus& row = rows.emplace_back();
        row.name = refused.who.name;
        row.region = refused.who.region;
        row.address = address;
        row.writer = refused.who.writer;
        row.link = "down";  // nothing goes over it
        row.phase = "refused";
        row.silent_ms = (now - refused.at).count();
        row.trouble = refused.why;
    }
    return rows;
}

}  // namespace skerry
