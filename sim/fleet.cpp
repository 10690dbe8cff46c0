// The part of sim/world.hpp that knows hubs and edges: some worlds have them, and in these edges lose their hub and find another.
#include <algorithm>

#include "sim/world.hpp"

namespace skerry::sim {

namespace {
constexpr Millis kDay = 1000;
constexpr Millis kCountedBy = 1000;  // a node that knows an edge as a member counts it by then
}  // namespace

void World::plan_fleet() {
    if (shape_ == Shape::mesh) return;
    if (!is_small_fleet()) return plan_large_fleet();
    Random& r = fleet_random_;
    plan_.node_count = std::max<std::size_t>(plan_.node_count, 3) + r.below(3);
    plan_.duration += static_cast<Millis>(r.between(2000, 9000));
    plan_.flushes = seed_ % 8 == 0 || seed_ % 8 == 7;
    plan_.roles.assign(plan_.node_count, Role::core);
    plan_.roles[0] = Role::hub;
    if (!r.one_in(3)) plan_.roles[1] = Role::hub;
    for (NodeIndex i = 2; i < plan_.node_count; ++i)
        if (i + 1 == plan_.node_count || r.percent(65)) plan_.roles[i] = Role::edge;
    hide_edges();
    if (shape_ == Shape::domains) plan_domains();
}

// Hubs hold all, cores some until they are started again late in the world, edges what their site has, with main or without.
void World::plan_domains() {
    Random& r = fleet_random_;
    plan_.grow_at = plan_.duration / 2;
    // Three times as many shards, each compared by nearly every pull, are not done in time (seed 20005).
    if (plan_.full_percent != 0) plan_.shard_count = std::min<std::uint16_t>(plan_.shard_count, 4);
    for (NodeIndex i = 0; i < plan_.node_count; ++i) {
        Holdings& holds = plan_.holdings.emplace_back();
        for (DomainNumber domain = 1; domain <= kSimDomains; ++domain)
            if (role_of(i) == Role::hub || r.one_in(2)) holds.domains.push_back(domain);
        if (role_of(i) == Role::edge) holds.main = holds.domains.empty() || r.one_in(3);
    }
}

Holdings World::holdings_of(Node& node) const {
    if (!plan_.holdings.empty() && role_of(node.index) == Role::core && !healing_ &&
        now_ >= plan_.grow_at)
        node.holds_all = true;
    return holdings_at_first(node.holds_all ? 0 : node.index);
}

void World::hide_edges() {
    for (NodeIndex i = 0; i < plan_.node_count; ++i)
        if (plan_.roles[i] == Role::edge) {
            network_.unreachable.insert(i);
            ++outcome_.coverage.edges;
        }
}

// A day is a second: edges are online for a part of it, and away for some days now and then; hubs crash.
void World::plan_large_fleet() {
    constexpr std::size_t kHubs = 3;
    plan_.node_count = kHubs + (shape_ == Shape::fleet_of_200 ? 200 : 40);
    plan_.late_count = 0;
    plan_.shard_count = 1;
    plan_.duration = 30 * kDay;
    plan_.command_every = 60;
    plan_.sync_max = 10;
    plan_.durability = Durability::always;
    plan_.memory_bytes = std::size_t{1} << 24;
    plan_.flip_bytes_max = std::size_t{1} << 20;
    plan_.step_leaves = 1000;
    plan_.bulk_percent = plan_.big_percent = plan_.wait_percent = 0;
    plan_.pull_credit_bytes = std::uint64_t{1} << 20;
    plan_.checkpoint_percent = 0;
    plan_.may_die = plan_.knows_all = false;
    plan_.full_percent = plan_.all_percent = 0;
    plan_.silent_max = 0;
    plan_.mishap_every = 3 * kDay;
    plan_.weights.fill(0);
    network_.faults = {.loss_percent = 1, .delay_max = 100};
    plan_.roles.assign(plan_.node_count, Role::edge);
    std::fill_n(plan_.roles.begin(), kHubs, Role::hub);
    hide_edges();
}

// Which days an edge is away: the cable is out, and its clients write on.
void World::schedule_absences(NodeIndex edge) {
    for (Millis at = static_cast<Millis>(fleet_random_.below(20 * kDay)); at < plan_.duration;) {
        const auto days = static_cast<Millis>(fleet_random_.between(3, 12));
        schedule(at, [this, edge] { be_cut_off(edge, true); });
        schedule(at + days * kDay, [this, edge] { be_cut_off(edge, false); });
        at += (days + static_cast<Millis>(fleet_random_.between(8, 20))) * kDay;
    }
}

void World::be_cut_off(NodeIndex edge, bool away) {
    for (NodeIndex hub = 0; hub < plan_.node_count; ++hub) {
        if (role_of(hub) != Role::hub) continue;
        for (const auto& cut : {std::pair{edge, hub}, std::pair{hub, edge}})
            away && !healing_ ? (void)network_.cuts.insert(cut) : (void)network_.cuts.erase(cut);
    }
    outcome_.coverage.absences += away ? 1 : 0;
}

void World::crash_hub() {
    Node& hub = *nodes_[fleet_random_.below(3)];
    if (healing_ || !hub.running()) return;
    crash(hub);
    start_later(hub);
}

void World::schedule_fleet() {
    if (plan_.roles.empty()) return;
    if (!is_small_fleet()) {
        for (NodeIndex i = 0; i < plan_.node_count; ++i)
            if (role_of(i) == Role::edge) schedule_absences(i);
        for (Millis at = 5 * kDay; at < plan_.duration; at += 5 * kDay)
            schedule(at, [this] { crash_hub(); });
        return;
    }
    for (Millis at = 1000; at < plan_.duration;
         at += static_cast<Millis>(fleet_random_.between(1000, 6000)))
        schedule(at, [this] { cut_off_hub(); });
}

// For longer than it takes an edge to look for another hub.
void World::cut_off_hub() {
    if (healing_) return;
    const NodeIndex edge = fleet_random_.below(nodes_.size());
    const NodeIndex hub = fleet_random_.below(2);
    if (role_of(edge) != Role::edge || role_of(hub) != Role::hub) return;
    network_.cuts.insert({edge, hub});
    if (fleet_random_.one_in(2)) network_.cuts.insert({hub, edge});
    schedule(static_cast<Millis>(fleet_random_.between(3000, 9000)), [this, edge, hub] {
        network_.cuts.erase({edge, hub});
        network_.cuts.erase({hub, edge});
    });
}

void World::add_roles(const Node& node, ReplicationOptions& options) {
    if (plan_.roles.empty()) return;
    options.role = role_of(node.index);
    if (shape_ == Shape::domains && options.role == Role::hub)
        for (DomainNumber domain = 1; domain <= kSimDomains; ++domain)
            options.domains.push_back({domain, "site" + std::to_string(domain), 3 + domain, {}});
    options.edge_silent_max = options.member_silent_max;
    std::erase_if(options.seeds, [&](const std::string& seed) {
        for (const NodeIndex other : network_.unreachable)
            if (seed == gossip_address(other)) return true;
        return false;
    });
    if (options.role != Role::edge) return;
    options.gossip_address.clear();
    options.publish_address.clear();
    options.seeds.clear();
    for (NodeIndex i = 0; i < plan_.node_count; ++i)
        if (role_of(i) == Role::hub) options.seeds.push_back(gossip_address(i));
    std::ranges::rotate(
        options.seeds,
        options.seeds.begin() + static_cast<std::ptrdiff_t>(node.index % options.seeds.size()));
}

// Which edges the node knows as members, and since when.
void World::note_known_edges(Node& node) {
    if (plan_.roles.empty() || !plan_.knows_all || plan_.silent_max != 0) return;
    std::map<std::string, Millis> known;
    for (const MemberStatus& member : node.replication->members(mono(node))) {
        if (member.row.role != Role::edge || !member.row.counts()) continue;
        const auto before = node.known_edges.find(member.row.name);
        known[member.row.name] = before == node.known_edges.end() ? now_ : before->second;
    }
    node.known_edges = std::move(known);
}

// An edge may lack what a node purges that does not know it yet; and what others take over from there.
bool World::may_lack(Node& other, const Node& by, ShardId shard, const VersionVector& purged) {
    if (role_of(other.index) != Role::edge) return false;
    other.excused.resize(plan_.shards());
    VersionVector& excused = other.excused[shard.value];
    const auto known = by.known_edges.find("node" + std::to_string(other.index));
    if (known == by.known_edges.end() || now_ < known->second + kCountedBy) excused.join(purged);
    VersionVector had = other.reached[shard.value];
    had.join(excused);
    return had.covers(purged);
}

}  // namespace skerry::sim
