#include "node/verification.hpp"

#include <algorithm>
#include <set>

namespace skerry {

namespace {
constexpr std::size_t kShardsAtOnce = 64;  // of one slice, however few rows they have
constexpr std::size_t kDifferencesTold = 16;

struct Cursor {
    ShardId shard;
    WalkPlace place;
};

std::string encode_cursor(const Cursor& cursor) {
    std::string out;
    Packer packer(out);
    packer.array(8);
    packer.number(cursor.shard.value);
    packer.number(cursor.place.database);
    packer.number(cursor.place.key.order);
    packer.number(cursor.place.key.check);
    packer.number(cursor.place.inside ? 1 : 0);
    packer.number(static_cast<std::uint64_t>(cursor.place.element.kind));
    packer.number(cursor.place.element.hash.high);
    packer.number(cursor.place.element.hash.low);
    return out;
}

Result<Cursor> decode_cursor(std::string_view bytes) {
    Cursor cursor;
    if (bytes.empty()) return cursor;
    Unpacker in(bytes);
    in.array_of(8);
    cursor.shard = in.shard();
    cursor.place.database = static_cast<DatabaseId>(in.number_up_to(kDatabaseIdCount - 1));
    cursor.place.key.order = in.number();
    cursor.place.key.check = in.number();
    cursor.place.inside = in.number_up_to(1) == 1;
    cursor.place.element.kind = static_cast<LeafKind>(in.number_up_to(255));
    cursor.place.element.hash.high = in.number();
    cursor.place.element.hash.low = in.number();
    if (auto done = in.done("digest cursor"); !done) return std::unexpected(done.error());
    return cursor;
}

std::uint64_t sum_of(const BucketDigests& buckets) {
    std::uint64_t sum = 0;
    for (const auto& [bucket, digest] : buckets) sum += digest;
    return sum;
}

std::vector<std::uint16_t> differing(const BucketDigests& a, const BucketDigests& b) {
    std::set<std::uint16_t> found;
    for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)})
        for (const auto& [bucket, digest] : *one) {
            const auto there = other->find(bucket);
            if (there == other->end() || there->second != digest) found.insert(bucket);
        }
    return {found.begin(), found.end()};
}

std::string text(const std::vector<std::uint16_t>& buckets) {
    std::string out;
    for (const std::uint16_t bucket : buckets)
        out += (out.empty() ? "" : ",") + std::to_string(bucket);
    return out;
}
}  // namespace

std::string_view name_of(Verdict::Damage damage) {
    switch (damage) {
        case Verdict::Damage::here:
            return "here";
        case Verdict::Damage::there:
            return "there";
        case Verdict::Damage::both:
            return "both";
        case Verdict::Damage::unknown:
            break;
    }
    return "unknown";
}

Result<DigestReply> serve_digests(Store& store, const DigestRequest& request) {
    auto cursor = decode_cursor(request.cursor);
    if (!cursor) return std::unexpected(cursor.error());
    DigestReply reply{
        .request = request.request, .clocks = {}, .shards = {}, .rows = 0, .cursor = {}};
    std::size_t rows_left = Verification::kSliceRows;
    for (const auto& [shard, asked] : request.clocks) {
        if (!store.holds(shard)) return fail(Code::malformed, "digest: shard");
        if (shard < cursor->shard) continue;
        WalkPlace place = shard == cursor->shard ? cursor->place : WalkPlace{};
        if (rows_left == 0 || reply.clocks.size() == kShardsAtOnce) {
            reply.cursor = encode_cursor({shard, place});
            break;
        }
        const ShardState& state = store.shard(shard);
        reply.clocks.emplace_back(shard, state.durable_clock);
        if (state.durable_clock != asked || state.clock != asked || store.drains(shard)) continue;
        BucketDigests sums;
        const bool done = add_rows(store, shard, place, rows_left, sums);
        reply.shards.push_back({shard, state.digest, {sums.begin(), sums.end()}});
        if (done) continue;
        reply.cursor = encode_cursor({shard, place});
        break;
    }
    reply.rows = Verification::kSliceRows - rows_left;
    return reply;
}

