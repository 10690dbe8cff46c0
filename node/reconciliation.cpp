#include "node/reconciliation.hpp"

#include <algorithm>
#include <set>

#include "crdt/shortcut.hpp"

namespace skerry {

namespace {
constexpr std::size_t kKeysTold = 8;
constexpr std::size_t kBottomsAtOnce = 1024;  // in one record of the log
constexpr std::uint64_t kSymbolsAtFirst = 4;
constexpr std::size_t kShardsAsked = 64;
constexpr std::size_t kRowsAStep = 2 * kStretchRowsMax;

// The server may still have markers, though nothing of the leaf is visible there. What is only empty would take them away here,
// though none was purged: whoever pulls from here would not hear of what they removed, or of what they cancel.
bool has_markers(const Leaf& leaf) { return std::ranges::any_of(leaf, &Entry::removed); }

std::string hex(std::uint64_t value) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out(16, '0');
    for (std::size_t i = 16; i > 0; --i, value >>= 4) out[i - 1] = kDigits[value & 15];
    return out;
}
}  // namespace

// ---- beginning and end

void Reconciliation::begin(Subject subject, ShardClocks bases, MonoTime now) {
    ASSERT(!under_way());
    Session& session = session_.emplace();
    session.subject = std::move(subject);
    session.bases = std::move(bases);
    session.heard_at = session.told_at = now;
    outcome_.reset();
}

void Reconciliation::begin_repair(Subject subject, ShardId shard, bool back, MonoTime now) {
    begin(std::move(subject), {{shard, store_.shard(shard).clock}}, now);
    session_->back = back;
    add_lane(0, 1, now);
    proceed(session_->lanes.front(), now);
}

void Reconciliation::begin_full(Subject subject, FullStage stage, MonoTime now) {
    begin(std::move(subject), std::move(stage.bases), now);
    Session& session = *session_;
    session.stage = stage.session;
    session.asks_for_absent = stage.asks_for_absent;
    session.least.insert(stage.least.begin(), stage.least.end());
    for (const auto& [shard, base] : session.bases)
        session.outcome.clocks.emplace_back(shard, VersionVector{});
    for (CompareRun& run : stage.runs) {
        if (run.first >= run.end || run.end > session.bases.size()) continue;
        add_lane(run.first, run.end, now).from = std::move(run.from);
    }
    if (session.lanes.empty()) return finish();
    for (auto lane = session.lanes.begin(); session_ && lane != session.lanes.end();)
        proceed(*lane++, now);
}

std::vector<CompareRun> Reconciliation::left() const {
    std::vector<CompareRun> runs;
    for (const Lane& lane : session_->lanes) {
        CompareRun run{.first = lane.shard, .end = lane.end, .from = lane.from};
        if (!lane.todo.empty()) {
            const Stretch& next = lane.todo.front().stretch;
            run.first = index_of(next.shard);
            run.from = next.from;
        }
        if (run.first < run.end) runs.push_back(std::move(run));
    }
    return runs;
}

void Reconciliation::fail_with(std::string why, End end) {
    session_->outcome.failure = std::move(why);
    session_->outcome.end = end;
    if (full()) session_->outcome.left = left();
    outcome_ = std::move(session_->outcome);
    session_.reset();
}

void Reconciliation::finish() {
    if (repairs()) {
        const ShardId shard = session_->bases[0].first;
        if (!settled(store_, shard)) return;
        const std::uint64_t before = store_.stats().recounted;
        store_.repair({.shard = shard, .masks = {}, .leaves = {}, .recounts = true});
        session_->outcome.recounted = store_.stats().recounted != before;
    }
    outcome_ = std::move(session_->outcome);
    session_.reset();
}

// ---- lanes

Reconciliation::Lane& Reconciliation::add_lane(std::size_t from, std::size_t end, MonoTime now) {
    Lane& lane = session_->lanes.emplace_back();
    lane.shard = from;
    lane.end = end;
    lane.shards_asked = kShardsAsked;
    lane.moved_at = now;
    return lane;
}

