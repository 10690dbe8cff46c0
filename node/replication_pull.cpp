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
constexpr MonoTime kAskAgain{100};
constexpr MonoTime kBehindMax{2500};
constexpr MonoTime kCutEvery{200};
}  // namespace

// ---- pull: the client's side

// The same boot, if it is there: it has its rows at hand. Else whoever has all that this pull was shown.
Replication::Peer* Replication::peer_to_resume(const PullCursor& cursor) {
    Peer* other = nullptr;
    for (auto& [link, peer] : peers_) {
        if (!peer.up || !peer.greeted || peer.cut) continue;
        if (peer.who.nonce == cursor.nonce) return &peer;
        const bool holds_it = std::ranges::all_of(
            cursor.base, [&](const auto& pair) { return shares(peer, pair.first); });
        const bool has_it = has_said(peer) && covers_all(peer.durable, cursor.seen);
        if (holds_it && (has_it || taken(Shortcut::seen_ignored))) other = &peer;
    }
    return other;
}

MonoTime Replication::resume_end(const PullCursor& cursor) const {
    const MonoTime spent{static_cast<MonoTime::rep>(cursor.spent_ms)};
    return resume_until_ + std::min(spent, kResumeWithinMax);
}

Replication::Peer* Replication::peer_to_pull(Peer& peer, std::optional<PullCursor>& resumed,
                                             MonoTime now) {
    const auto open = store_.open_session();
    if (!open) return &peer;
    auto cursor = decode_pull_cursor(open->cursor);
    if (cursor && (!cursor->whole || cursor->foreign == foreign_here())) {
        if (Peer* const source = peer_to_resume(*cursor); source != nullptr) {
            resumed = std::move(*cursor);
            return source;
        }
        if (now < resume_end(*cursor)) return nullptr;
    }
    store_.drop_session(open->session);
    whole_waits_ = false;
    return &peer;
}

void Replication::start_pull(Peer& peer, std::string reason, MonoTime now) {
    if (pull_ || paused_ || gone_ || !peer.up || !peer.greeted) return;
    std::optional<PullCursor> resumed;
    Peer* source = peer_to_pull(peer, resumed, now);
    if (source == nullptr) return;
    pull_.emplace(Pacing(options_.pull_credit_bytes));
    pull_->link = source->link;
    pull_->reason = reason;
    pull_->progress.since = pull_->progress.noted_at = now;
    std::map<ShardId, VersionVector> target(source->durable.begin(), source->durable.end());
    if (!source->parked.empty())
        for (const auto& [shard, clock] : source->parked.begin()->second.foreign)
            target[shard].join(clock);
    ++counters_.pulls;
    if (resumed) {
        resume(std::move(*resumed), *source);
    } else {
        pull_->whole = store_.clocks().empty();
        pull_->foreign = foreign_here();
        pull_->session = random_() >> 1 | 1;  // neither 0 nor the greatest: the keys of staged rows
        for (const ShardId shard : shared_with(*source))
            pull_->base.emplace_back(shard, taken(Shortcut::volatile_base)
                                                ? store_.shard(shard).clock
                                                : store_.shard(shard).durable_clock);
    }
    for (const auto& [shard, clock] : pull_->seen) target[shard].join(clock);
    // One that goes on asks for what it asked for, though more may be held here since.
    std::erase_if(target, [&](const auto& wanted) {
        return std::ranges::find(pull_->base, wanted.first, &ShardClocks::value_type::first) ==
               pull_->base.end();
    });
    pull_->target.assign(target.begin(), target.end());
    note(NoteLevel::info, resumed ? "pull_resumed" : "pull_began",
         {{"peer", source->who.name},
          {"why", std::move(reason)},
          {"leaves", std::to_string(pull_->progress.leaves)}});
    const bool fresh = pull_->seen.empty() && !pull_->whole;
    if (fresh && by_chance(options_.full_percent))
        return begin_full(by_chance(options_.all_percent) ? Full::all : Full::pulling, now);
    if (pull_->full != Full::comparing) return ask_pull(now);
    pull_->waiting_durable = true;
    continue_pull(now);
}

