#include "node/stable_cut.hpp"

#include <algorithm>
#include <map>

#include "node/pull_cursor.hpp"

namespace skerry {

namespace {

using ByShard = std::map<ShardId, VersionVector>;

void lower(ByShard& clocks, const ShardClocks& others) {
    const ByShard theirs(others.begin(), others.end());
    for (auto& [shard, clock] : clocks) {
        const auto found = theirs.find(shard);
        clock = found == theirs.end() ? VersionVector{} : clock.meet(found->second);
    }
}
}  // namespace

std::optional<StableCut> CutMeter::step(ReplicaId self, const ShardClocks& durable,
                                        const std::vector<CutMember>& members,
                                        absl::FunctionRef<bool(const ShardClocks&)> covers) {
    Reported now;
    ByShard least(durable.begin(), durable.end());
    ByShard most;
    now.cut.lineages.push_back(self.lineage());
    for (const CutMember& member : members) {
        if (!member.counts) {
            now.cut.everybody = false;
            continue;
        }
        if (member.durable == nullptr) {
            waiting_.reset();
            settled_.reset();
            return std::nullopt;
        }
        now.cut.lineages.push_back(member.writer.lineage());
        lower(least, *member.durable);
        for (const auto& [shard, clock] : member.known != nullptr ? *member.known : *member.durable)
            most[shard].join(clock);
    }
    std::ranges::sort(now.cut.lineages);
    now.cut.clocks.assign(least.begin(), least.end());
    now.known.assign(most.begin(), most.end());
    now.durable = durable;
    // Another set of members: what was settled among the earlier ones says nothing of these.
    const auto same_members = [&](const StableCut& cut) {
        return cut.everybody == now.cut.everybody && cut.lineages == now.cut.lineages;
    };
    if (settled_ && !same_members(settled_->cut)) settled_.reset();
    // Nor what nobody says any more that it has: it may be gone with a disk, and would be waited for in vain.
    if (!waiting_ || !same_members(waiting_->cut) || !covers_all(now.known, waiting_->known))
        waiting_ = now;
    if (covers(waiting_->known)) {
        settled_ = std::move(waiting_);
        waiting_ = std::move(now);
        if (covers(waiting_->known)) settled_ = waiting_;
    }
    if (!settled_) return std::nullopt;
    return settled_->cut;
}

ShardClocks CutMeter::known() const {
    ByShard most(settled_->known.begin(), settled_->known.end());
    for (const auto& [shard, clock] : settled_->durable) most[shard].join(clock);
    return {most.begin(), most.end()};
}

}  // namespace skerry
