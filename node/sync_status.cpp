#include "node/sync_status.hpp"

#include <algorithm>

namespace skerry {

const SyncStatus* pull_among(const std::vector<SyncStatus>& rows) {
    const auto found = std::ranges::find_if(rows, [](const SyncStatus& row) {
        return row.direction == "in" && row.phase != "fetching";
    });
    return found == rows.end() ? nullptr : &*found;
}

void SyncProgress::show(SyncStatus& row, MonoTime now) const {
    row.leaves = leaves;
    row.bytes = bytes;
    row.leaves_left = leaves_left;
    row.since_ms = (now - since).count();
    const auto ms = static_cast<std::uint64_t>(std::max<std::int64_t>(row.since_ms, 1));
    row.bytes_per_second = (bytes - bytes_before) * 1000 / ms;
    const std::uint64_t here = leaves - leaves_before;
    if (leaves_left >= 0 && here > 0)
        row.eta_ms = static_cast<std::int64_t>(static_cast<double>(leaves_left) *
                                               static_cast<double>(ms) / static_cast<double>(here));
}

void ServedPulls::served(const std::string& peer, std::uint64_t session, const Chunk& chunk,
                         MonoTime now) {
    std::erase_if(sessions_,
                  [&](const auto& one) { return now > one.second.last + kForgottenAfter; });
    const auto place = std::pair(peer, session);
    if (sessions_.size() >= kSessionsMax && !sessions_.contains(place)) return;
    const auto [found, fresh] = sessions_.try_emplace(place);
    Session& one = found->second;
    if (fresh) one.progress.since = now;
    one.progress.leaves += chunk.leaves;
    one.progress.bytes += chunk.bytes;
    one.progress.leaves_left = static_cast<std::int64_t>(chunk.leaves_left);
    one.last = now;
}

void ServedPulls::append_to(std::vector<SyncStatus>& rows, MonoTime now) const {
    for (const auto& [place, one] : sessions_) {
        if (now > one.last + kForgottenAfter) continue;
        SyncStatus& row = rows.emplace_back();
        row.peer = place.first;
        row.direction = "out";
        row.phase = "serving";
        row.session = place.second;
        one.progress.show(row, now);
    }
}

std::size_t ServedPulls::count(MonoTime now) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        sessions_, [&](const auto& one) { return now <= one.second.last + kForgottenAfter; }));
}

}  // namespace skerry