void Replication::resume(PullCursor cursor, const Peer& source) {
    ++counters_.pulls_resumed;
    const bool same_boot = source.who.nonce == cursor.nonce;
    counters_.pulls_moved += same_boot ? 0 : 1;
    counters_.fulls_resumed += cursor.full != Full::none ? 1 : 0;
    counters_.compares_resumed += cursor.full == Full::comparing ? 1 : 0;
    whole_waits_ = false;
    pull_->session = store_.open_session()->session;
    // To another boot this is a first request: it makes a checkpoint that holds the target first. So it does for the closing pass
    // of a full reconcile, which needs one that has what was said; a comparison reads none.
    pull_->nonce = cursor.full == Full::comparing              ? source.who.nonce
                   : same_boot && cursor.full != Full::closing ? cursor.nonce
                                                               : 0;
    pull_->moved = cursor.moved || !same_boot;
    pull_->base = std::move(cursor.base);
    pull_->pass_clocks = std::move(cursor.pass_clocks);
    pull_->seen = std::move(cursor.seen);
    pull_->cursor = std::move(cursor.cursor);
    pull_->whole = cursor.whole;
    pull_->floors = std::move(cursor.floors);
    pull_->full = cursor.full;
    pull_->foreign = cursor.foreign;
    pull_->compared = std::move(cursor.compared);
    pull_->runs = std::move(cursor.runs);
    SyncProgress& progress = pull_->progress;
    progress.leaves = progress.leaves_before = cursor.leaves;
    progress.bytes = progress.bytes_before = cursor.bytes;
    progress.spent_before_ms = cursor.spent_ms;
}

void Replication::ask_pull(MonoTime now) {
    // What has become durable here meanwhile needs no sending, and the server may have purged markers below it.
    if (pull_->request == 0 && !pull_->whole)
        for (auto& [shard, clock] : pull_->base) clock.join(store_.shard(shard).durable_clock);
    if (pull_->request == 0) pull_->turn_began = now;
    // A question that is put again keeps its number: whichever answer comes first counts.
    pull_->request = pull_->request == 0 ? ++requests_ : pull_->request;
    pull_->asked_at = now;
    send(pull_->link,
         PullRequest{.request = pull_->request,
                     .session = pull_->session,
                     .nonce = pull_->nonce,
                     .base = pull_->base,
                     .target = pull_->target,
                     .cursor = pull_->cursor,
                     .credit_bytes = pull_->pacing.credit(),
                     // Then the floors are looked at here.
                     .full = pull_->full == Full::pulling || pull_->full == Full::closing});
}

std::string Replication::cursor_now(MonoTime now) const {
    const SyncProgress& progress = pull_->progress;
    return encode(PullCursor{.nonce = pull_->nonce,
                             .base = pull_->base,
                             .pass_clocks = pull_->pass_clocks,
                             .seen = pull_->seen,
                             .cursor = pull_->cursor,
                             .leaves = progress.leaves,
                             .bytes = progress.bytes,
                             .spent_ms = progress.spent_ms(now),
                             .whole = pull_->whole,
                             .floors = pull_->floors,
                             .full = pull_->full,
                             .foreign = pull_->foreign,
                             .moved = pull_->moved,
                             .compared = pull_->compared,
                             .runs = pull_->runs});
}

void Replication::interrupt_pull(std::string_view why, MonoTime now) {
    if (pull_->flipping) return;  // it needs the peer no more
    if (pull_->full == Full::comparing) note_compared(now);
    stop_comparing();
    note(NoteLevel::info, "pull_interrupted",
         {{"why", std::string(why)}, {"leaves", std::to_string(pull_->progress.leaves)}});
    resume_until_ = now + kResumeWithin;
    const auto open = store_.open_session();
    whole_waits_ = pull_->whole && open && open->session == pull_->session;
    pull_.reset();
}

void Replication::end_pull(std::string_view why) {
    stop_comparing();
    note(NoteLevel::info, "pull_ended", {{"why", std::string(why)}});
    store_.drop_session(pull_->session);
    pull_.reset();
}