// Halves of the longest runs, so many that a link is not idle while an answer is on its way.
void Reconciliation::spread(MonoTime now) {
    Session& session = *session_;
    if (!session.soonest) return;
    const auto worth = std::clamp<std::size_t>(
        static_cast<std::size_t>(*session.soonest / kLaneWorth), 1, kLanesMax);
    while (session.lanes.size() < worth) {
        const auto left = [](const Lane& lane) { return lane.end - lane.shard; };
        Lane& longest = *std::ranges::max_element(session.lanes, {}, left);
        if (left(longest) < 2) return;
        const std::size_t middle = longest.shard + (left(longest) + 1) / 2;
        proceed(add_lane(middle, std::exchange(longest.end, middle), now), now);
    }
}

void Reconciliation::lane_done(Lane& lane) {
    if (session_->lanes.size() == 1) return finish();
    session_->lanes.remove_if([&](const Lane& each) { return &each == &lane; });
}

void Reconciliation::proceed(Lane& lane, MonoTime now) {
    std::size_t rows_left = kRowsAStep;
    while (lane.request == 0 && rows_left > 0) {
        if (full() && !store_.can_compare_staged()) {
            lane.moved_at = now;  // until a checkpoint has taken what came
            return;
        }
        if (lane.fetching) {
            if (!lane.items.empty() || !lane.keys.empty()) return ask_leaves(lane, now);
            if (full()) stage_bottoms(lane);
            slice_done(lane, now);
        } else if (!lane.todo.empty()) {
            if (!compare(lane, rows_left, now)) return;
        } else if (lane.shard < lane.end) {
            return ask_slices(lane, now);
        } else {
            return lane_done(lane);
        }
    }
}

// ---- asking

void Reconciliation::send(Lane& lane, Message message, MonoTime now) {
    lane.asked = std::move(message);
    lane.asked_first_at = lane.asked_at = now;
    requests_.emplace_back(session_->subject.link, lane.asked);
}

template <class Request>
Reconciliation::Lane* Reconciliation::expecting(LinkId link, std::uint64_t request,
                                                std::uint64_t nonce, MonoTime now) {
    if (!session_ || session_->subject.link != link || request == 0) return nullptr;
    const auto lane = std::ranges::find(session_->lanes, request, &Lane::request);
    if (lane == session_->lanes.end()) return nullptr;
    if (!std::holds_alternative<Request>(lane->asked)) {
        fail_with("an answer to another question");
        return nullptr;
    }
    if (nonce != session_->subject.nonce) {
        fail_with("the peer began anew", End::away);
        return nullptr;
    }
    lane->request = 0;
    session_->heard_at = now;
    const MonoTime took = now - lane->asked_first_at;
    session_->soonest = std::min(session_->soonest.value_or(took), took);
    return &*lane;
}

bool Reconciliation::has_least(ShardId shard, const VersionVector& theirs) {
    const auto least = session_->least.find(shard);
    if (least == session_->least.end() || theirs.covers(least->second) ||
        taken(Shortcut::seen_ignored))
        return true;
    fail_with("the server has less than what is staged");
    return false;
}

bool Reconciliation::comparable(ShardId shard, const VersionVector& theirs) const {
    return !repairs() || (settled(store_, shard) && store_.shard(shard).clock == theirs);
}

void Reconciliation::ask_slices(Lane& lane, MonoTime now) {
    Session& session = *session_;
    if (repairs()) session.bases[0].second = store_.shard(session.bases[0].first).clock;
    lane.request = ++asked_;
    SliceRequest request{.request = lane.request,
                         .bases = {},
                         .key = session.subject.key,
                         .shard = session.bases[lane.shard].first,
                         .from = lane.from,
                         .back = std::exchange(session.back, false)};
    for (std::size_t i = lane.shard; i < lane.end && request.bases.size() < lane.shards_asked; ++i)
        request.bases.push_back(session.bases[i]);
    send(lane, std::move(request), now);
}

