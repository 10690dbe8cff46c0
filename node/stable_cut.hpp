// node/stable_cut.hpp — which dots are stable: the minimum of what the members have durably, settled.
//
// Counts   a member of the table that has been heard within the limit, or is known for no longer than that; this node always.
//          Who is silent for longer leaves the cut, not the cluster, and is back in it when it is active again.
// Unknown  while a member that counts has not said under its present nonce what it has, there is no cut of the shards that
//          it holds.
// Settled  a cut is given out when this node has all that the members had as they said it: docs/decisions/0012.
// Nobody   without any other member everything durable is stable.
// Pure     told by Replication (node/replication_cut.cpp) about peers and members.
#pragma once

#include <absl/functional/function_ref.h>

#include <optional>
#include <vector>

#include "store/stable_cut.hpp"

namespace skerry {

struct CutMember {
    bool counts = true;
    ReplicaId writer;                      // nobody: never greeted
    const ShardClocks* durable = nullptr;  // nullptr: not said yet
    const ShardClocks* known = nullptr;    // no less than what it had then; nullptr: `durable`
    Holdings holds = {};                   // only for these shards it is waited for
};

struct CutSelf {
    ReplicaId writer;
    std::uint16_t slot_shard_count = 0;  // what shards are numbered by
    Holdings holds = {};
};

class CutMeter {
  public:
    // What is stable now. `covers`: has this node applied all of these clocks?
    [[nodiscard]] std::optional<StableCut> step(const CutSelf& self, const ShardClocks& durable,
                                                const std::vector<CutMember>& members,
                                                absl::FunctionRef<bool(const ShardClocks&)> covers);
    // Is there a cut, and who may purge with it, too: whoever has all that was known, here as well. Requires: there is one.
    [[nodiscard]] bool settled() const { return settled_.has_value(); }
    [[nodiscard]] ShardClocks known() const;

  private:
    // Shards that have no cut now have none among the earlier ones either.
    void forget(const std::vector<ShardId>& shards);

    struct Reported {
        StableCut cut;
        ShardClocks known;    // the join of what the members have
        ShardClocks durable;  // what this node has
    };
    std::optional<Reported> waiting_;  // until this node has all that is known
    std::optional<Reported> settled_;
};

}  // namespace skerry