void Verification::note(NoteLevel level, std::string event,
                        std::vector<std::pair<std::string, std::string>> fields) {
    notes_.push_back({level, std::move(event), std::move(fields)});
}

void Verification::begin(std::vector<Subject> subjects, MonoTime now) {
    ASSERT(!under_way());
    subjects_.assign(std::make_move_iterator(subjects.begin()),
                     std::make_move_iterator(subjects.end()));
    verdicts_.clear();
    finished_ = false;
    next_subject(now);
}

void Verification::next_subject(MonoTime now) {
    current_.reset();
    if (subjects_.empty()) {
        finished_ = true;
        return;
    }
    Session& session = current_.emplace();
    session.subject = std::move(subjects_.front());
    subjects_.pop_front();
    session.verdict.peer = session.subject.name;
    const std::vector<ShardId>& shards = session.subject.shards;
    session.verdict.shards = shards.size();
    session.todo.assign(shards.begin(), shards.end());
    session.begun_at = session.heard_at = session.told_at = now;
    note(NoteLevel::info, "verify_began",
         {{"peer", session.subject.name}, {"shards", std::to_string(shards.size())}});
    next_group(now);
}

void Verification::next_group(MonoTime now) {
    Session& session = *current_;
    session.group.clocks.clear();
    session.here = session.there = {};
    session.request = 0;
    if (session.todo.empty()) {
        if (session.later.empty()) return end_session(now);
        if (now < session.resume_at) return;
        session.todo.swap(session.later);
    }
    while (!session.todo.empty() && session.group.clocks.size() < kGroup) {
        const ShardId shard = session.todo.front();
        session.todo.pop_front();
        session.tried_at.try_emplace(shard, now);
        session.group.clocks.emplace_back(shard, store_.shard(shard).durable_clock);
    }
    ask(now);
}

void Verification::ask(MonoTime now) {
    Session& session = *current_;
    session.request = ++asked_;
    session.asked_at = now;
    session.group.request = session.request;
    session.group.cursor = session.there.cursor;
    requests_.emplace_back(session.subject.link, session.group);
}

void Verification::absorb(Side& side, const DigestReply& reply) const {
    const auto asked = [&](ShardId shard) {
        return std::ranges::any_of(current_->group.clocks,
                                   [&](const auto& entry) { return entry.first == shard; });
    };
    for (const auto& [shard, clock] : reply.clocks) {
        if (!asked(shard)) continue;
        const auto [sum, fresh] = side.sums.try_emplace(shard);
        if (!fresh && sum->second.clock != clock) sum->second.moved = true;
        sum->second.clock = clock;
        if (std::ranges::find(reply.shards, shard, &ShardDigests::shard) == reply.shards.end())
            sum->second.moved = true;
    }
    for (const ShardDigests& shard : reply.shards) {
        if (!asked(shard.shard)) continue;
        Sum& sum = side.sums[shard.shard];
        if (sum.kept.value_or(shard.digest) != shard.digest) sum.moved = true;
        sum.kept = shard.digest;
        for (const auto& [bucket, digest] : shard.buckets) sum.buckets[bucket] += digest;
    }
    side.cursor = reply.cursor;
    side.done = reply.cursor.empty();
}

void Verification::step_here() {
    Session& session = *current_;
    if (session.group.clocks.empty() || session.here.done) return;
    DigestRequest own = session.group;
    own.cursor = session.here.cursor;
    const auto slice = serve_digests(store_, own);
    ASSERT(slice.has_value());
    session.verdict.rows += slice->rows;
    absorb(session.here, *slice);
}

void Verification::on_reply(LinkId link, const DigestReply& reply, MonoTime now) {
    if (!current_ || current_->subject.link != link || current_->request == 0 ||
        current_->request != reply.request)
        return;
    current_->request = 0;
    current_->heard_at = now;
    absorb(current_->there, reply);
    step_here();
    if (!current_->there.done)
        ask(now);
    else if (current_->here.done)
        judge(now);
}