void Reconciliation::on_reply(LinkId link, SliceReply& reply, MonoTime now) {
    Lane* const lane = expecting<SliceRequest>(link, reply.request, reply.nonce, now);
    if (lane == nullptr) return;
    const Session& session = *session_;
    const std::map<ShardId, VersionVector> clocks(reply.clocks.begin(), reply.clocks.end());
    // Bases of shards that one reply does not reach need not be sent with each request.
    lane->shards_asked = std::clamp<std::size_t>(2 * clocks.size(), 2, kShardsAsked);
    for (Slice& slice : reply.slices) {
        if (lane->shard == lane->end) break;  // the rest has become another lane's
        const auto clock = clocks.find(slice.shard);
        const auto from = decode_place(lane->from);
        const auto to = slice.to.empty() ? std::optional(kWalkEnd) : decode_place(slice.to);
        if (clock == clocks.end() || !to || !(*from < *to) ||
            slice.shard != session.bases[lane->shard].first)
            return fail_with("slices out of order");
        if (!has_least(slice.shard, clock->second)) return;
        if (!comparable(slice.shard, clock->second)) break;
        const auto& [shard, base] = session.bases[lane->shard];
        lane->todo.push_back({.stretch = {.shard = shard,
                                          .base = base,
                                          .from = lane->from,
                                          .to = slice.to,
                                          .key = session.subject.key},
                              .said = slice,
                              .clock = clock->second});
        lane->from = slice.to;
        lane->shard += slice.to.empty() ? 1 : 0;
        lane->moved_at = now;
        ++session_->outcome.slices;
    }
    if (!lane->todo.empty()) proceed(*lane, now);  // else the shard is busy: tick() asks again
}

// ---- comparing

// False: it waits, or asks, or all has ended.
bool Reconciliation::compare(Lane& lane, std::size_t& rows_left, MonoTime now) {
    Task& task = lane.todo.front();
    if (repairs() && !comparable(task.stretch.shard, task.stretch.base)) {
        slice_again(lane);
        return false;
    }
    std::vector<std::uint64_t> own;
    std::uint64_t sum = 0;
    std::size_t rows = kStretchRowsMax;
    const auto stopped =
        visit_items(store_, Whose::asker, task.stretch, rows,
                    [&](std::uint64_t item, const WalkedLeaf& walked) {
                        if (full() && store_.stages(session_->stage, key_of(walked))) return;
                        own.push_back(item);
                        sum ^= item;
                    });
    ASSERT(stopped.has_value());
    rows_left -= std::min(rows_left, kStretchRowsMax - rows);
    if (*stopped) {
        task.said.reset();
        Task rest = task;
        task.stretch.to = rest.stretch.from = **stopped;
        lane.todo.insert(lane.todo.begin() + 1, std::move(rest));
    } else if (task.said && task.said->symbol.sum == sum && task.said->items == own.size()) {
        slice_done(lane, now);
        return true;
    }
    lane.decoder.emplace(session_->subject.key, std::move(own));
    const Task& first = lane.todo.front();
    if (first.said) {
        lane.clock = first.clock;
        const auto taken = lane.decoder->take({&first.said->symbol, 1});
        if (!taken) {
            fail_with(taken.error().text());
            return false;
        }
        if (*taken) return decoded(lane);  // one difference is told by one symbol
    }
    ask_symbols(lane, now);
    return false;
}

// Half as many again each time: what is asked for too much stays below that.
void Reconciliation::ask_symbols(Lane& lane, MonoTime now) {
    const Task& task = lane.todo.front();
    const std::uint64_t have = lane.decoder->symbol_count();
    std::uint64_t count = std::max(kSymbolsAtFirst, have / 2);
    if (have <= 1) {
        const std::uint64_t own = lane.decoder->own_count();
        const std::uint64_t theirs = task.said ? task.said->items : own;
        const double least = static_cast<double>(std::max(own, theirs) - std::min(own, theirs));
        const double expected = std::max(least, task.said ? session_->per_slice : 0.0);
        count += static_cast<std::uint64_t>(1.4 * expected);
    }
    lane.request = ++asked_;
    send(lane,
         SymbolRequest{.request = lane.request,
                       .stretch = task.stretch,
                       .first = have,
                       .count = std::min<std::uint64_t>(count, kSymbolsMax)},
         now);
}

