// The part of node/replication.hpp that shows what is on its way in bulk: CRDT.SYNC, and a line in the log now and then.
#include <algorithm>

#include "node/replication.hpp"

namespace skerry {

namespace {
constexpr MonoTime kProgressNotedEvery{5000};

std::string megabytes(std::uint64_t bytes) {
    return std::to_string(bytes / 1'000'000) + "." + std::to_string(bytes / 100'000 % 10);
}
}  // namespace

SyncStatus Replication::pull_status(MonoTime now) const {
    SyncStatus row;
    const auto peer = peers_.find(pull_->link);
    if (peer != peers_.end()) row.peer = peer->second.who.name;
    row.direction = "in";
    row.phase = pull_->flipping                                      ? "measuring"
                : pull_->comparing && pull_->full == Full::comparing ? "comparing"
                : pull_->waiting_durable                             ? "waiting"
                : pull_->nonce == 0 && pull_->seen.empty()           ? "asking"
                                                                     : "pulling";
    row.reason = pull_->reason;
    row.session = pull_->session;
    pull_->progress.show(row, now);
    return row;
}

SyncStatus Replication::waiting_status(MonoTime now) const {
    SyncStatus row;
    row.direction = "in";
    row.phase = "interrupted";
    row.reason = "somebody who can go on is waited for";
    const auto open = store_.open_session();
    const auto cursor = open ? decode_pull_cursor(open->cursor)
                             : Result<PullCursor>(fail(Code::malformed, "no session"));
    if (!cursor) return row;
    row.session = open->session;
    const SyncProgress progress{.since = now,
                                .leaves = cursor->leaves,
                                .bytes = cursor->bytes,
                                .leaves_before = cursor->leaves,
                                .bytes_before = cursor->bytes,
                                .spent_before_ms = cursor->spent_ms};
    progress.show(row, now);
    return row;
}

std::vector<SyncStatus> Replication::syncs(MonoTime now) const {
    std::vector<SyncStatus> rows;
    if (pull_) rows.push_back(pull_status(now));
    if (whole_waits_) rows.push_back(waiting_status(now));
    for (const auto& [link, peer] : peers_) {
        if (!peer.fetching) continue;
        SyncStatus& row = rows.emplace_back();
        row.peer = peer.who.name;
        row.direction = "in";
        row.phase = "fetching";
        row.reason = "positions of its log are missing";
        peer.fetching->show(row, now);
    }
    if (store_.draining()) {
        SyncStatus& row = rows.emplace_back();
        row.direction = "local";
        row.phase = "draining";
        row.reason = "leaves of a pull join";
        row.leaves = store_.stats().drained_by_touch + store_.stats().drained_in_background;
    }
    served_pulls_.append_to(rows, now);
    return rows;
}

// ---- since the start

void Replication::step_catch_up(MonoTime now) {
    if (catch_up_.over()) return;
    CatchUp::View view{.any_known = !peers_.empty(),
                       .all_reported = true,
                       .target_covered = false,
                       .any_ahead = false};
    for (const auto& [link, peer] : peers_) {
        if (peer.tie == Tie::edge) continue;
        view.all_reported = view.all_reported && peer.reported;
        const bool heard = peer.heard_at >= MonoTime(0) && now < peer.heard_at + kSilentMax;
        if (heard && peer.reported && !store_.durably_covers(peer.durable)) view.any_ahead = true;
    }
    const auto& target = catch_up_.target();
    view.target_covered = store_.durably_covers(ShardClocks(target.begin(), target.end()));
    if (!catch_up_.step(view, now)) return;
    const bool done = catch_up_.stage() == CatchUp::Stage::done;
    note(done ? NoteLevel::info : NoteLevel::warn, done ? "caught_up" : "catch_up_given_up",
         {{"after_ms", std::to_string((now - catch_up_.began()).count())},
          {"peers", std::to_string(peers_.size())}});
}

std::optional<std::string> Replication::catching_up(MonoTime now) const {
    if (catch_up_.over()) return std::nullopt;
    if (catch_up_.stage() == CatchUp::Stage::meeting) return "its peers are being met";
    if (!pull_) return "what its peers have is on its way";
    const SyncStatus row = pull_status(now);
    std::string text = "pulling from " + row.peer;
    if (row.leaves_left >= 0) text += ", about " + std::to_string(row.leaves_left) + " leaves left";
    if (row.eta_ms >= 0) text += ", " + std::to_string(row.eta_ms / 1000) + " s";
    return text;
}

// ---- the log

void Replication::note_progress(MonoTime now) {
    if (!pull_ || now < pull_->progress.noted_at + kProgressNotedEvery) return;
    pull_->progress.noted_at = now;
    const SyncStatus row = pull_status(now);
    std::vector<std::pair<std::string, std::string>> fields{
        {"peer", row.peer},
        {"phase", row.phase},
        {"leaves", std::to_string(row.leaves)},
        {"mb", megabytes(row.bytes)},
        {"kb_s", std::to_string(row.bytes_per_second / 1000)}};
    if (row.leaves_left >= 0) fields.emplace_back("left", std::to_string(row.leaves_left));
    if (row.eta_ms >= 0) fields.emplace_back("eta_s", std::to_string(row.eta_ms / 1000));
    note(NoteLevel::info, "pull_progress", std::move(fields));
}

}  // namespace skerry