void Verification::tick(MonoTime now) {
    if (!current_) return;
    tell_progress(now);
    Session& session = *current_;
    if (session.group.clocks.empty()) return next_group(now);
    step_here();
    if (session.there.done) {
        if (session.here.done) judge(now);
        return;
    }
    if (now >= session.heard_at + kSilentMax) {
        session.verdict.answered = false;
        return end_session(now);
    }
    if (session.request != 0 && now >= session.asked_at + kAnswerWithin) ask(now);
}

void Verification::judge(MonoTime now) {
    const ShardClocks group = std::exchange(current_->group.clocks, {});
    for (const auto& [shard, clock] : group) judge_shard(shard, now);
    current_->resume_at = now + kRetry;
    next_group(now);
}

void Verification::judge_shard(ShardId shard, MonoTime now) {
    Session& session = *current_;
    const Sum& here = session.here.sums[shard];
    const Sum& there = session.there.sums[shard];
    if (here.moved || there.moved || here.clock != there.clock) {
        if (now < session.tried_at[shard] + kPatience) return session.later.push_back(shard);
        const std::uint64_t common = here.clock.meet(there.clock).event_count();
        session.verdict.not_comparable.push_back(
            {shard, there.clock.event_count() - common, here.clock.event_count() - common});
        return;
    }
    const auto buckets = differing(here.buckets, there.buckets);
    const bool damaged_here = sum_of(here.buckets) != here.kept;
    const bool damaged_there = sum_of(there.buckets) != there.kept;
    if (buckets.empty() && here.kept == there.kept && !damaged_here && !damaged_there) {
        ++session.verdict.equal;
        return;
    }
    const auto damage = damaged_here && damaged_there ? Verdict::Damage::both
                        : damaged_here                ? Verdict::Damage::here
                        : damaged_there               ? Verdict::Damage::there
                                                      : Verdict::Damage::unknown;
    ++differences_;
    if (session.verdict.differing.size() < kDifferencesTold)
        note(NoteLevel::error, "verify_difference",
             {{"peer", session.subject.name},
              {"shard", std::to_string(shard.value)},
              {"buckets", text(buckets)},
              {"damaged", std::string(name_of(damage))}});
    session.verdict.differing.push_back({shard, buckets, damage});
}

void Verification::end_session(MonoTime now) {
    Session& session = *current_;
    Verdict& verdict = session.verdict;
    verdict.took = now - session.begun_at;
    // A silent peer: nothing is known of its clocks now.
    if (!verdict.answered) {
        for (const auto& [shard, clock] : session.group.clocks)
            verdict.not_comparable.push_back({shard});
        for (const auto* left : {&session.todo, &session.later})
            for (const ShardId shard : *left) verdict.not_comparable.push_back({shard});
    }
    std::ranges::sort(verdict.not_comparable, {}, &Verdict::Unequal::shard);
    std::ranges::sort(verdict.differing, {}, &Verdict::Difference::shard);
    note(verdict.differing.empty() ? NoteLevel::info : NoteLevel::error, "verify_done",
         {{"peer", verdict.peer},
          {"answered", verdict.answered ? "yes" : "no"},
          {"shards", std::to_string(verdict.shards)},
          {"equal", std::to_string(verdict.equal)},
          {"differing", std::to_string(verdict.differing.size())},
          {"not_comparable", std::to_string(verdict.not_comparable.size())},
          {"rows", std::to_string(verdict.rows)}});
    verdicts_.push_back(std::move(verdict));
    next_subject(now);
}

void Verification::tell_progress(MonoTime now) {
    Session& session = *current_;
    if (now < session.told_at + kProgressEvery) return;
    session.told_at = now;
    const Verdict& verdict = session.verdict;
    const std::size_t done =
        verdict.equal + verdict.differing.size() + verdict.not_comparable.size();
    note(NoteLevel::info, "verify_progress",
         {{"peer", session.subject.name},
          {"shards", std::to_string(done) + "/" + std::to_string(verdict.shards)},
          {"waiting", std::to_string(session.later.size())},
          {"rows", std::to_string(verdict.rows)}});
}

std::optional<std::vector<Verdict>> Verification::take_verdicts() {
    if (!std::exchange(finished_, false)) return std::nullopt;
    return std::move(verdicts_);
}

}  // namespace skerry