void Reconciliation::on_reply(LinkId link, SymbolReply& reply, MonoTime now) {
    Lane* const lane = expecting<SymbolRequest>(link, reply.request, reply.nonce, now);
    if (lane == nullptr) return;
    Task& task = lane->todo.front();
    const std::size_t have = lane->decoder->symbol_count();
    if (reply.symbols.empty()) return slice_again(*lane);
    if (!has_least(task.stretch.shard, reply.clock)) return;
    if (!comparable(task.stretch.shard, reply.clock)) return slice_again(*lane);
    if (have > 0 && reply.clock != lane->clock) {
        if (have > 1) return slice_again(*lane);
        task.said.reset();  // the slice's symbol is of another state
        lane->decoder.reset();
        return proceed(*lane, now);
    }
    lane->clock = std::move(reply.clock);
    lane->moved_at = now;
    const auto taken = lane->decoder->take(reply.symbols);
    if (!taken) return fail_with(taken.error().text());
    if (*taken) {
        if (decoded(*lane)) proceed(*lane, now);
        return;
    }
    // No two stretches within their limits differ in more.
    if (lane->decoder->symbol_count() > 8 * kStretchRowsMax)
        return fail_with("the symbols do not decode");
    ask_symbols(*lane, now);
}

// False: from the beginning of the slice again, or all has ended.
bool Reconciliation::decoded(Lane& lane) {
    Session& session = *session_;
    lane.items = lane.decoder->theirs_only();
    const std::vector<std::uint64_t>& mine_only = lane.decoder->mine_only();
    const std::size_t differences = lane.items.size() + mine_only.size();
    session.per_slice = (session.per_slice + static_cast<double>(differences)) / 2;
    session.outcome.items += differences;
    session.outcome.symbols += lane.decoder->symbol_count();
    // A leaf of them has changed since: nothing is known of what it is now.
    if (!collect_keys(lane, mine_only)) {
        slice_again(lane);
        return false;
    }
    if (std::ranges::any_of(lane.keys,
                            [](const LeafKey& key) { return key.sub.size() > kPartBytesMax; })) {
        fail_with("a leaf that fits no request", End::stuck);
        return false;
    }
    lane.fetching = true;
    return true;
}

bool Reconciliation::collect_keys(Lane& lane, const std::vector<std::uint64_t>& mine_only) {
    lane.keys.clear();
    lane.absent.clear();
    if (mine_only.empty()) return true;
    std::size_t found = 0;
    const std::set<std::uint64_t> wanted(mine_only.begin(), mine_only.end());
    std::size_t rows = kStretchRowsMax;
    const auto stopped =
        visit_items(store_, Whose::asker, lane.todo.front().stretch, rows,
                    [&](std::uint64_t item, const WalkedLeaf& walked) {
                        if (!wanted.contains(item)) return;
                        ++found;
                        const bool asked_for =
                            repairs() || session_->asks_for_absent || has_markers(walked.leaf);
                        (asked_for ? lane.keys : lane.absent).push_back(key_of(walked));
                    });
    ASSERT(stopped.has_value());
    const bool all = found == mine_only.size();
    // What fits no request is only sent: the peer asks for it by its item.
    const auto too_long = [](const LeafKey& key) { return key.sub.size() > kPartBytesMax; };
    if (repairs()) std::erase_if(lane.keys, too_long);
    return all;
}

// ---- fetching

void Reconciliation::ask_leaves(Lane& lane, MonoTime now) {
    lane.request = ++asked_;
    LeafRequest request{.request = lane.request,
                        .stretch = lane.todo.front().stretch,
                        .items = lane.items,
                        .keys = {},
                        .offset = lane.part.size()};
    request.items.resize(std::min(request.items.size(), kWantedMax));
    if (request.items.empty()) {
        std::size_t bytes = 0;
        for (const LeafKey& key : lane.keys) {
            bytes += key.key.size() + key.sub.size();
            if (!request.keys.empty() &&
                (bytes > kPartBytesMax || request.keys.size() == kWantedMax))
                break;
            request.keys.push_back(key);
        }
    }
    send(lane, std::move(request), now);
}

