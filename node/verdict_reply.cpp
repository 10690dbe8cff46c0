#include "node/verdict_reply.hpp"

namespace skerry {

namespace {
void field(ReplyWriter& reply, std::string_view name, std::uint64_t value) {
    reply.bulk(name);
    reply.integer(static_cast<std::int64_t>(value));
}

std::string_view state_of(const Verdict& verdict) {
    if (!verdict.differing.empty()) return "different";
    if (!verdict.answered) return "silent";
    return verdict.not_comparable.empty() ? "equal" : "incomplete";
}

void reply_verdict(ReplyWriter& reply, const Verdict& verdict) {
    reply.map(9);
    reply.bulk("peer");
    reply.bulk(verdict.peer);
    reply.bulk("verdict");
    reply.bulk(state_of(verdict));
    field(reply, "shards", verdict.shards);
    field(reply, "equal", verdict.equal);
    field(reply, "differing", verdict.differing.size());
    field(reply, "not_comparable", verdict.not_comparable.size());
    field(reply, "rows", verdict.rows);
    field(reply, "took_ms", static_cast<std::uint64_t>(verdict.took.count()));
    reply.bulk("details");
    reply.array(verdict.differing.size() + verdict.not_comparable.size());
    for (const Verdict::Difference& difference : verdict.differing) {
        reply.map(3);
        field(reply, "shard", difference.shard.value);
        reply.bulk("damaged");
        reply.bulk(name_of(difference.damage));
        reply.bulk("buckets");
        reply.array(difference.buckets.size());
        for (const std::uint16_t bucket : difference.buckets) reply.integer(bucket);
    }
    for (const Verdict::Unequal& unequal : verdict.not_comparable) {
        reply.map(3);
        field(reply, "shard", unequal.shard.value);
        field(reply, "lacking_here", unequal.lacking_here);
        field(reply, "lacking_there", unequal.lacking_there);
    }
}
}  // namespace

void reply_verdicts(ReplyWriter& reply, const std::vector<Verdict>& verdicts) {
    reply.array(verdicts.size());
    for (const Verdict& verdict : verdicts) reply_verdict(reply, verdict);
}

}  // namespace skerry
