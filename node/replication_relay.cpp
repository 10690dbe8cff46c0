// The part of node/replication.hpp that goes both ways over an edge's one connection: what hub and edge do alike, and the hub.
//
// Question each of the two asks for what follows in the other's log: the edge for all batches, the hub for the edge's own. Such a
//          question stands until there is something to say, so that nothing is sent that has not been asked for.
// Beats    heartbeats name the shards that have changed since the last ones; all of them at first, and now and then.
// Vouched  a hub reports an edge's durable clock to the others once its own covers it: then its heartbeat's clock is no less
//          than what the edge had as it said so, which a cut must have settled (node/stable_cut.hpp).
// Told     an edge hears one hub, and cannot know what is stable: the hub tells it, when it has all that was known then.
#include <algorithm>

#include "crdt/hash.hpp"
#include "node/feed.hpp"
#include "node/replication.hpp"

namespace skerry {

namespace {
constexpr MonoTime kAnswerApart{20};       // to one edge: what is committed meanwhile goes together
constexpr std::uint64_t kWholeEvery = 60;  // beats, to one who follows;
constexpr std::uint64_t kToldAgain = 3;    // beats after a cut was told
constexpr std::uint64_t kWholeOften = 5;   // who does not, needs one to begin
constexpr std::size_t kCallersMax = 4096;

std::uint64_t hash_of_members(const StableCut& cut) {
    std::string text(1, cut.everybody ? '1' : '0');
    for (const PartHolder& part : cut.partial) {
        text += " p" + std::to_string(part.lineage) + (part.holds.main ? "m" : "");
        for (const DomainNumber domain : part.holds.domains) text += "," + std::to_string(domain);
    }
    for (const std::uint64_t lineage : cut.lineages) text += " " + std::to_string(lineage);
    return hash64(text);
}

// Of both lists, which are by shard, what the first has more or otherwise.
ShardClocks differing(const ShardClocks& now, const ShardClocks& before) {
    const std::map<ShardId, const VersionVector*> known = [&] {
        std::map<ShardId, const VersionVector*> out;
        for (const auto& [shard, clock] : before) out[shard] = &clock;
        return out;
    }();
    ShardClocks changed;
    for (const auto& [shard, clock] : now) {
        const auto found = known.find(shard);
        if (found == known.end() || *found->second != clock) changed.emplace_back(shard, clock);
    }
    return changed;
}
}  // namespace

// A hub asks over the edge's own link: it is the caller without a token.
void Replication::answer(const ConnectionToken& to, std::string frame) {
    if (!to.bytes.empty()) return transport_.reply(to, std::move(frame));
    if (const Peer* asker = hub(); asker != nullptr && !asker->cut)
        transport_.send(asker->link, std::move(frame));
}

Replication::Peer* Replication::tied_caller(const ConnectionToken& from) {
    if (from.bytes.empty()) return hub();
    const auto caller = callers_.find(from);
    return caller == callers_.end() ? nullptr : peer_of(caller->second.edge);
}

// ---- a hub takes edges in

Replication::Peer& Replication::edge_peer(const Introduction& who, MonoTime now) {
    for (auto& [link, peer] : peers_)
        if (peer.tie == Tie::edge && peer.who.writer.lineage() == who.writer.lineage()) return peer;
    const LinkId link{++links_};
    Peer& peer = peers_[link];
    peer.link = link;
    peer.tie = Tie::edge;
    peer.address = "edge:" + who.name;
    peer.known_since = now;
    return peer;
}

void Replication::on_edge_hello(const ConnectionToken& from, const Hello& hello, MonoTime now) {
    Peer& peer = edge_peer(hello.from, now);
    const bool known = peer.greeted && peer.who.nonce == hello.from.nonce;
    if (peer.token != from || !known) {
        callers_.erase(peer.token);
        peer.token = from;
        peer.fetch_request = peer.body_request = 0;
        peer.standing.reset();
        peer.told.reset();
        peer.beats = 0;
    }
    if (!known) {
        note_renewed(peer, hello.from);
        note(NoteLevel::info, "edge_greeted",
             {{"name", hello.from.name},
              {"region", hello.from.region},
              {"writer", hello.from.writer.text()}});
        stop_following(peer);
        peer.vouched.reset();
        peer.reported = false;
    }
    peer.who = hello.from;
    peer.greeted = peer.up = true;
    peer.heard_at = peer.known_since = now;
    if (callers_.size() >= kCallersMax) callers_.clear();
    callers_[from] = {hello.from.name, peer.link, hello.from.holds};
    Introduction self = introduction(&hello.from.holds);
    self.peers.clear();  // it finds hubs in the table
    transport_.reply(from, encode(HelloOk{std::move(self)}));
    update_stable_cut(now);
}

// ---- questions that stand

FetchReply Replication::fetched(const FetchRequest& request, const Asker& asker) const {
    return serve_fetch(log_, request, store_.options().nonce, store_.durable(), asker);
}

Asker Replication::asker_of(const ConnectionToken& from) {
    Asker asker{.writer = {}, .holds = {}, .slot_shard_count = store_.slot_shard_count()};
    if (const Peer* peer = tied_caller(from)) {
        asker.writer = peer->who.writer;
        asker.holds = peer->who.holds;
    } else if (const auto caller = callers_.find(from); caller != callers_.end()) {
        asker.holds = caller->second.holds;
    }
    return asker;
}

void Replication::on_fetch_request(const ConnectionToken& from, const FetchRequest& request,
                                   MonoTime now) {
    Peer* peer = tied_caller(from);
    if (peer == nullptr)
        return answer(from, encode(fetched(request, asker_of(from)), Compression::where_it_helps));
    peer->standing = request;
    peer->standing_from = request.after;
    peer->standing_since = now;
    peer->looked_to = {};
    serve_standing(*peer, now);
}

void Replication::serve_standing(Peer& peer, MonoTime now) {
    if (!peer.standing || peer.cut) return;
    FetchRequest& request = *peer.standing;
    const bool waited = now >= peer.standing_since + kStandsMax;
    if (now < peer.answered_at + kAnswerApart && !waited) return;
    const LogPosition last = request.chain == Chain::own
                                 ? std::min(store_.last_published(), store_.durable())
                                 : store_.durable();
    const bool nothing =
        request.nonce == store_.options().nonce && last.value <= request.after.value;
    if ((nothing || last == peer.looked_to) && !waited) return;
    FetchReply reply{.request = request.request,
                     .nonce = request.nonce,
                     .status = FetchStatus::ok,
                     .records = {},
                     .more = false,
                     .through = request.after};
    if (!nothing && last != peer.looked_to)
        reply = fetched(request, {peer.who.writer, peer.who.holds, store_.slot_shard_count()});
    peer.looked_to = last;
    if (reply.status == FetchStatus::ok && reply.records.empty() && !waited) {
        // What holds nothing for it is no answer: it is told with what comes, or when the question has stood long enough.
        request.after = std::max(request.after, reply.through);
        peer.answered_at = now;
        return;
    }
    if (!reply.records.empty()) reply.records.front().previous = peer.standing_from;
    peer.standing.reset();
    peer.answered_at = now;
    send(peer.link, reply);
}

void Replication::serve_all_standing(MonoTime now) {
    for (auto& [link, peer] : peers_) serve_standing(peer, now);
}

// ---- heartbeats

Heartbeat Replication::changed_since_last(const Heartbeat& all) {
    Heartbeat changed = all;
    changed.whole = false;
    changed.durable = differing(all.durable, beaten_);
    std::erase_if(changed.digests, [&](const auto& digest) {
        return !std::ranges::binary_search(changed.durable, digest.first, {},
                                           [](const auto& pair) { return pair.first; });
    });
    return changed;
}

void Replication::beat(Peer& peer, const Heartbeat& all, const Heartbeat& changed) {
    const bool whole = peer.beats % (peer.standing ? kWholeEvery : kWholeOften) == 0;
    Heartbeat told = whole ? all : changed;
    keep_shared(peer, told.durable);
    keep_shared(peer, told.digests);
    told.number = peer.beats;
    // Whoever has what is durable here may follow all batches from there.
    if (peer.tie == Tie::edge) told.last = StreamPosition{store_.durable().value};
    send(peer.link, told);
    if (peer.tie == Tie::edge) tell_cut(peer);
    ++peer.beats;
}

void Replication::step_tied(MonoTime now) {
    std::vector<Peer*> due;
    const bool all_due = now >= beaten_at_ + kHeartbeat;
    for (auto& [link, peer] : peers_) {
        if (peer.tie == Tie::mesh) continue;
        serve_standing(peer, now);
        if (peer.tie == Tie::edge) {
            if (peer.up && now > peer.heard_at + kSilentMax) {
                peer.up = false;
                peer.fetch_request = peer.body_request = 0;
                peer.standing.reset();
                if (pull_ && pull_->link == link) interrupt_pull("the edge is silent", now);
            }
            vouch(peer, now);
        }
        if (peer.up && peer.greeted && !peer.cut && (all_due || peer.beats == 0))
            due.push_back(&peer);
    }
    if (due.empty()) return;
    const Heartbeat all = heartbeat();
    const Heartbeat changed = changed_since_last(all);
    for (Peer* peer : due) beat(*peer, all, changed);
    if (!all_due) return;
    beaten_at_ = now;
    beaten_ = all.durable;
}

// ---- what is stable

void Replication::vouch(Peer& peer, MonoTime now) {
    const MemberId id = member_of(peer.who.writer);
    if (peer.vouch_due && has_said(peer) && store_.durably_covers(peer.durable)) {
        peer.vouch_due = false;
        peer.vouched = std::make_shared<Claim>(Claim{peer.durable, peer.durable});
        edges_[id] = {peer.who.writer, peer.who.name, peer.who.holds, peer.vouched, now};
    }
    if (const auto known = edges_.find(id); known != edges_.end() && peer.up)
        known->second.heard_at = std::max(known->second.heard_at, peer.heard_at);
}

void Replication::list_edges(Heartbeat& heartbeat, MonoTime now) const {
    std::map<ShardId, VersionVector> least;
    for (const auto& [link, peer] : peers_) {
        if (peer.tie != Tie::edge || !peer.greeted || now > peer.heard_at + kSilentMax ||
            heartbeat.edges.size() >= kEdgesMax)
            continue;
        heartbeat.edges.push_back(
            {peer.who.writer, peer.who.name, peer.vouched != nullptr, peer.who.holds});
        if (!peer.vouched) continue;
        const std::map<ShardId, VersionVector> theirs(peer.vouched->least.begin(),
                                                      peer.vouched->least.end());
        // Of those that hold the shard: who has nothing of it yet, has the least.
        for (const ShardId shard : shared_with(peer)) {
            const auto found = theirs.find(shard);
            const VersionVector clock = found == theirs.end() ? VersionVector{} : found->second;
            const auto [place, fresh] = least.try_emplace(shard, clock);
            if (!fresh) place->second = place->second.meet(clock);
        }
    }
    std::erase_if(least, [](const auto& pair) { return pair.second.empty(); });
    heartbeat.edges_durable.assign(least.begin(), least.end());
}

// Of one that is not vouched for yet, what was said before stands.
void Replication::note_edges(const Peer& hub, const Heartbeat& heartbeat, MonoTime now) {
    if (hub.tie != Tie::mesh || heartbeat.edges.empty()) return;
    const auto claim =
        std::make_shared<const Claim>(Claim{heartbeat.edges_durable, heartbeat.durable});
    for (const HeardEdge& edge : heartbeat.edges) {
        EdgeReport& report = edges_[member_of(edge.writer)];
        if (report.writer != edge.writer) report.claim.reset();
        report.writer = edge.writer;
        report.name = edge.name;
        report.holds = edge.holds;
        report.heard_at = now;
        if (edge.vouched) report.claim = claim;
    }
}

void Replication::tell_cut(Peer& edge) {
    const auto& cut = store_.stable_cut();
    if (!cut || !cut_.settled()) return;
    if (!cut_told_ || *cut_told_ != *cut) cut_told_ = std::make_shared<StableCut>(*cut);
    // Once more a little later: nobody says that it has come.
    const bool again =
        edge.beats % kWholeEvery == 0 || edge.beats == edge.told_at_beat + kToldAgain;
    if (edge.told == cut_told_ && !again) return;
    ShardClocks known = cut_.known();
    keep_shared(edge, known);
    if (!covers(edge, known)) return;
    const bool whole = again || !edge.told || edge.told->everybody != cut->everybody ||
                       edge.told->lineages != cut->lineages || edge.told->partial != cut->partial;
    Stable stable{.nonce = edge.who.nonce,
                  .members = hash_of_members(*cut),
                  .clocks = whole ? cut->clocks : differing(cut->clocks, edge.told->clocks),
                  .whole = whole,
                  .everybody = cut->everybody,
                  .lineages = {},
                  .partial = {}};
    keep_shared(edge, stable.clocks);
    if (whole) {
        stable.lineages = cut->lineages;
        stable.partial = cut->partial;
    }
    if (edge.told != cut_told_) edge.told_at_beat = edge.beats;
    edge.told = cut_told_;
    ++counters_.cuts_told;
    send(edge.link, stable);
}

// At the edge.
void Replication::on_stable(const Stable& stable) {
    if (stable.nonce != store_.options().nonce) return;
    if (stable.whole) {
        stable_told_ = {stable.clocks, stable.everybody, stable.lineages, stable.partial};
        std::ranges::sort(stable_told_->lineages);
        std::ranges::sort(stable_told_->partial, {}, &PartHolder::lineage);
    } else {
        if (!stable_told_ || hash_of_members(*stable_told_) != stable.members) return;
        std::map<ShardId, VersionVector> clocks(stable_told_->clocks.begin(),
                                                stable_told_->clocks.end());
        for (const auto& [shard, clock] : stable.clocks) clocks[shard] = clock;
        stable_told_->clocks.assign(clocks.begin(), clocks.end());
    }
    store_.set_stable_cut(stable_told_);
}

}  // namespace skerry
