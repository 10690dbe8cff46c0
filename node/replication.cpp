#include "node/replication.hpp"

#include <algorithm>

#include "crdt/shortcut.hpp"
#include "crdt/types/clear.hpp"
#include "node/feed.hpp"
#include "store/record.hpp"

namespace skerry {

namespace {
constexpr MonoTime kStrangersNotedEvery{60'000};
constexpr std::uint64_t kFreshLogBytes =
    256 * 1024;  // a checkpoint this far behind will do for a pull

// Every operation within the ranges that the batch itself names, and no clear of what is unseen here: what applying
// relies on.
bool sound(const Batch& batch, const Store& store) {
    for (const ShardRange& range : batch.ranges)
        if (!store.holds(range.shard)) return false;
    return std::ranges::all_of(batch.operations, [&](const Operation& operation) {
        const ShardId shard = store.address_of(operation.key.database, operation.key.key).shard;
        const auto range = std::ranges::find(batch.ranges, shard, &ShardRange::shard);
        const Seq seq = operation.delta.entry.seq;
        if (range == batch.ranges.end() || seq <= range->after || seq > range->last) return false;
        if (!clear::is_clear(operation.key.kind)) return true;
        if (!store.is_placed(operation.key)) return false;
        VersionVector known = store.shard(shard).clock;
        known.advance({batch.writer, Seq{seq.value - 1}});
        return known.covers(*clear::decode(operation.delta.entry));
    });
}

constexpr StreamPosition kEndless{~std::uint64_t{0}};

// What whoever hears it answers, rather than takes for an answer.
bool is_question(const Message& message) {
    return std::holds_alternative<Hello>(message) ||
           std::holds_alternative<FetchRequest>(message) ||
           std::holds_alternative<BodyRequest>(message) ||
           std::holds_alternative<PullRequest>(message) || std::holds_alternative<Ping>(message) ||
           std::holds_alternative<DigestRequest>(message) ||
           std::holds_alternative<SliceRequest>(message) ||
           std::holds_alternative<SymbolRequest>(message) ||
           std::holds_alternative<LeafRequest>(message);
}

bool is_published(const Message& message) { return std::holds_alternative<Heartbeat>(message); }

std::string source_text(ReplicaId writer, StreamPosition position) {
    return writer.text() + "@" + std::to_string(position.value);
}
}  // namespace

Replication::Replication(Store& store, Log& log, const Kv& kv, Transport& transport,
                         ReplicationOptions options)
    : store_(store),
      log_(log),
      kv_(kv),
      transport_(transport),
      options_(std::move(options)),
      random_(options_.random_seed),
      verification_(store),
      reconciliation_(store),
      members_(store),
      domain_table_(store) {
    for (const DomainRule& rule : options_.domains) rules_.add(rule);
    learn_domains();
    for (const ShardId shard : store_.held()) {
        const Seq seq = store_.shard(shard).durable_clock.at(store_.self());
        own_committed_[shard] = seq;
        own_event_count_ += seq.value;
    }
}

void Replication::note(NoteLevel level, std::string event,
                       std::vector<std::pair<std::string, std::string>> fields) {
    notes_.push_back({level, std::move(event), std::move(fields)});
}

// ---- peers

Replication::Peer& Replication::peer_at(const std::string& address, MonoTime now) {
    for (auto& [link, peer] : peers_)
        if (peer.address == address) return peer;
    const LinkId link{++links_};
    Peer& peer = peers_[link];
    peer.link = link;
    peer.address = address;
    peer.known_since = known_since(address, now);
    transport_.connect(link, address);
    return peer;
}

Replication::Peer* Replication::peer_of(LinkId link) {
    const auto found = peers_.find(link);
    return found == peers_.end() ? nullptr : &found->second;
}

bool Replication::set_cut(std::string_view name, bool cut) {
    bool found = false;
    for (auto& [link, peer] : peers_) {
        if (peer.who.name != name) continue;
        found = true;
        peer.cut = cut;
        peer.fetch_request = peer.body_request = 0;
        if (cut && pull_ && pull_->link == link) interrupt_pull("the link is cut", heartbeat_at_);
    }
    return found;
}

bool Replication::is_cut(std::string_view name) const {
    return std::ranges::any_of(
        peers_, [&](const auto& pair) { return pair.second.cut && pair.second.who.name == name; });
}

void Replication::send(LinkId link, const Message& message) {
    const Peer* peer = peer_of(link);
    if (peer == nullptr || peer->cut) return;
    std::string frame = encode(message, Compression::where_it_helps);
    if (peer->tie == Tie::edge) return transport_.reply(peer->token, std::move(frame));
    transport_.send(link, std::move(frame));
}

void Replication::start(MonoTime now) {
    if (options_.role != Role::edge)
        for (const std::string& seed : options_.seeds)
            if (seed != options_.gossip_address) peer_at(seed, now);
    started_at_ = now;
    update_stable_cut(now);
    lag_.committed(own_event_count_, 0, now.count());
    resume_until_ = now + kResumeWithin;
    if (const auto open = store_.open_session()) {
        const auto cursor = decode_pull_cursor(open->cursor);
        whole_waits_ = cursor && cursor->whole;
    }
    catch_up_.begin(now);
    if (alone()) catch_up_.skip();
    tick(now);
}

// ---- what comes in

void Replication::receive(Incoming incoming, MonoTime now) {
    Peer* peer = peer_of(incoming.link);
    if (incoming.kind == IncomingKind::link_up || incoming.kind == IncomingKind::link_down) {
        if (peer == nullptr) return;
        const bool up = incoming.kind == IncomingKind::link_up;
        if (peer->up != up)
            note(NoteLevel::info, up ? "link_up" : "link_down",
                 {{"peer", peer->address}, {"why", incoming.bytes}});
        peer->up = up;
        peer->hello_at = MonoTime{-1'000'000};
        peer->hello_since.reset();
        peer->fetch_request = peer->body_request = 0;
        peer->standing.reset();
        if (!up && pull_ && pull_->link == peer->link) interrupt_pull("the link is down", now);
        return;
    }
    const auto caller = callers_.find(incoming.connection);
    const bool asks = incoming.kind == IncomingKind::request;
    if (asks) peer = tied_caller(incoming.connection);
    if (peer != nullptr ? peer->cut : caller != callers_.end() && is_cut(caller->second.name))
        return;
    auto message = decode(incoming.bytes);
    if (!message) {
        ++counters_.malformed;
        note(NoteLevel::warn, "frame_refused",
             {{"peer", peer ? peer->address : "?"}, {"why", message.error().text()}});
        return;
    }
    keep_held(*message);
    if (asks && (peer == nullptr || is_question(*message)))
        return on_request(incoming.connection, *message, now);
    if (peer != nullptr) on_peer(*peer, std::move(*message), incoming, now);
}

// Over the one connection of an edge all ways go: the kind of a message says which.
void Replication::on_peer(Peer& peer, Message message, const Incoming& incoming, MonoTime now) {
    peer.heard_at = now;
    const bool tied = peer.tie != Tie::mesh;
    if (incoming.kind == IncomingKind::reply) peer.hello_since.reset();
    if (incoming.kind == IncomingKind::published) peer.feed_since = now;
    if (tied && is_question(message)) return on_request({}, message, now);
    if (incoming.kind == IncomingKind::published || (tied && is_published(message)))
        return on_published(peer, std::move(message), now);
    on_reply(peer, std::move(message), incoming.bytes.size(), now);
}

void Replication::on_request(const ConnectionToken& from, const Message& message, MonoTime now) {
    if (const auto* hello = std::get_if<Hello>(&message))
        return from.bytes.empty() ? void() : on_hello(from, *hello, now);
    if (Peer* edge = tied_caller(from)) {
        edge->heard_at = now;
        edge->up = true;
    }
    if (!callers_.contains(from))
        return from.bytes.empty() ? void() : turn_away(from, now);  // a hub, before it is greeted
    if (fenced_) return;
    if (const auto* pull = std::get_if<PullRequest>(&message))
        return on_pull_request(from, *pull, now);
    if (const auto* body = std::get_if<BodyRequest>(&message)) return on_body_request(from, *body);
    if (const auto* digest = std::get_if<DigestRequest>(&message))
        return on_digest_request(from, *digest);
    if (on_reconcile_request(from, message, now)) return;
    if (const auto* fetch = std::get_if<FetchRequest>(&message))
        return on_fetch_request(from, *fetch, now);
    if (std::holds_alternative<Ping>(message)) {
        const bool early = taken(Shortcut::volatile_clock_shown);
        const Ack ack{store_.self(), store_.options().nonce,
                      early ? store_.clocks() : store_.durable_clocks()};
        answer(from, encode(ack));
    }
}

// Whoever has not said who it is may be of another cluster, or cut off from here.
void Replication::turn_away(const ConnectionToken& from, MonoTime now) {
    transport_.reply(from, encode(Refuse{RefuseCode::not_introduced, "say Hello first"}));
    ++counters_.strangers;
    if (strangers_noted_at_ && now < *strangers_noted_at_ + kStrangersNotedEvery) return;
    strangers_noted_at_ = now;
    note(NoteLevel::warn, "not_introduced", {{"so_far", std::to_string(counters_.strangers)}});
}

// Is what the caller is after, as far as it is durable here, in the checkpoint? What is only in the
// log behind it would never come: neither by this pull, nor by following the stream if another
// writer or an earlier boot wrote it.
bool Replication::serves_target(const PullRequest& request, const ShardClocks& checkpoint) const {
    std::map<ShardId, VersionVector> served(checkpoint.begin(), checkpoint.end());
    for (const auto& [shard, clock] : request.base) served[shard].join(clock);
    return std::ranges::all_of(request.target, [&](const auto& pair) {
        return served[pair.first].covers(pair.second.meet(store_.shard(pair.first).durable_clock));
    });
}

void Replication::on_pull_request(const ConnectionToken& from, const PullRequest& request,
                                  MonoTime now) {
    check_own_dots(request.base, callers_.at(from).name);
    PullChunk chunk;
    chunk.request = request.request;
    chunk.session = request.session;
    chunk.nonce = store_.options().nonce;
    const bool begins = request.nonce == 0;
    const bool stale = store_.stats().log_bytes_since_checkpoint > kFreshLogBytes ||
                       store_.stats().covered.value == 0;
    if (!begins && request.nonce != chunk.nonce)
        chunk.status = PullStatus::restart;
    else if (begins && (stale || store_.freezing())) {
        wants_checkpoint_ = stale;
        chunk.status = PullStatus::refused;  // for the moment: the caller asks again
    } else {
        return serve(from, request, now);
    }
    answer(from, encode(chunk));
}

// Reading and compressing a MiB takes milliseconds: not between the commands of clients, if there is somewhere else.
void Replication::serve(const ConnectionToken& from, const PullRequest& request, MonoTime now) {
    if (serving_ >= kServingMax) return;  // they ask again
    ++serving_;
    struct Served {
        PullRequest request;
        Result<PullChunk> chunk;
        std::string frame;
    };
    auto served = std::make_shared<Served>(request, PullChunk{}, std::string());
    auto read = [served, &kv = kv_, nonce = store_.options().nonce] {
        const auto stored = kv.reader();
        served->chunk = stored ? serve_pull(**stored, served->request)
                               : Result<PullChunk>(std::unexpected(stored.error()));
        if (!served->chunk) return;
        served->chunk->nonce = nonce;
        served->frame = encode(*served->chunk, Compression::where_it_helps);
    };
    auto reply = [this, served, from, now] {
        --serving_;
        if (!served->chunk)
            return note(NoteLevel::error, "pull_not_served",
                        {{"why", served->chunk.error().text()}});
        reply_served(from, served->request, *served->chunk, std::move(served->frame), now);
    };
    if (options_.aside) return options_.aside(std::move(read), std::move(reply));
    read();
    reply();
}

void Replication::reply_served(const ConnectionToken& from, const PullRequest& request,
                               const PullChunk& chunk, std::string frame, MonoTime now) {
    if (request.nonce == 0 && !serves_target(request, chunk.clocks) &&
        !taken(Shortcut::target_ignored)) {
        wants_checkpoint_ = true;
        PullChunk later;
        later.request = request.request;
        later.session = request.session;
        later.nonce = store_.options().nonce;
        later.status = PullStatus::refused;
        frame = encode(later);
    }
    if (const auto caller = callers_.find(from); caller != callers_.end())
        served_pulls_.served(caller->second.name, request.session,
                             {chunk.leaves.size(), frame.size(), chunk.estimate_leaves}, now);
    answer(from, std::move(frame));
}

void Replication::on_body_request(const ConnectionToken& from, const BodyRequest& request) {
    BodyReply reply;
    reply.request = request.request;
    reply.nonce = store_.options().nonce;
    reply.position = request.position;
    const LogPosition position{request.position.value};
    if (request.nonce != reply.nonce) {
        reply.status = BodyStatus::wrong_nonce;
    } else {
        const Asker asker = asker_of(from);
        if (served_body_.position != position || served_body_.holds != asker.holds ||
            position.value == 0) {
            auto body =
                position <= store_.durable() ? read_body(log_, position, asker) : std::nullopt;
            served_body_ = {body ? position : LogPosition{}, asker.holds,
                            body ? std::move(*body) : std::string()};
        }
        if (served_body_.position != position) {
            reply.status = BodyStatus::gone;
        } else {
            reply.total_bytes = served_body_.bytes.size();
            reply.offset = std::min(request.offset, reply.total_bytes);
            reply.part = served_body_.bytes.substr(
                reply.offset, std::min<std::uint64_t>(request.bytes_max, kPartBytesMax));
            if (reply.offset + reply.part.size() == reply.total_bytes) served_body_ = {};
        }
    }
    answer(from, encode(reply, Compression::where_it_helps));
}

void Replication::on_reply(Peer& peer, Message message, std::uint64_t bytes, MonoTime now) {
    if (auto* hello = std::get_if<HelloOk>(&message)) return on_hello_ok(peer, *hello, now);
    if (auto* fetched = std::get_if<FetchReply>(&message))
        return on_fetch_reply(peer, *fetched, bytes, now);
    if (auto* body = std::get_if<BodyReply>(&message))
        return on_body_reply(peer, *body, bytes, now);
    if (auto* chunk = std::get_if<PullChunk>(&message))
        return on_pull_chunk(peer, *chunk, bytes, now);
    if (const auto* digests = std::get_if<DigestReply>(&message)) {
        verification_.on_reply(peer.link, *digests, now);
        return send_verification();
    }
    if (on_reconcile_reply(peer, message, now)) return;
    if (auto* ack = std::get_if<Ack>(&message)) {
        peer.vouch_due = peer.tie == Tie::edge;
        return report(peer, ack->nonce, std::move(ack->durable), now);
    }
    if (const auto* stable = std::get_if<Stable>(&message); stable && peer.tie == Tie::hub)
        return on_stable(*stable);
    if (const auto* refuse = std::get_if<Refuse>(&message)) on_refuse(peer, *refuse, now);
}

void Replication::on_published(Peer& peer, Message message, MonoTime now) {
    if (!peer.greeted) return;  // it has been refused since
    if (auto* batch = std::get_if<BatchMessage>(&message)) {
        if (!peer.following || batch->nonce != peer.nonce)
            return;  // a heartbeat or a pull says where to begin
        const std::uint64_t bytes = batch->body.size();
        park(peer, batch->position,
             {batch->previous, std::move(batch->foreign), std::move(batch->body), bytes, false},
             now);
    } else if (auto* announce = std::get_if<Announce>(&message)) {
        if (!peer.following || announce->nonce != peer.nonce) return;
        park(peer, announce->position,
             {announce->previous, std::move(announce->foreign), {}, announce->body_bytes, false},
             now);
    } else if (const auto* heartbeat = std::get_if<Heartbeat>(&message)) {
        on_heartbeat(peer, *heartbeat, now);
        return;
    }
    drain(peer, now);
}

void Replication::on_heartbeat(Peer& peer, const Heartbeat& heartbeat, MonoTime now) {
    if (heartbeat.whole)
        report(peer, heartbeat.nonce, heartbeat.durable, now);
    else
        report_changed(peer, heartbeat);
    peer.beat_heard = heartbeat.number;
    note_clock(peer, heartbeat, now);
    if (heartbeat.whole) aim_to_join(heartbeat, now);
    note_edges(peer, heartbeat, now);
    peer.vouch_due = peer.tie == Tie::edge;
    const bool covered = store_.covers(heartbeat.durable);
    if (peer.nonce != heartbeat.nonce) stop_following(peer);
    const auto was_at = followed_.find(heartbeat.nonce);
    if (!peer.following && ((heartbeat.whole && covered) || was_at != followed_.end())) {
        // What it has published up to here is in its durable clock; or this edge has followed that log before.
        peer.nonce = heartbeat.nonce;
        peer.following = true;
        peer.applied = heartbeat.whole && covered ? heartbeat.last : was_at->second;
        followed_.erase(heartbeat.nonce);
        note(NoteLevel::info, "stream_followed",
             {{"name", heartbeat.name}, {"from", std::to_string(heartbeat.last.value)}});
    }
    if (covered && heartbeat.whole)
        peer.behind_since.reset();
    else if (!covered && !peer.behind_since)
        peer.behind_since = now;
    peer.announced = std::max(peer.announced, heartbeat.last);
    compare_digests(peer, heartbeat, now);
    if (peer.tie != Tie::edge) update_stable_cut(now);  // of many edges not at every beat
    drain(peer, now);
    if (!peer.following && !covered && heartbeat.whole)
        start_pull(peer, "its stream cannot be followed from here", now);
}

void Replication::compare_digests(const Peer& peer, const Heartbeat& heartbeat, MonoTime now) {
    const std::map<ShardId, VersionVector> theirs(heartbeat.durable.begin(),
                                                  heartbeat.durable.end());
    for (const auto& [shard, digest] : heartbeat.digests) {
        const auto clock = theirs.find(shard);
        if (!store_.holds(shard) || clock == theirs.end()) continue;
        const ShardState& mine = store_.shard(shard);
        if (mine.clock != clock->second) continue;
        if (mine.digest == digest) {
            agrees(peer, shard);
            continue;
        }
        alarmed(peer, shard, now);
        const auto [alarm, fresh] = alarmed_.try_emplace(shard, mine.digest);
        if (!fresh && std::exchange(alarm->second, mine.digest) == mine.digest) continue;
        ++counters_.divergence_alarms;
        note(NoteLevel::error, "divergence",
             {{"shard", std::to_string(shard.value)}, {"peer", peer.who.name}});
        if (verification_.under_way()) continue;
        verification_.begin({{peer.link, peer.who.name, {shard}}}, now);
        send_verification();
    }
}

// ---- following a stream

void Replication::stop_following(Peer& peer) {
    peer.following = false;
    peer.parked.clear();
    peer.parked_bytes = 0;
    peer.fetch_request = peer.body_request = 0;
    peer.stuck_since.reset();
    peer.fetching.reset();
    peer.announced = {};
}

// What a peer announces is gathered in memory until it is whole: never more than a commit may be.
bool Replication::too_large(Peer& peer, StreamPosition position, std::uint64_t body_bytes,
                            MonoTime now) {
    if (body_bytes <= kBodyBytesMax) return false;
    ++counters_.malformed;
    note(NoteLevel::error, "body_refused",
         {{"peer", peer.who.name},
          {"position", std::to_string(position.value)},
          {"bytes", std::to_string(body_bytes)},
          {"next", "its leaves are pulled"}});
    stop_following(peer);
    start_pull(peer, "a commit larger than any may be", now);
    return true;
}

void Replication::park(Peer& peer, StreamPosition position, Parked item, MonoTime now) {
    check_own_dots(item.foreign, peer.who.name);
    if (too_large(peer, position, item.body_bytes, now)) return;
    peer.announced = std::max(peer.announced, position);
    if (position <= peer.applied || peer.parked.contains(position) ||
        peer.parked.size() >= kParkedCountMax ||
        (peer.parked_bytes + item.body.size() > kParkedBytesMax && !peer.parked.empty())) {
        ++counters_.batches_dropped;
        return;
    }
    peer.parked_bytes += item.body.size();
    peer.parked.emplace(position, std::move(item));
}

void Replication::pause(bool paused, MonoTime now) {
    if (std::exchange(paused_, paused) == paused) return;
    if (paused && pull_) end_pull("the disk is full");
    for (auto& [link, peer] : peers_) drain(peer, now);
}

void Replication::drain(Peer& peer, MonoTime now) {
    if (paused_ || keeps_foreign_out()) return;
    bool applied = false;
    while (peer.following && !peer.parked.empty()) {
        const auto next = peer.parked.begin();
        Parked& item = next->second;
        if (next->first <= peer.applied) {
            peer.parked_bytes -= item.body.size();
            peer.parked.erase(next);
            continue;
        }
        if (item.previous > peer.applied && !taken(Shortcut::hole_ignored)) {
            fetch(peer, item.previous, now);
            break;
        }
        const bool unchecked = taken(Shortcut::no_causal_check) ||
                               (peer.tie == Tie::hub && taken(Shortcut::relay_unchecked));
        if (!store_.covers(item.foreign) && !unchecked) {
            if (!peer.stuck_since) {
                peer.stuck_since = now;
                ++counters_.batches_parked;
            }
            break;
        }
        if (item.body.size() < item.body_bytes) {
            if (item.body_bytes <= kPartBytesMax) {  // many of them come in one reply
                fetch(peer, peer.parked.rbegin()->first, now);
                break;
            }
            fetch_body(peer, now);
            break;
        }
        peer.stuck_since.reset();
        if (!item.is_own && !apply(peer, next->first, item)) return;
        peer.applied = next->first;
        peer.parked_bytes -= item.body.size();
        peer.parked.erase(next);
        applied = true;
    }
    if (peer.following && peer.parked.empty() && peer.tie != Tie::mesh)
        fetch(peer, kEndless, now);
    else if (peer.following && peer.parked.empty() && peer.announced > peer.applied)
        fetch(peer, peer.announced, now);
    if (peer.parked.empty() && peer.announced <= peer.applied) peer.fetching.reset();
    if (applied) drain_all(now);
}

// What one stream brought may be what another waits for.
void Replication::drain_all(MonoTime now) {
    for (auto& [link, peer] : peers_)
        if (peer.stuck_since && !peer.parked.empty() &&
            store_.covers(peer.parked.begin()->second.foreign)) {
            peer.stuck_since.reset();
            drain(peer, now);
        }
}

bool Replication::apply(Peer& peer, StreamPosition position, const Parked& item) {
    auto batch = decode_batch(item.body);
    std::optional<std::string> part;  // unless all of it is held here
    const Asker self{store_.self(), store_.options().holds, store_.slot_shard_count()};
    if (batch && !self.gets_all(*batch)) {
        part = self.part_of(*batch, item.body);
        if (!part) return true;  // nothing is
        batch = decode_batch(*part);
    }
    if (!batch || !sound(*batch, store_)) {
        ++counters_.malformed;
        note(NoteLevel::error, "batch_refused",
             {{"peer", peer.who.name},
              {"position", std::to_string(position.value)},
              {"why", batch ? "operations outside its ranges, or a clear beyond its causes"
                            : batch.error().text()}});
        stop_following(peer);
        return false;
    }
    const bool covered = std::ranges::all_of(batch->ranges, [&](const ShardRange& range) {
        return store_.shard(range.shard).clock.contains({batch->writer, range.last});
    });
    // From a hub a node's own come back, which it has written as an edge.
    if (batch->writer == store_.self() && !(covered && peer.who.role == Role::hub)) {
        fence("peer " + peer.who.name + " publishes as " + batch->writer.text() + ", too",
              peer.who.name);
        return false;
    }
    const bool causal = std::ranges::all_of(batch->ranges, [&](const ShardRange& range) {
        return store_.shard(range.shard).clock.contains({batch->writer, range.after}) ||
               range.after.value == 0;
    });
    if (!causal && !taken(Shortcut::hole_ignored)) {
        note(NoteLevel::warn, "stream_gap",
             {{"peer", peer.who.name}, {"position", std::to_string(position.value)}});
        stop_following(peer);
        return false;
    }
    if (covered) {
        ++counters_.batches_dropped;
        return true;
    }
    const bool of_edge = peer.tie == Tie::edge;
    store_.apply_remote(source_text(peer.who.writer, position), part ? *part : item.body, *batch,
                        of_edge ? Onward::passed_on : Onward::stays);
    ++counters_.batches_applied;
    counters_.passed_on += of_edge ? 1 : 0;
    return true;
}

bool Replication::in_flight(const Peer& peer, MonoTime now) const {
    return (peer.fetch_request != 0 || peer.body_request != 0) &&
           now < peer.asked_at + peer.pacing.patience();
}

// A question that is put again keeps its number: whichever answer comes first counts.
bool Replication::may_ask(Peer& peer, std::uint64_t& request, MonoTime now) {
    if (!peer.up || (request != 0 && in_flight(peer, now))) return false;
    if (request != 0) {
        ++counters_.asked_again;
        peer.pacing.unanswered();
    } else {
        request = ++requests_;
    }
    peer.asked_at = now;
    if (!peer.fetching) peer.fetching.emplace(SyncProgress{.since = now});
    return true;
}

void Replication::answered(Peer& peer, std::uint64_t records, std::uint64_t bytes, MonoTime now) {
    peer.pacing.answered(now - peer.asked_at);
    if (!peer.fetching) return;
    peer.fetching->leaves += records;
    peer.fetching->bytes += bytes;
}

void Replication::fetch(Peer& peer, StreamPosition to, MonoTime now) {
    const bool first = peer.fetch_request == 0;
    if (!may_ask(peer, peer.fetch_request, now)) return;
    counters_.fetches += first ? 1 : 0;
    send(peer.link, FetchRequest{.request = peer.fetch_request,
                                 .nonce = peer.nonce,
                                 .after = peer.applied,
                                 .to = to,
                                 .credit_bytes = peer.pacing.credit(),
                                 .chain = peer.tie == Tie::hub ? Chain::relay : Chain::own});
}

// Of the first that is parked.
void Replication::fetch_body(Peer& peer, MonoTime now) {
    if (!may_ask(peer, peer.body_request, now)) return;
    const auto& [position, item] = *peer.parked.begin();
    send(peer.link, BodyRequest{peer.body_request, peer.nonce, position, item.body.size(),
                                std::min<std::uint64_t>(peer.pacing.credit(), kPartBytesMax)});
}

void Replication::on_fetch_reply(Peer& peer, FetchReply& reply, std::uint64_t bytes, MonoTime now) {
    if (reply.request != peer.fetch_request || peer.fetch_request == 0) return;
    peer.fetch_request = 0;
    peer.idle = reply.records.empty();
    answered(peer, reply.records.size(), bytes, now);
    if (reply.status != FetchStatus::ok) {
        stop_following(peer);
        // An edge or its hub may have all that the other has: then it follows from the next heartbeat that names all.
        if (peer.tie == Tie::mesh || !store_.covers(peer.durable))
            start_pull(peer, "its log does not reach back", now);
        return;
    }
    // The asked-for range is what is needed first: it goes before what is parked.
    for (FetchedRecord& record : reply.records) {
        if (record.position <= peer.applied) continue;
        if (too_large(peer, record.position, record.body_bytes, now)) return;
        const auto [place, fresh] = peer.parked.try_emplace(
            record.position, Parked{record.previous,
                                    std::move(record.foreign),
                                    {},
                                    record.body_bytes,
                                    record.origin == RecordOrigin::skipped});
        // What was announced has its body now, or the part of it that is for this node.
        if (!fresh && !place->second.body.empty()) continue;
        peer.parked_bytes += record.body.size();
        place->second.body_bytes = record.body_bytes;
        place->second.body = std::move(record.body);
    }
    if (reply.records.empty())
        peer.applied =
            std::max(peer.applied, taken(Shortcut::relay_jumped) ? peer.announced : reply.through);
    // The first that is parked waits for what its publisher's log does not have.
    if (reply.records.empty() && !peer.parked.empty() &&
        (peer.parked.begin()->second.previous > peer.applied ||
         peer.parked.begin()->second.body.size() < peer.parked.begin()->second.body_bytes)) {
        stop_following(peer);
        return;
    }
    if (reply.records.empty())
        peer.announced = peer.applied;  // positions beyond hold nothing for others
    drain(peer, now);
}

void Replication::on_body_reply(Peer& peer, BodyReply& reply, std::uint64_t bytes, MonoTime now) {
    if (reply.request != peer.body_request || peer.body_request == 0) return;
    peer.body_request = 0;
    answered(peer, 0, bytes, now);
    const auto found = peer.parked.find(reply.position);
    if (found == peer.parked.end()) return;
    Parked& item = found->second;
    // Of what was announced the part may be less that is for this node.
    if (item.body.empty() && reply.status == BodyStatus::ok && reply.total_bytes < item.body_bytes)
        item.body_bytes = reply.total_bytes;
    if (reply.status != BodyStatus::ok || reply.total_bytes != item.body_bytes ||
        reply.offset != item.body.size() || reply.part.empty()) {
        stop_following(peer);
        return;
    }
    item.body += reply.part;
    peer.parked_bytes += reply.part.size();
    drain(peer, now);
}

}  // namespace skerry
