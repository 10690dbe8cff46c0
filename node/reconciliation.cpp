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

// Has it markers that say how much of a counter they had seen? The server may still have them, though nothing of the leaf is
// visible there, and what is only empty would take them away.
bool cancels(const Leaf& leaf) {
    return std::ranges::any_of(
        leaf, [](const Entry& entry) { return entry.removed && !entry.payload.empty(); });
}

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
    session.shards_asked = kShardsAsked;
    session.heard_at = session.moved_at = session.told_at = now;
    outcome_.reset();
}

void Reconciliation::begin_repair(Subject subject, ShardId shard, bool back, MonoTime now) {
    begin(std::move(subject), {{shard, store_.shard(shard).clock}}, now);
    session_->back = back;
    proceed(now);
}

void Reconciliation::begin_full(Subject subject, std::uint64_t session, ShardClocks bases,
                                MonoTime now) {
    begin(std::move(subject), std::move(bases), now);
    session_->stage = session;
    for (const auto& [shard, base] : session_->bases)
        session_->outcome.clocks.emplace_back(shard, base);
    proceed(now);
}

void Reconciliation::fail_with(std::string why, End end) {
    session_->outcome.failure = std::move(why);
    session_->outcome.end = end;
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

// ---- asking

void Reconciliation::send(Message message, MonoTime now) {
    session_->asked = std::move(message);
    session_->asked_at = now;
    requests_.emplace_back(session_->subject.link, session_->asked);
}

template <class Request>
bool Reconciliation::expects(LinkId link, std::uint64_t request, std::uint64_t nonce,
                             MonoTime now) {
    if (!session_ || session_->subject.link != link || request == 0 || session_->request != request)
        return false;
    if (!std::holds_alternative<Request>(session_->asked)) {
        fail_with("an answer to another question");
        return false;
    }
    if (nonce != session_->subject.nonce) {
        fail_with("the peer began anew", End::stale);
        return false;
    }
    session_->request = 0;
    session_->heard_at = now;
    return true;
}

bool Reconciliation::comparable(ShardId shard, const VersionVector& theirs) const {
    return !repairs() || (settled(store_, shard) && store_.shard(shard).clock == theirs);
}

void Reconciliation::ask_slices(MonoTime now) {
    Session& session = *session_;
    if (repairs()) session.bases[0].second = store_.shard(session.bases[0].first).clock;
    session.request = ++asked_;
    SliceRequest request{.request = session.request,
                         .bases = {},
                         .key = session.subject.key,
                         .shard = session.bases[session.shard].first,
                         .from = session.from,
                         .back = std::exchange(session.back, false)};
    for (std::size_t i = session.shard;
         i < session.bases.size() && request.bases.size() < session.shards_asked; ++i)
        request.bases.push_back(session.bases[i]);
    send(std::move(request), now);
}

void Reconciliation::on_reply(LinkId link, SliceReply& reply, MonoTime now) {
    if (!expects<SliceRequest>(link, reply.request, reply.nonce, now)) return;
    Session& session = *session_;
    const std::map<ShardId, VersionVector> clocks(reply.clocks.begin(), reply.clocks.end());
    // Bases of shards that one reply does not reach need not be sent with each request.
    session.shards_asked = std::clamp<std::size_t>(2 * clocks.size(), 2, kShardsAsked);
    for (Slice& slice : reply.slices) {
        const auto clock = clocks.find(slice.shard);
        const auto from = decode_place(session.from);
        const auto to = slice.to.empty() ? std::optional(kWalkEnd) : decode_place(slice.to);
        if (session.shard == session.bases.size() || clock == clocks.end() || !to ||
            !(*from < *to) || slice.shard != session.bases[session.shard].first)
            return fail_with("slices out of order");
        if (!comparable(slice.shard, clock->second)) break;
        const auto& [shard, base] = session.bases[session.shard];
        session.todo.push_back({Stretch{.shard = shard,
                                        .base = base,
                                        .from = session.from,
                                        .to = slice.to,
                                        .key = session.subject.key},
                                slice});
        session.from = slice.to;
        session.shard += slice.to.empty() ? 1 : 0;
        session.moved_at = now;
        ++session.outcome.slices;
    }
    if (!session.todo.empty()) proceed(now);  // else the shard is busy: tick() asks again
}

// ---- comparing

void Reconciliation::proceed(MonoTime now) {
    std::size_t rows_left = kRowsAStep;
    while (session_ && session_->request == 0 && rows_left > 0) {
        if (full() && !store_.can_compare_staged()) {
            session_->moved_at = now;  // until a checkpoint has taken what came
            return;
        }
        if (session_->fetching) return ask_leaves(now);
        if (session_->todo.empty())
            return session_->shard == session_->bases.size() ? finish() : ask_slices(now);
        if (session_->decoder || !compare(rows_left, now)) return;
    }
}

// False: it waits, or asks.
bool Reconciliation::compare(std::size_t& rows_left, MonoTime now) {
    Session& session = *session_;
    Task& task = session.todo.front();
    if (repairs() && !comparable(task.stretch.shard, task.stretch.base)) {
        slice_again();
        return false;
    }
    std::vector<std::uint64_t> own;
    std::uint64_t digest = 0;
    std::size_t rows = kStretchRowsMax;
    const auto stopped = visit_items(store_, Whose::asker, task.stretch, rows,
                                     [&](std::uint64_t item, const WalkedLeaf& walked) {
                                         if (full() && store_.stages(session.stage, key_of(walked)))
                                             return;
                                         own.push_back(item);
                                         digest += item;
                                     });
    ASSERT(stopped.has_value());
    rows_left -= std::min(rows_left, kStretchRowsMax - rows);
    if (*stopped) {
        task.said.reset();
        Task rest = task;
        task.stretch.to = rest.stretch.from = **stopped;
        session.todo.insert(session.todo.begin() + 1, std::move(rest));
    } else if (task.said && task.said->digest == digest && task.said->items == own.size()) {
        slice_done(now);
        return true;
    }
    session.decoder.emplace(session.subject.key, std::move(own));
    session.own_items = session.decoder->own_count();
    ask_symbols(now);
    return false;
}

// Half as many again each time: what is asked for too much stays below that.
void Reconciliation::ask_symbols(MonoTime now) {
    Session& session = *session_;
    const Task& task = session.todo.front();
    const std::uint64_t have = session.decoder->symbol_count();
    std::uint64_t count = std::max(kSymbolsAtFirst, have / 2);
    if (have == 0) {
        const std::uint64_t own = session.own_items;
        const std::uint64_t theirs = task.said ? task.said->items : own;
        const double least = static_cast<double>(std::max(own, theirs) - std::min(own, theirs));
        const double expected = std::max(least, task.said ? session.per_slice : 0.0);
        count += static_cast<std::uint64_t>(1.4 * expected);
    }
    session.request = ++asked_;
    send(SymbolRequest{.request = session.request,
                       .stretch = task.stretch,
                       .first = have,
                       .count = std::min<std::uint64_t>(count, kSymbolsMax)},
         now);
}

void Reconciliation::on_reply(LinkId link, SymbolReply& reply, MonoTime now) {
    if (!expects<SymbolRequest>(link, reply.request, reply.nonce, now)) return;
    Session& session = *session_;
    const ShardId shard = session.todo.front().stretch.shard;
    const bool first = session.decoder->symbol_count() == 0;
    if (reply.symbols.empty() || !comparable(shard, reply.clock) ||
        (!first && reply.clock != session.clock))
        return slice_again();
    session.clock = std::move(reply.clock);
    session.moved_at = now;
    const auto taken = session.decoder->take(reply.symbols);
    if (!taken) return fail_with(taken.error().text());
    if (*taken) return decoded(now);
    // No two stretches within their limits differ in more.
    if (session.decoder->symbol_count() > 8 * kStretchRowsMax)
        return fail_with("the symbols do not decode");
    ask_symbols(now);
}

void Reconciliation::decoded(MonoTime now) {
    Session& session = *session_;
    session.items = session.decoder->theirs_only();
    const std::vector<std::uint64_t>& mine_only = session.decoder->mine_only();
    const std::size_t differences = session.items.size() + mine_only.size();
    session.per_slice = (session.per_slice + static_cast<double>(differences)) / 2;
    session.outcome.items += differences;
    session.outcome.symbols += session.decoder->symbol_count();
    // A leaf of them has changed since: nothing is known of what it is now.
    if (!collect_keys(mine_only)) return slice_again();
    if (std::ranges::any_of(session.keys,
                            [](const LeafKey& key) { return key.sub.size() > kPartBytesMax; }))
        return fail_with("a leaf that fits no request", End::stuck);
    session.fetching = true;
    proceed(now);
}

bool Reconciliation::collect_keys(const std::vector<std::uint64_t>& mine_only) {
    Session& session = *session_;
    session.keys.clear();
    session.absent.clear();
    if (mine_only.empty()) return true;
    std::size_t found = 0;
    const std::set<std::uint64_t> wanted(mine_only.begin(), mine_only.end());
    std::size_t rows = kStretchRowsMax;
    const auto stopped =
        visit_items(store_, Whose::asker, session.todo.front().stretch, rows,
                    [&](std::uint64_t item, const WalkedLeaf& walked) {
                        if (!wanted.contains(item)) return;
                        ++found;
                        (repairs() || cancels(walked.leaf) ? session.keys : session.absent)
                            .push_back(key_of(walked));
                    });
    ASSERT(stopped.has_value());
    const bool all = found == mine_only.size();
    // What fits no request is only sent: the peer asks for it by its item.
    const auto too_long = [](const LeafKey& key) { return key.sub.size() > kPartBytesMax; };
    if (repairs()) std::erase_if(session.keys, too_long);
    return all;
}

// ---- fetching

void Reconciliation::ask_leaves(MonoTime now) {
    Session& session = *session_;
    if (session.items.empty() && session.keys.empty()) {
        if (full()) stage_bottoms();
        slice_done(now);
        return proceed(now);
    }
    session.request = ++asked_;
    LeafRequest request{.request = session.request,
                        .stretch = session.todo.front().stretch,
                        .items = session.items,
                        .keys = {},
                        .offset = session.part.size()};
    request.items.resize(std::min(request.items.size(), kWantedMax));
    if (request.items.empty()) {
        std::size_t bytes = 0;
        for (const LeafKey& key : session.keys) {
            bytes += key.key.size() + key.sub.size();
            if (!request.keys.empty() &&
                (bytes > kPartBytesMax || request.keys.size() == kWantedMax))
                break;
            request.keys.push_back(key);
        }
    }
    send(std::move(request), now);
}

// nullopt: the session has ended.
std::optional<Repair> Reconciliation::repair_of(LeafReply& reply) {
    Session& session = *session_;
    Repair repair{
        .shard = session.todo.front().stretch.shard, .masks = {}, .leaves = {}, .recounts = false};
    std::vector<StagedLeaf>& leaves = repair.leaves;
    for (ClearedKey& cleared : reply.cleared)
        repair.masks.push_back(
            {cleared.database, std::move(cleared.key), std::move(cleared.clock)});
    for (PulledLeaf& leaf : reply.leaves)
        leaves.push_back({std::move(leaf.key), std::move(leaf.leaf)});
    if (reply.part) {
        const LeafPart& part = *reply.part;
        if (part.offset == 0) session.part.clear();
        // A leaf that has changed meanwhile begins again.
        if (part.offset != session.part.size() || part.total_bytes > 2 * kValueBytesMax) {
            session.part.clear();
        } else {
            session.part += part.bytes;
        }
        if (!session.part.empty() && session.part.size() == part.total_bytes) {
            auto leaf = hash64(session.part) == part.total_hash
                            ? decode_leaf(session.part)
                            : Result<PulledLeaf>(fail(Code::malformed, "it changed meanwhile"));
            session.part.clear();
            if (leaf) leaves.push_back({std::move(leaf->key), std::move(leaf->leaf)});
        }
    }
    const auto sound = [&](const KeyMask& mask) {
        return reply.clock.covers(mask.clock) &&
               store_.address_of(mask.database, mask.key).shard == repair.shard;
    };
    if (store_.sound({{repair.shard, reply.clock}}, {}, leaves) &&
        std::ranges::all_of(repair.masks, sound))
        return repair;
    fail_with("a leaf that cannot be");
    return std::nullopt;
}

void Reconciliation::on_reply(LinkId link, LeafReply& reply, MonoTime now) {
    if (!expects<LeafRequest>(link, reply.request, reply.nonce, now)) return;
    Session& session = *session_;
    const ShardId shard = session.todo.front().stretch.shard;
    if (reply.busy || !comparable(shard, reply.clock)) return slice_again();
    const auto& asked = std::get<LeafRequest>(session.asked);
    const bool for_items = !asked.items.empty();
    const std::size_t count = for_items ? asked.items.size() : asked.keys.size();
    auto repair = repair_of(reply);
    if (!repair) return;
    if (reply.more && repair->leaves.empty() && !reply.part)
        return fail_with("leaves that do not come");
    // A leaf that is no longer what its item says has changed, perhaps by events that this side has: nothing brings it then.
    const std::size_t wanted = session.items.size();
    if (for_items || reply.more)
        forget_wanted(repair->leaves);
    else
        session.keys.erase(session.keys.begin(),
                           session.keys.begin() + static_cast<std::ptrdiff_t>(count));
    const bool changed = for_items && !reply.more && wanted - session.items.size() < count;
    session.moved_at = now;
    take(std::move(*repair), reply.clock);
    if (changed) return slice_again();
    proceed(now);
}

void Reconciliation::forget_wanted(const std::vector<StagedLeaf>& leaves) {
    Session& session = *session_;
    const Stretch& stretch = session.todo.front().stretch;
    for (const StagedLeaf& leaf : leaves) {
        const RowAddress address = store_.address_of(leaf.key.database, leaf.key.key);
        const ElementOrder order = is_key_level(leaf.key.kind)
                                       ? ElementOrder{leaf.key.kind, {}}
                                       : store_.order_of(leaf.key.kind, leaf.key.sub);
        if (const auto item = item_of(stretch.key, address, order, leaf.leaf))
            std::erase(session.items, *item);
        std::erase(session.keys, leaf.key);
    }
}

void Reconciliation::take(Repair repair, const VersionVector& clock) {
    Session& session = *session_;
    session.outcome.leaves += repair.leaves.size();
    if (!repairs()) {
        if (repair.leaves.empty()) return;
        session.outcome.clocks[session_shard()].second.join(clock);
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
void Reconciliation::stage_bottoms() {
    Session& session = *session_;
    const ShardId shard = session.todo.front().stretch.shard;
    Stage stage{
        .session = session.stage, .clocks = {{shard, session.clock}}, .leaves = {}, .cursor = {}};
    const auto flush = [&] {
        if (stage.leaves.empty()) return;
        session.outcome.clocks[session_shard()].second.join(session.clock);
        store_.stage(stage);
        stage.leaves.clear();
    };
    for (LeafKey& key : session.absent) {
        if (store_.stages(session.stage, key)) continue;
        stage.leaves.push_back({std::move(key), {}});
        if (stage.leaves.size() == kBottomsAtOnce) flush();
    }
    flush();
}

std::size_t Reconciliation::session_shard() const {
    const ShardId shard = session_->todo.front().stretch.shard;
    const auto found = std::ranges::find(session_->bases, shard, &ShardClocks::value_type::first);
    return static_cast<std::size_t>(found - session_->bases.begin());
}

// ---- from slice to slice

void Reconciliation::slice_done(MonoTime now) {
    Session& session = *session_;
    session.todo.pop_front();
    session.decoder.reset();
    session.items.clear();
    session.keys.clear();
    session.absent.clear();
    session.part.clear();
    session.fetching = false;
    session.moved_at = now;
}

// From the beginning of the first slice that is not done; tick() asks.
void Reconciliation::slice_again() {
    Session& session = *session_;
    const Stretch& first = session.todo.front().stretch;
    session.shard = session_shard();
    session.from = first.from;
    const MonoTime moved_at = session.moved_at;
    slice_done(moved_at);
    session.todo.clear();
}

void Reconciliation::tick(MonoTime now) {
    if (!session_) return;
    Session& session = *session_;
    tell_progress(now);
    if (now >= session.heard_at + kSilentMax && session.request != 0)
        return fail_with("the peer is silent");
    if (now >= session.moved_at + kPatience)
        return fail_with(repairs() ? "the clocks are not equal for long enough"
                                   : "a shard of the peer's is never at rest",
                         End::stuck);
    if (session.request != 0) {
        if (now >= session.asked_at + kAnswerWithin) send(session.asked, now);
        return;
    }
    if (now >= session.asked_at + kAgain) proceed(now);
}

void Reconciliation::tell_progress(MonoTime now) {
    Session& session = *session_;
    if (now < session.told_at + kProgressEvery) return;
    session.told_at = now;
    notes_.push_back(
        {NoteLevel::info,
         repairs() ? "repair_progress" : "reconcile_progress",
         {{"peer", session.subject.name},
          {"shards", std::to_string(session.shard) + "/" + std::to_string(session.bases.size())},
          {"slices", std::to_string(session.outcome.slices)},
          {"differences", std::to_string(session.outcome.items)},
          {"leaves", std::to_string(session.outcome.leaves)}}});
}

}  // namespace skerry
