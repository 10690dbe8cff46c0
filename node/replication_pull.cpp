// The part of node/replication.hpp that pulls, publishes, and keeps time.
#include <algorithm>

#include "crdt/shortcut.hpp"
#include "node/feed.hpp"
#include "node/replication.hpp"
#include "store/record.hpp"

namespace skerry {

namespace {
constexpr MonoTime kHelloEvery{1000};
// Again, so that new addresses spread, and a connection that is dead shows.
constexpr MonoTime kGreetEvery{5000};
constexpr MonoTime kClockToldEvery{60'000};
constexpr std::size_t kAnnouncedBytesMin =
    1024;  // a smaller body is hardly more than its announcement
constexpr MonoTime kAnswerWithin{3000};
constexpr MonoTime kAskAgain{100};
constexpr MonoTime kBehindMax{2500};
}  // namespace

// ---- pull: the client's side

Replication::Peer* Replication::peer_to_pull(Peer& peer, std::optional<PullCursor>& resumed,
                                             MonoTime now) {
    const auto open = store_.open_session();
    if (!open) return &peer;
    auto cursor = decode_pull_cursor(open->cursor);
    for (auto& [link, other] : peers_)
        if (cursor && other.up && other.greeted && !other.cut && other.who.nonce == cursor->nonce) {
            resumed = std::move(*cursor);
            return &other;
        }
    if (cursor && now < resume_until_) return nullptr;
    store_.drop_session(open->session);
    return &peer;
}

void Replication::start_pull(Peer& peer, std::string reason, MonoTime now) {
    if (pull_ || paused_ || !peer.up || !peer.greeted) return;
    std::optional<PullCursor> resumed;
    Peer* source = peer_to_pull(peer, resumed, now);
    if (source == nullptr) return;
    pull_.emplace();
    pull_->link = source->link;
    std::map<ShardId, VersionVector> target(source->durable.begin(), source->durable.end());
    if (!source->parked.empty())
        for (const auto& [shard, clock] : source->parked.begin()->second.foreign)
            target[shard].join(clock);
    pull_->target.assign(target.begin(), target.end());
    ++counters_.pulls;
    if (resumed) {
        pull_->session = store_.open_session()->session;
        pull_->nonce = resumed->nonce;
        pull_->begins = false;
        pull_->base = std::move(resumed->base);
        pull_->pass_clocks = std::move(resumed->pass_clocks);
        pull_->cursor = std::move(resumed->cursor);
        ++counters_.pulls_resumed;
    } else {
        pull_->session = random_() >> 1 | 1;  // neither 0 nor the greatest: the keys of staged rows
        for (std::uint16_t i = 0; i < store_.shard_count(); ++i)
            pull_->base.emplace_back(ShardId{i}, taken(Shortcut::volatile_base)
                                                     ? store_.shard(ShardId{i}).clock
                                                     : store_.shard(ShardId{i}).durable_clock);
    }
    const bool in_full = options_.full_percent != 0 && random_() % 100 < options_.full_percent;
    note(NoteLevel::info, resumed ? "pull_resumed" : "pull_began",
         {{"peer", source->who.name}, {"why", std::move(reason)}});
    if (in_full && !resumed) return pull_in_full(now);
    ask_pull(now);
}

void Replication::ask_pull(MonoTime now) {
    pull_->request = ++requests_;
    pull_->asked_at = now;
    send(pull_->link, PullRequest{.request = pull_->request,
                                  .session = pull_->session,
                                  .nonce = pull_->begins ? 0 : pull_->nonce,
                                  .base = pull_->base,
                                  .target = pull_->target,
                                  .cursor = pull_->cursor,
                                  .credit_bytes = options_.pull_credit_bytes,
                                  .full = pull_->full == FullPhase::pulling});
}

void Replication::interrupt_pull(std::string_view why, MonoTime now) {
    if (pull_->flipping) return;  // it needs the peer no more
    note(NoteLevel::info, "pull_interrupted", {{"why", std::string(why)}});
    if (pull_->full == FullPhase::comparing) reconciliation_.stop();
    resume_until_ = now + kResumeWithin;
    pull_.reset();
}

void Replication::end_pull(std::string_view why) {
    note(NoteLevel::info, "pull_ended", {{"why", std::string(why)}});
    if (pull_->full == FullPhase::comparing) reconciliation_.stop();
    store_.drop_session(pull_->session);
    pull_.reset();
}

std::optional<Stage> Replication::stage_of(PullChunk& chunk) {
    Stage stage{.session = pull_->session, .clocks = chunk.clocks, .leaves = {}, .cursor = {}};
    const bool live_only = reconciles() && taken(Shortcut::full_live_only);
    for (PulledLeaf& leaf : chunk.leaves)
        if (!live_only || leaf.leaf.any_live())
            stage.leaves.push_back({std::move(leaf.key), std::move(leaf.leaf)});
    chunk.leaves.clear();
    if (chunk.part) {
        if (chunk.part->offset == 0) pull_->part.clear();
        if (chunk.part->offset != pull_->part.size() ||
            chunk.part->total_bytes > 2 * kValueBytesMax) {
            end_pull("a leaf's pieces do not fit");
            return std::nullopt;
        }
        pull_->part += chunk.part->bytes;
        if (pull_->part.size() == chunk.part->total_bytes) {
            auto leaf = hash64(pull_->part) == chunk.part->total_hash
                            ? decode_leaf(pull_->part)
                            : Result<PulledLeaf>(fail(Code::malformed, "it changed meanwhile"));
            pull_->part.clear();
            if (!leaf) {
                end_pull("a leaf's pieces do not fit");
                return std::nullopt;
            }
            stage.leaves.push_back({std::move(leaf->key), std::move(leaf->leaf)});
        }
    }
    if (store_.sound(stage.clocks, stage.leaves)) return stage;
    end_pull("a leaf lies beyond the clock it came with");
    return std::nullopt;
}

void Replication::on_pull_chunk(Peer& peer, PullChunk& chunk, MonoTime now) {
    if (!pull_ || pull_->link != peer.link || chunk.request != pull_->request ||
        pull_->waiting_durable || pull_->flipping || pull_->full == FullPhase::comparing)
        return;
    if (chunk.status == PullStatus::need_full) return pull_in_full(now);
    if (chunk.status == PullStatus::refused) {
        pull_->request = 0;  // tick() asks again
        pull_->asked_at = now;
        return;
    }
    if (chunk.status != PullStatus::ok || (pull_->nonce != 0 && chunk.nonce != pull_->nonce))
        return end_pull("the server began anew");
    check_own_dots(chunk.clocks, peer.who.name);
    pull_->nonce = chunk.nonce;
    pull_->begins = false;
    pull_->request = 0;
    if (pull_->cursor.empty()) pull_->pass_clocks = chunk.clocks;
    std::optional<Stage> stage = stage_of(chunk);
    if (!stage) return;
    pull_->cursor = chunk.cursor;
    if (pull_->cursor.empty()) {
        // One clock for the whole pass: its leaves are the state at that clock. If not, another pass
        // brings what is outside the clock that this one began with.
        std::map<ShardId, VersionVector> base(pull_->pass_clocks.begin(), pull_->pass_clocks.end());
        if (pull_->full == FullPhase::pulling) pull_->compared = pull_->base;
        for (auto& [shard, clock] : pull_->base) clock.join(base[shard]);
        if (pull_->full == FullPhase::pulling)
            pull_->full = FullPhase::comparing;
        else if (chunk.clocks == pull_->pass_clocks || taken(Shortcut::one_pass))
            pull_->last = std::move(chunk);
        pull_->pass_clocks.clear();
    }
    ++counters_.pulled_chunks;
    counters_.pulled_leaves += stage->leaves.size();
    pull_->waiting_durable = true;
    if (!stage->leaves.empty()) {
        // Before what else differs is staged, a pull has nowhere to go on: it begins again.
        if (pull_->full != FullPhase::pulling && pull_->full != FullPhase::comparing)
            stage->cursor =
                encode(PullCursor{pull_->nonce, pull_->base, pull_->pass_clocks, pull_->cursor});
        store_.stage(*stage);
        pull_->staged = store_.applied();
    }
    continue_pull(now);
}

void Replication::continue_pull(MonoTime now) {
    if (!pull_ || !pull_->waiting_durable || store_.durable() < pull_->staged) return;
    if (!pull_->last && store_.staging_full()) return;  // until a checkpoint has taken it
    pull_->waiting_durable = false;
    if (pull_->full == FullPhase::comparing) return compare_in_full(now);
    if (!pull_->last) return ask_pull(now);
    pull_->flipping = true;
    if (store_.flip(pull_->session, pull_->last->clocks)) finish_flip(now);
}

void Replication::finish_flip(MonoTime now) {
    const PullSession session = std::move(*pull_);
    pull_.reset();
    ++counters_.flips;
    counters_.reconciles += session.full != FullPhase::none ? 1 : 0;
    Peer* peer = peer_of(session.link);
    if (peer == nullptr) return;
    note(NoteLevel::info, "pull_flipped",
         {{"peer", peer->who.name}, {"leaves", std::to_string(counters_.pulled_leaves)}});
    peer->behind_since.reset();
    // Everything up to its checkpoint is here now: follow its log from there.
    if (!peer->following || peer->nonce != session.nonce ||
        peer->applied.value < session.last->position.value) {
        const StreamPosition announced = peer->announced;
        if (!peer->following || peer->nonce != session.nonce) stop_following(*peer);
        peer->nonce = session.nonce;
        peer->following = true;
        peer->applied = session.last->position;
        peer->announced = std::max(announced, peer->applied);
    }
    drain(*peer, now);
    drain_all(now);
}

// ---- publishing

bool Replication::backlogged() {
    const std::uint64_t queued = transport_.counters().publish_queued_bytes;
    const bool was = std::exchange(backlogged_, queued > kPublishQueuedMax);
    if (was != backlogged_)
        note(backlogged_ ? NoteLevel::warn : NoteLevel::info,
             backlogged_ ? "publish_backlog" : "publish_caught_up",
             {{"queued_bytes", std::to_string(queued)}});
    return backlogged_;
}

void Replication::committed(const Commit& commit, MonoTime now) {
    count_own_events(commit, now);
    if (fenced_) return;
    const bool announces = !commit.published.empty() && backlogged();
    for (const Published& published : commit.published) {
        const std::string_view body =
            std::string_view(commit.frames).substr(published.body_at, published.body_bytes);
        ++counters_.published;
        if (options_.gossip_address.empty()) continue;
        const StreamPosition position{published.position.value};
        const StreamPosition previous{published.previous.value};
        const bool spared = announces && body.size() >= kAnnouncedBytesMin;
        if (body.size() <= kPublishedBodyBytesMax && !spared) {
            BatchMessage message{store_.self(), store_.options().nonce, position,
                                 previous,      published.foreign,      std::string(body)};
            transport_.publish(encode(
                message, body.size() > 4096 ? Compression::where_it_helps : Compression::never));
        } else {
            counters_.announced_for_backlog += spared ? 1 : 0;
            Announce message{store_.self(), store_.options().nonce, position,
                             previous,      published.foreign,      {},
                             body.size()};
            transport_.publish(encode(message));
        }
    }
    continue_pull(now);
}

void Replication::publish_heartbeat(MonoTime now) {
    heartbeat_at_ = now;
    if (options_.gossip_address.empty()) return;
    Heartbeat heartbeat;
    heartbeat.writer = store_.self();
    heartbeat.nonce = store_.options().nonce;
    heartbeat.name = options_.name;
    heartbeat.durable = store_.durable_clocks();
    // Published are the durable positions; what is sealed beyond them comes with its own message.
    heartbeat.last = StreamPosition{std::min(store_.last_published(), store_.durable()).value};
    for (const auto& [shard, clock] : heartbeat.durable)
        if (store_.shard(shard).clock == clock)
            heartbeat.digests.emplace_back(shard, store_.shard(shard).digest);
    heartbeat.wall_ms = static_cast<std::uint64_t>(store_.now().count());
    transport_.publish(encode(heartbeat, Compression::where_it_helps));
}

void Replication::ask_clocks() {
    for (const auto& [link, peer] : peers_)
        if (peer.up && peer.greeted) send(link, Ping{++requests_});
}

// ---- time

void Replication::greet(Peer& peer, MonoTime now) {
    const MonoTime every =
        peer.greeted && now < peer.heard_at + kSilentMax ? kGreetEvery : kHelloEvery;
    if (!peer.up || now < peer.hello_at + every) return;
    peer.hello_at = now;
    if (!peer.hello_since) peer.hello_since = now;
    send(peer.link, Hello{introduction()});
}

// Its heartbeats come each second, and it answers Hello: when one of the two stops, that connection may be dead without
// TCP knowing, so another one is tried in its place.
void Replication::watch_silence(Peer& peer, MonoTime now) {
    if (peer.cut) {  // a drill is no silence
        peer.hello_since.reset();
        if (peer.feed_since) peer.feed_since = now;
        return;
    }
    const bool silent = peer.heard_at >= MonoTime(0) && now >= peer.heard_at + kSilentMax;
    if (std::exchange(peer.silent, silent) != silent)
        note(silent ? NoteLevel::warn : NoteLevel::info, silent ? "peer_silent" : "peer_heard",
             {{"peer", peer.who.name}, {"address", peer.address}});
    if (peer.up && peer.hello_since && now >= *peer.hello_since + kSilentMax) {
        ++counters_.reconnects;
        if (pull_ && pull_->link == peer.link) interrupt_pull("the peer does not answer", now);
        peer.up = false;
        peer.hello_since.reset();
        transport_.connect(peer.link, peer.address);
    }
    if (peer.feed_since && now >= *peer.feed_since + kSilentMax) {
        ++counters_.reconnects;
        peer.feed_since = now;
        transport_.subscribe(peer.link, peer.who.publish_address);
    }
}

void Replication::note_clock(Peer& peer, const Heartbeat& heartbeat, MonoTime now) {
    constexpr std::uint64_t kWallMax = std::uint64_t{1} << 48;  // as an Hlc has it
    peer.clock = WallTime(std::min(heartbeat.wall_ms, kWallMax)) - store_.now();
    if (std::chrono::abs(peer.clock) < kClockApart || now < peer.clock_told_at + kClockToldEvery)
        return;
    peer.clock_told_at = now;
    note(NoteLevel::warn, "clock_apart",
         {{"peer", peer.who.name}, {"ahead_ms", std::to_string(peer.clock.count())}});
}

void Replication::tick(MonoTime now) {
    if (now >= heartbeat_at_ + kHeartbeat && !fenced_) publish_heartbeat(now);
    for (auto& [link, peer] : peers_) {
        greet(peer, now);
        watch_silence(peer, now);
        const bool unanswered = now >= peer.asked_at + kAnswerWithin;
        if (unanswered) peer.fetch_request = peer.body_request = 0;
        if (peer.stuck_since && now >= *peer.stuck_since + kParkedMax && !pull_) {
            peer.stuck_since = now;
            if (store_.covers(peer.parked.empty() ? ShardClocks{}
                                                  : peer.parked.begin()->second.foreign))
                drain(peer, now);
            else
                start_pull(peer, "dependencies that do not come", now);
        }
        if (peer.behind_since && store_.covers(peer.durable)) peer.behind_since.reset();
        if (peer.behind_since && now >= *peer.behind_since + kBehindMax && !pull_ &&
            now < peer.heard_at + kSilentMax && peer.fetch_request == 0 && peer.body_request == 0) {
            peer.behind_since = now;
            start_pull(peer, "it knows what does not come otherwise", now);
        }
    }
    verification_.tick(now);
    send_verification();
    step_reconciliation(now);
    continue_pull(now);
    if (pull_ && pull_->flipping && !store_.flipping()) finish_flip(now);
    if (!pull_ || pull_->waiting_durable || pull_->flipping || pull_->full == FullPhase::comparing)
        return;
    if (pull_->request == 0 ? now >= pull_->asked_at + kAskAgain
                            : now >= pull_->asked_at + kAnswerWithin) {
        const Peer* peer = peer_of(pull_->link);
        if (peer == nullptr || now > peer->heard_at + 4 * kSilentMax)
            interrupt_pull("the peer is silent", now);
        else
            ask_pull(now);
    }
}

// ---- comparing on demand

Replication::VerifyStart Replication::verify(std::optional<std::string_view> name, bool repairs,
                                             MonoTime now) {
    std::vector<Verification::Subject> subjects;
    for (const auto& [link, peer] : peers_)
        if (name ? peer.who.name == *name : peer.greeted) subjects.push_back({link, peer.who.name});
    if (name && subjects.empty()) return VerifyStart::no_such_peer;
    if (verification_.under_way()) return VerifyStart::under_way;
    std::vector<ShardId> shards;
    for (std::uint16_t i = 0; i < store_.shard_count(); ++i) shards.push_back(ShardId{i});
    verification_.begin(std::move(subjects), std::move(shards), now);
    verify_asked_ = true;
    verify_repairs_ = repairs;
    send_verification();
    return VerifyStart::begun;
}

std::optional<std::vector<Verdict>> Replication::take_verdicts() {
    auto verdicts = verification_.take_verdicts();
    if (verdicts && !std::exchange(verify_asked_, false)) return std::nullopt;  // after an alarm
    if (!verdicts || !std::exchange(verify_repairs_, false)) return verdicts;
    for (const Verdict& verdict : *verdicts)
        for (const Verdict::Difference& difference : verdict.differing)
            for (const auto& [link, peer] : peers_)
                if (peer.who.name == verdict.peer) want_repair(link, difference.shard, true);
    return verdicts;
}

void Replication::on_digest_request(const ConnectionToken& from, const DigestRequest& request) {
    const auto reply = serve_digests(store_, request);
    if (!reply) {
        ++counters_.malformed;
        note(NoteLevel::warn, "frame_refused", {{"peer", "?"}, {"why", reply.error().text()}});
        return;
    }
    transport_.reply(from, encode(*reply));
}

void Replication::send_verification() {
    for (auto& [link, request] : verification_.take_requests()) send(link, request);
    for (Note& told : verification_.take_notes()) notes_.push_back(std::move(told));
    counters_.verify_differences = verification_.differences();
}

void Replication::update_stable_cut() {
    std::map<ShardId, VersionVector> cut;
    for (auto& [shard, clock] : store_.durable_clocks()) cut.emplace(shard, std::move(clock));
    for (const auto& [link, peer] : peers_) {
        if (!peer.reported) return store_.set_stable_cut(std::nullopt);
        const std::map<ShardId, VersionVector> theirs(peer.durable.begin(), peer.durable.end());
        for (auto& [shard, clock] : cut) {
            const auto found = theirs.find(shard);
            clock = found == theirs.end() ? VersionVector{} : clock.meet(found->second);
        }
    }
    store_.set_stable_cut(ShardClocks(cut.begin(), cut.end()));
}

std::size_t Replication::peers_covering(const ShardClocks& clocks) const {
    return static_cast<std::size_t>(std::ranges::count_if(peers_, [&](const auto& pair) {
        const Peer& peer = pair.second;
        if (!peer.reported) return false;
        const std::map<ShardId, VersionVector> theirs(peer.durable.begin(), peer.durable.end());
        return std::ranges::all_of(clocks, [&](const auto& wanted) {
            const auto found = theirs.find(wanted.first);
            return found != theirs.end() && found->second.covers(wanted.second);
        });
    }));
}

}  // namespace skerry