Replication::Part Replication::take_part(const LeafPart& part, Stage& stage) {
    if (part.offset == 0) {
        pull_->part.clear();
        pull_->part_cursor = pull_->cursor;
        pull_->part_hash = part.total_hash;
    }
    if (part.offset != pull_->part.size() || part.total_bytes > 2 * kValueBytesMax)
        return Part::unsound;
    if (part.total_hash != pull_->part_hash) return Part::changed;
    pull_->part += part.bytes;
    if (pull_->part.size() < part.total_bytes) return Part::taken;
    const bool whole = hash64(pull_->part) == part.total_hash;
    auto leaf = decode_leaf(pull_->part);
    pull_->part.clear();
    if (!whole || !leaf) return Part::unsound;
    stage.leaves.push_back({std::move(leaf->key), std::move(leaf->leaf)});
    return Part::taken;
}

std::optional<Stage> Replication::stage_of(PullChunk& chunk, MonoTime now) {
    Stage stage{.session = pull_->session, .clocks = chunk.clocks, .leaves = {}, .cursor = {}};
    const bool live_only = pull_->full != Full::none && taken(Shortcut::full_live_only);
    for (PulledLeaf& leaf : chunk.leaves)
        if (!live_only || leaf.leaf.any_live())
            stage.leaves.push_back({std::move(leaf.key), std::move(leaf.leaf)});
    const Part part = chunk.part ? take_part(*chunk.part, stage) : Part::taken;
    if (part == Part::changed) {  // since its first piece came: from there again
        pull_->part.clear();
        pull_->cursor = std::exchange(pull_->part_cursor, {});
        ask_pull(now);
        return std::nullopt;
    }
    if (part == Part::taken && store_.sound(stage.clocks, chunk.floors, stage.leaves)) return stage;
    end_pull(part == Part::taken
                 ? "a leaf or a floor is not sound, or lies beyond the clock it came with"
                 : "a leaf's pieces do not fit");
    return std::nullopt;
}

bool Replication::goes_on_with(const Peer& peer, const PullChunk& chunk, MonoTime now) {
    if (chunk.status == PullStatus::refused) {
        pull_->request = 0;  // tick() asks again
        pull_->asked_at = now;
        return false;
    }
    if (pull_->nonce != 0 && chunk.nonce != pull_->nonce) {
        move_pull(now);
        return false;
    }
    if (chunk.status == PullStatus::need_full) {
        on_need_full(peer, chunk.floors, now);
        return false;
    }
    if (chunk.status != PullStatus::ok) {
        end_pull("the server does not serve it");
        return false;
    }
    check_own_dots(chunk.clocks, peer.who.name);
    // The leaves so far are at clocks up to `seen`: those to come must not be from before.
    if (covers_all(chunk.clocks, pull_->seen) || taken(Shortcut::seen_ignored)) return true;
    end_pull("the server has less than what is staged");
    return false;
}

// The server has begun anew. What is staged is good, if it has all of that: its checkpoint is what it was, or later.
void Replication::move_pull(MonoTime now) {
    ++counters_.pulls_moved;
    pull_->moved = true;
    pull_->nonce = 0;
    pull_->request = 0;
    std::map<ShardId, VersionVector> target(pull_->target.begin(), pull_->target.end());
    for (const auto& [shard, clock] : pull_->seen) target[shard].join(clock);
    pull_->target.assign(target.begin(), target.end());
    ask_pull(now);
}

void Replication::on_pull_chunk(Peer& peer, PullChunk& chunk, std::uint64_t bytes, MonoTime now) {
    if (!pull_ || pull_->link != peer.link || chunk.request != pull_->request ||
        pull_->waiting_durable || pull_->flipping || !goes_on_with(peer, chunk, now))
        return;
    pull_->nonce = chunk.nonce;
    pull_->seen = chunk.clocks;
    pull_->request = 0;
    pull_->progress.bytes += bytes;
    counters_.pulled_bytes += bytes;
    if (pull_->cursor.empty()) pull_->pass_clocks = chunk.clocks;
    if (!floors_within_pull(chunk.floors)) return on_need_full(peer, chunk.floors, now);
    join_floors(chunk.floors);
    std::optional<Stage> stage = stage_of(chunk, now);
    if (!stage) return;
    pull_->cursor = chunk.cursor;
    pull_->progress.leaves_left = chunk.estimate_leaves == 0 && !chunk.cursor.empty()
                                      ? -1  // not known
                                      : static_cast<std::int64_t>(chunk.estimate_leaves);
    if (pull_->cursor.empty()) end_pass(chunk);
    ++counters_.pulled_chunks;
    counters_.pulled_leaves += stage->leaves.size();
    pull_->progress.leaves += stage->leaves.size();
    pull_->waiting_durable = true;
    if (!stage->leaves.empty()) {
        stage->cursor = cursor_now(now);
        store_.stage(*stage);
        pull_->staged = store_.applied();
    }
    continue_pull(now);
}