// nullopt: the session has ended.
std::optional<Repair> Reconciliation::repair_of(Lane& lane, LeafReply& reply) {
    Repair repair{
        .shard = lane.todo.front().stretch.shard, .masks = {}, .leaves = {}, .recounts = false};
    std::vector<StagedLeaf>& leaves = repair.leaves;
    for (ClearedKey& cleared : reply.cleared)
        repair.masks.push_back(
            {cleared.kind, cleared.database, std::move(cleared.key), std::move(cleared.clock)});
    for (PulledLeaf& leaf : reply.leaves)
        leaves.push_back({std::move(leaf.key), std::move(leaf.leaf)});
    if (reply.part) {
        const LeafPart& part = *reply.part;
        if (part.offset == 0) lane.part.clear();
        // A leaf that has changed meanwhile begins again.
        if (part.offset != lane.part.size() || part.total_bytes > 2 * kValueBytesMax) {
            lane.part.clear();
        } else {
            lane.part += part.bytes;
        }
        if (!lane.part.empty() && lane.part.size() == part.total_bytes) {
            auto leaf = hash64(lane.part) == part.total_hash
                            ? decode_leaf(lane.part)
                            : Result<PulledLeaf>(fail(Code::malformed, "it changed meanwhile"));
            lane.part.clear();
            if (leaf) leaves.push_back({std::move(leaf->key), std::move(leaf->leaf)});
        }
    }
    const auto sound = [&](const KeyMask& mask) {
        return reply.clock.covers(mask.clock) &&
               store_.is_placed({mask.database, mask.kind, mask.key, {}}) &&
               store_.address_of(mask.database, mask.key).shard == repair.shard;
    };
    if (store_.sound({{repair.shard, reply.clock}}, {}, leaves) &&
        std::ranges::all_of(repair.masks, sound))
        return repair;
    fail_with("a leaf that cannot be");
    return std::nullopt;
}

void Reconciliation::on_reply(LinkId link, LeafReply& reply, MonoTime now) {
    Lane* const lane = expecting<LeafRequest>(link, reply.request, reply.nonce, now);
    if (lane == nullptr) return;
    const ShardId shard = lane->todo.front().stretch.shard;
    if (reply.busy) return slice_again(*lane);
    if (!has_least(shard, reply.clock)) return;
    if (!comparable(shard, reply.clock)) return slice_again(*lane);
    const auto& asked = std::get<LeafRequest>(lane->asked);
    const bool for_items = !asked.items.empty();
    const std::size_t count = for_items ? asked.items.size() : asked.keys.size();
    auto repair = repair_of(*lane, reply);
    if (!repair) return;
    if (reply.more && repair->leaves.empty() && !reply.part)
        return fail_with("leaves that do not come");
    // A leaf that is no longer what its item says has changed, perhaps by events that this side has: nothing brings it then.
    const std::size_t wanted = lane->items.size();
    if (for_items || reply.more)
        forget_wanted(*lane, repair->leaves);
    else
        lane->keys.erase(lane->keys.begin(),
                         lane->keys.begin() + static_cast<std::ptrdiff_t>(count));
    const bool changed = for_items && !reply.more && wanted - lane->items.size() < count;
    lane->moved_at = now;
    take(std::move(*repair), reply.clock);
    if (changed) return slice_again(*lane);
    proceed(*lane, now);
}

void Reconciliation::forget_wanted(Lane& lane, const std::vector<StagedLeaf>& leaves) {
    const Stretch& stretch = lane.todo.front().stretch;
    for (const StagedLeaf& leaf : leaves) {
        const RowAddress address = store_.address_of(leaf.key.database, leaf.key.key);
        const ElementOrder order = is_key_level(leaf.key.kind)
                                       ? ElementOrder{leaf.key.kind, {}}
                                       : store_.order_of(leaf.key.kind, leaf.key.sub);
        if (const auto item = item_of(stretch.key, address, order, leaf.leaf))
            std::erase(lane.items, *item);
        std::erase(lane.keys, leaf.key);
    }
}

// The peer may have purged them before this side has: it would not know, and nobody who pulls from here would hear of it.
void Reconciliation::keep_markers(StagedLeaf& staged, const VersionVector& clock) {
    const LeafKey& key = staged.key;
    KeyRecord* const record = store_.find(key.database, key.key);
    if (record == nullptr) return;
    const Leaf mine = is_key_level(key.kind) ? record->leaf(key.kind)
                                             : store_.element(*record, key.kind, key.sub);
    for (const Entry& entry : mine)
        if (entry.removed && clock.contains(entry.dot()) &&
            staged.leaf.of(entry.replica) == nullptr)
            staged.leaf.put(entry);
}

