// The part of node/replication.hpp for nodes that hold different domains: what is said between two is of shards that both hold.
//
// Heard    what a message names of other shards is taken out as it comes in: nothing behind that needs to know of them.
// Said     to an edge nothing of other shards is sent; in the mesh a stream goes to all, and who gets it takes its part.
// Whole    per shard nothing changes: its clock, its causes, its cut. A batch of two domains comes in two parts, each whole.
// Rules    those declared here, and those of the cluster's table; who declares one writes it there.
#include <algorithm>

#include "node/replication.hpp"

namespace skerry {

namespace {
constexpr std::size_t kKeysAtOnce = 2000;
constexpr MonoTime kToldEvery{60'000};
}  // namespace

void Replication::keep_held(ShardClocks& clocks) const {
    std::erase_if(clocks, [&](const auto& pair) { return !store_.holds(pair.first); });
}

void Replication::keep_held(Message& message) const {
    if (auto* batch = std::get_if<BatchMessage>(&message)) keep_held(batch->foreign);
    if (auto* announce = std::get_if<Announce>(&message)) keep_held(announce->foreign);
    if (auto* heartbeat = std::get_if<Heartbeat>(&message)) {
        keep_held(heartbeat->durable);
        keep_held(heartbeat->edges_durable);
        std::erase_if(heartbeat->digests,
                      [&](const auto& pair) { return !store_.holds(pair.first); });
    }
    if (auto* fetched = std::get_if<FetchReply>(&message))
        for (FetchedRecord& record : fetched->records) keep_held(record.foreign);
    if (auto* pull = std::get_if<PullRequest>(&message)) {
        keep_held(pull->base);
        keep_held(pull->target);
    }
    if (auto* ack = std::get_if<Ack>(&message)) keep_held(ack->durable);
    if (auto* stable = std::get_if<Stable>(&message)) keep_held(stable->clocks);
}

std::vector<ShardId> Replication::shared_with(const Peer& peer) const {
    std::vector<ShardId> shards = peer.who.holds.shards(store_.slot_shard_count());
    std::erase_if(shards, [&](ShardId shard) { return !store_.holds(shard); });
    return shards;
}

// Of one that was never greeted, what its row says; without one, all.
const Holdings& Replication::holdings_of(const Peer& peer) {
    if (peer.who.writer != ReplicaId{}) return peer.who.holds;
    const Member* row = row_of(peer);
    return row != nullptr ? row->holds : store_.options().holds;
}

std::uint64_t Replication::own_events_elsewhere(const Peer& peer) const {
    std::uint64_t count = own_event_count_;
    for (const ShardId shard : shared_with(peer)) count -= own_committed_.at(shard).value;
    return count;
}

// ---- rules

std::optional<Refuse> Replication::refusal_of_domains(const Introduction& who) const {
    const std::string here = "'" + options_.name + "'";
    const std::string there = "'" + who.name + "'";
    for (const DomainRule& theirs : who.domains)
        if (const auto why = rules_.conflict_with(here, theirs, there))
            return Refuse{RefuseCode::domain, *why};
    if (who.role != Role::edge || store_.options().holds.covers(who.holds)) return std::nullopt;
    for (const DomainNumber number : who.holds.domains) {
        if (store_.options().holds.holds_domain(number)) continue;
        const auto rule = std::ranges::find(who.domains, number, &DomainRule::number);
        const std::string flag =
            rule == who.domains.end() ? std::to_string(number) : "--domain " + rule->text();
        return Refuse{RefuseCode::domain, "the hub " + here + " does not hold the domain " +
                                              std::to_string(number) + " of the edge " + there +
                                              ": give it " + flag};
    }
    return Refuse{RefuseCode::domain, "the hub " + here + " does not hold main"};
}

void Replication::step_domains(MonoTime now) {
    learn_domains();
    if (gone_ || fenced_ || paused_ || store_.halted()) return;
    if (options_.role != Role::edge && (alone() || joined())) declare_domains(now);
}

void Replication::learn_domains() {
    for (const DomainRule& row : domain_table_.rows()) {
        const auto why = rules_.conflict_with("this node", row, "the cluster");
        if (!why) {
            rules_.add(row);
        } else if (domain_told_.try_emplace(row.number, MonoTime{}).second) {
            note(NoteLevel::error, "domain_conflict", {{"domain", row.text()}, {"why", *why}});
        }
    }
}

// Keys of main that it would hide have been looked for at the start; what others had comes later.
void Replication::declare_domains(MonoTime now) {
    for (const DomainRule& rule : options_.domains) {
        const auto& rows = domain_table_.rows();
        if (std::ranges::find(rows, rule.number, &DomainRule::number) != rows.end()) continue;
        const auto told = domain_told_.find(rule.number);
        if (told != domain_told_.end() && now < told->second + kToldEvery) continue;
        if (!shadow_search_ || shadow_search_->rule() != rule) shadow_search_.emplace(rule);
        if (!shadow_search_->step(store_, kKeysAtOnce)) return;
        if (shadow_search_->found()) {
            domain_told_[rule.number] = now;
            note(NoteLevel::error, "domain_not_declared",
                 {{"domain", rule.text()}, {"why", shadow_search_->sentence()}});
        } else {
            domain_table_.write(rule);
            note(NoteLevel::info, "domain_declared", {{"domain", rule.text()}});
        }
        shadow_search_.reset();
        return;
    }
}

}  // namespace skerry