// One clock for the whole pass: its leaves are the state at that clock. If not, another pass brings what is outside the clock
// that this one began with.
void Replication::end_pass(PullChunk& chunk) {
    std::map<ShardId, VersionVector> base(pull_->pass_clocks.begin(), pull_->pass_clocks.end());
    if (pull_->full == Full::pulling) {
        pull_->full = Full::comparing;
        std::map<ShardId, VersionVector> floors(pull_->floors.begin(), pull_->floors.end());
        for (const auto& [shard, clock] : pull_->base)
            if (!clock.covers(floors[shard]) || options_.full_percent != 0)
                pull_->compared.emplace_back(shard, clock);
        pull_->runs = {{.first = 0, .end = pull_->compared.size(), .from = {}}};
    } else if (chunk.clocks == pull_->pass_clocks || taken(Shortcut::one_pass)) {
        pull_->last = std::move(chunk);
    }
    for (auto& [shard, clock] : pull_->base) clock.join(base[shard]);
    pull_->pass_clocks.clear();
}

void Replication::continue_pull(MonoTime now) {
    if (!pull_ || !pull_->waiting_durable || store_.durable() < pull_->staged) return;
    if (!pull_->last && store_.staging_full()) return;  // until a checkpoint has taken it
    if (pull_->full == Full::comparing) return compare_in_full(now);
    if (pull_->last && pull_->full == Full::all && !stage_absent()) return;
    pull_->waiting_durable = false;
    pull_->pacing.answered(now - pull_->turn_began);
    if (!pull_->last) return ask_pull(now);
    pull_->flipping = true;
    if (store_.flip(pull_->session, pull_->last->clocks, pull_->floors)) finish_flip(now);
}

void Replication::finish_flip(MonoTime now) {
    const PullSession session = std::move(*pull_);
    pull_.reset();
    ++counters_.flips;
    Peer* peer = peer_of(session.link);
    if (peer == nullptr) return;
    note(NoteLevel::info, "pull_flipped",
         {{"peer", peer->who.name}, {"leaves", std::to_string(session.progress.leaves)}});
    peer->behind_since.reset();
    // Everything up to its checkpoint is here now, unless more is held by both since the pull began: follow its log from there.
    const bool everything = std::ranges::all_of(shared_with(*peer), [&](ShardId shard) {
        return std::ranges::find(session.base, shard, &ShardClocks::value_type::first) !=
               session.base.end();
    });
    const bool behind = !peer->following || peer->nonce != session.nonce ||
                        peer->applied.value < session.last->position.value;
    if (everything && behind) {
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
        if (options_.gossip_address.empty()) continue;  // an edge is asked by its hub
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
    serve_all_standing(now);
    continue_pull(now);
}

Heartbeat Replication::heartbeat() const {
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
    return heartbeat;
}

void Replication::publish_heartbeat(MonoTime now) {
    heartbeat_at_ = now;
    if (options_.gossip_address.empty()) return;
    Heartbeat all = heartbeat();
    list_edges(all, now);
    transport_.publish(encode(all, Compression::where_it_helps));
}

void Replication::ask_clocks() {
    for (const auto& [link, peer] : peers_)
        if (peer.up && peer.greeted) send(link, Ping{++requests_});
}

// ---- time

void Replication::greet(Peer& peer, MonoTime now) {
    const MonoTime every =
        peer.greeted && now < peer.heard_at + kSilentMax ? kGreetEvery : kHelloEvery;
    if (!peer.up || gone_ || now < peer.hello_at + every || peer.tie == Tie::edge) return;
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
    if (peer.tie == Tie::edge) return;  // it calls again
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
    if (now >= heartbeat_at_ + kHeartbeat && !fenced_ && !gone_) publish_heartbeat(now);
    step_members(now);
    step_hub(now);
    if (!fenced_ && !gone_) step_tied(now);
    for (auto& [link, peer] : peers_) {
        greet(peer, now);
        watch_silence(peer, now);
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
            now < peer.heard_at + kSilentMax &&
            (!in_flight(peer, now) || (peer.tie != Tie::mesh && peer.idle))) {
            peer.behind_since = now;
            start_pull(peer, "it knows what does not come otherwise", now);
        }
    }
    if (now >= cut_at_ + kCutEvery) update_stable_cut(now);
    verification_.tick(now);
    send_verification();
    step_reconciliation(now);
    step_waiting(now);
    continue_pull(now);
    if (pull_ && pull_->flipping && !store_.flipping()) finish_flip(now);
    note_progress(now);
    step_catch_up(now);
    ask_pull_again(now);
}

