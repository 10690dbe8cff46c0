#include "node/stable_cut.hpp"

#include <algorithm>
#include <map>

#include "crdt/shortcut.hpp"
#include "node/pull_cursor.hpp"

namespace skerry {

namespace {

using ByShard = std::map<ShardId, VersionVector>;

// In the shards that the member holds.
void lower(ByShard& clocks, const CutMember& member, std::uint16_t slot_shard_count) {
    const ByShard theirs(member.durable->begin(), member.durable->end());
    for (auto& [shard, clock] : clocks) {
        const bool is_main_or_configuration = shard.value <= slot_shard_count;
        if (!member.holds.holds(shard, slot_shard_count) ||
            (taken(Shortcut::holder_unheard) && !is_main_or_configuration))
            continue;
        const auto found = theirs.find(shard);
        clock = found == theirs.end() ? VersionVector{} : clock.meet(found->second);
    }
}
}  // namespace

void CutMeter::forget(const std::vector<ShardId>& shards) {
    for (std::optional<Reported>* reported : {&waiting_, &settled_})
        if (*reported)
            std::erase_if((*reported)->cut.clocks, [&](const auto& pair) {
                return std::ranges::binary_search(shards, pair.first);
            });
}

std::optional<StableCut> CutMeter::step(const CutSelf& self, const ShardClocks& durable,
                                        const std::vector<CutMember>& members,
                                        absl::FunctionRef<bool(const ShardClocks&)> covers) {
    Reported now;
    ByShard least(durable.begin(), durable.end());
    ByShard most;
    now.cut.lineages.push_back(self.writer.lineage());
    std::vector<ShardId> unsaid;
    for (const CutMember& member : members) {
        if (member.writer != ReplicaId{} && !member.holds.covers(self.holds))
            now.cut.partial.push_back({member.writer.lineage(), member.holds});
        if (!member.counts) {
            now.cut.everybody = false;
            continue;
        }
        if (member.durable == nullptr) {
            for (const auto& [shard, clock] : durable)
                if (member.holds.holds(shard, self.slot_shard_count)) unsaid.push_back(shard);
            continue;
        }
        now.cut.lineages.push_back(member.writer.lineage());
        lower(least, member, self.slot_shard_count);
        for (const auto& [shard, clock] : member.known != nullptr ? *member.known : *member.durable)
            most[shard].join(clock);
    }
    std::ranges::sort(unsaid);
    for (const ShardId shard : unsaid) least.erase(shard);
    if (least.empty() && !unsaid.empty()) {
        waiting_.reset();
        settled_.reset();
        return std::nullopt;
    }
    forget(unsaid);
    std::ranges::sort(now.cut.lineages);
    std::ranges::sort(now.cut.partial, {}, &PartHolder::lineage);
    now.cut.clocks.assign(least.begin(), least.end());
    now.known.assign(most.begin(), most.end());
    now.durable = durable;
    // Another set of members: what was settled among the earlier ones says nothing of these.
    const auto same_members = [&](const StableCut& cut) {
        return cut.everybody == now.cut.everybody && cut.lineages == now.cut.lineages &&
               cut.partial == now.cut.partial;
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