void Reconciliation::take(Repair repair, const VersionVector& clock) {
    Session& session = *session_;
    session.outcome.leaves += repair.leaves.size();
    if (!repairs()) {
        if (repair.leaves.empty()) return;
        session.outcome.clocks[index_of(repair.shard)].second.join(clock);
        for (StagedLeaf& leaf : repair.leaves) keep_markers(leaf, clock);
        store_.stage({.session = session.stage,
                      .clocks = {{repair.shard, clock}},
                      .leaves = std::move(repair.leaves),
                      .cursor = {}});
        return;
    }
    for (const StagedLeaf& leaf : repair.leaves)
        if (session.outcome.keys.size() < kKeysTold)
            session.outcome.keys.push_back(
                hex(store_.address_of(leaf.key.database, leaf.key.key).order.order));
    const std::uint64_t before = store_.stats().repaired_leaves;
    store_.repair(std::move(repair));
    session.outcome.changed += store_.stats().repaired_leaves - before;
}

// What the peer has no more, as of the clock of its symbols: an entry here that the clock covers is dead.
void Reconciliation::stage_bottoms(Lane& lane) {
    Session& session = *session_;
    const ShardId shard = lane.todo.front().stretch.shard;
    Stage stage{
        .session = session.stage, .clocks = {{shard, lane.clock}}, .leaves = {}, .cursor = {}};
    const auto flush = [&] {
        if (stage.leaves.empty()) return;
        session.outcome.clocks[index_of(shard)].second.join(lane.clock);
        store_.stage(stage);
        stage.leaves.clear();
    };
    for (LeafKey& key : lane.absent) {
        if (store_.stages(session.stage, key)) continue;
        stage.leaves.push_back({std::move(key), {}});
        if (stage.leaves.size() == kBottomsAtOnce) flush();
    }
    flush();
}

std::size_t Reconciliation::index_of(ShardId shard) const {
    const auto found = std::ranges::find(session_->bases, shard, &ShardClocks::value_type::first);
    return static_cast<std::size_t>(found - session_->bases.begin());
}

// ---- from slice to slice

void Reconciliation::slice_done(Lane& lane, MonoTime now) {
    lane.todo.pop_front();
    lane.decoder.reset();
    lane.items.clear();
    lane.keys.clear();
    lane.absent.clear();
    lane.part.clear();
    lane.fetching = false;
    lane.moved_at = now;
}

// From the beginning of the first slice that is not done; tick() asks.
void Reconciliation::slice_again(Lane& lane) {
    const Stretch& first = lane.todo.front().stretch;
    lane.shard = index_of(first.shard);
    lane.from = first.from;
    slice_done(lane, lane.moved_at);
    lane.todo.clear();
}

void Reconciliation::tick(MonoTime now) {
    if (!session_) return;
    tell_progress(now);
    for (auto next = session_->lanes.begin(); next != session_->lanes.end();) {
        Lane& lane = *next++;
        if (lane.request != 0 &&
            now >= std::max(session_->heard_at, lane.asked_first_at) + kSilentMax)
            return fail_with("the peer is silent", End::away);
        if (now >= lane.moved_at + kPatience)
            return fail_with(repairs() ? "the clocks are not equal for long enough"
                                       : "a shard of the peer's is never at rest",
                             End::stuck);
        if (lane.request != 0) {
            if (now < lane.asked_at + kAnswerWithin) continue;
            lane.asked_at = now;
            requests_.emplace_back(session_->subject.link, lane.asked);
        } else if (now >= lane.asked_at + kAgain) {
            proceed(lane, now);
            if (!session_) return;
        }
    }
    spread(now);
}

void Reconciliation::tell_progress(MonoTime now) {
    Session& session = *session_;
    if (now < session.told_at + kProgressEvery) return;
    session.told_at = now;
    std::size_t left = 0;
    for (const Lane& lane : session.lanes) left += lane.end - lane.shard;
    notes_.push_back({NoteLevel::info,
                      repairs() ? "repair_progress" : "reconcile_progress",
                      {{"peer", session.subject.name},
                       {"shards", std::to_string(session.bases.size() - left) + "/" +
                                      std::to_string(session.bases.size())},
                       {"slices", std::to_string(session.outcome.slices)},
                       {"differences", std::to_string(session.outcome.items)},
                       {"leaves", std::to_string(session.outcome.leaves)}}});
}

}  // namespace skerry