void Replication::ask_pull_again(MonoTime now) {
    if (!pull_ || pull_->waiting_durable || pull_->flipping) return;
    const bool answered = pull_->request == 0;  // with: not yet
    if (now < pull_->asked_at + (answered ? kAskAgain : pull_->pacing.patience())) return;
    const Peer* peer = peer_of(pull_->link);
    if (peer == nullptr || now > peer->heard_at + 4 * kSilentMax)
        return interrupt_pull("the peer is silent", now);
    if (!answered) {
        // While nothing comes from there at all, more questions would only lie on the same heap.
        if (peer->heard_at < pull_->asked_at) return;
        ++counters_.asked_again;
        pull_->pacing.unanswered();
    }
    ask_pull(now);
}

// ---- comparing on demand

Replication::VerifyStart Replication::verify(std::optional<std::string_view> name, bool repairs,
                                             MonoTime now) {
    std::vector<Verification::Subject> subjects;
    for (const auto& [link, peer] : peers_)
        if (name ? peer.who.name == *name
                 : peer.greeted && (peer.tie != Tie::edge || peer.up))  // else it has another hub
            subjects.push_back({link, peer.who.name, shared_with(peer)});
    if (name && subjects.empty()) return VerifyStart::no_such_peer;
    if (verification_.under_way()) return VerifyStart::under_way;
    verification_.begin(std::move(subjects), now);
    verify_asked_ = true;
    verify_repairs_ = repairs;
    send_verification();
    return VerifyStart::begun;
}

std::optional<std::vector<Verdict>> Replication::take_verdicts() {
    auto verdicts = verification_.take_verdicts();
    if (verdicts && !std::exchange(verify_asked_, false)) return std::nullopt;  // after an alarm
    if (!verdicts || !std::exchange(verify_repairs_, false)) return verdicts;
    // Of all shards: rows may be right, and what is counted of them not.
    for (const Verdict& verdict : *verdicts)
        for (const auto& [link, peer] : peers_)
            if (peer.who.name == verdict.peer)
                for (const ShardId shard : shared_with(peer)) want_repair(link, shard, true);
    return verdicts;
}

void Replication::on_digest_request(const ConnectionToken& from, const DigestRequest& request) {
    const auto reply = serve_digests(store_, request);
    if (!reply) {
        ++counters_.malformed;
        note(NoteLevel::warn, "frame_refused", {{"peer", "?"}, {"why", reply.error().text()}});
        return;
    }
    answer(from, encode(*reply));
}

void Replication::send_verification() {
    for (auto& [link, request] : verification_.take_requests()) send(link, request);
    for (Note& told : verification_.take_notes()) notes_.push_back(std::move(told));
    counters_.verify_differences = verification_.differences();
}

bool Replication::covers(const Peer& peer, const ShardClocks& clocks) const {
    if (!has_said(peer)) return false;
    const std::map<ShardId, VersionVector> theirs(peer.durable.begin(), peer.durable.end());
    return std::ranges::all_of(clocks, [&](const auto& wanted) {
        const auto found = theirs.find(wanted.first);
        return found != theirs.end() && found->second.covers(wanted.second);
    });
}

std::size_t Replication::peers_covering(const ShardClocks& clocks) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        peers_, [&](const auto& pair) { return covers(pair.second, clocks); }));
}

}  // namespace skerry
