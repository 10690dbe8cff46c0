// The part of sim/world.hpp that takes nodes out of the cluster for good, and brings them back as others.
#include "sim/world.hpp"

namespace skerry::sim {

namespace {
constexpr Millis kNoticed = 3000;  // until an operator acts
}  // namespace

// CRDT.FORGET at one node, of any other: refused while that one is connected there, though others may still hear it. Then
// it may be cut off, or fall over, and be forgotten as it returns.
void World::forget_some(Node& at) {
    Node& of = *nodes_[random_.below(nodes_.size())];
    forget(at, of);
    if (!of.running() || &at == &of || random_.one_in(3)) return;
    if (random_.one_in(2)) {
        crash(of);
        start_later(of);
    } else {
        (void)at.replication->set_cut("node" + std::to_string(of.index), true);
    }
    const auto delay = static_cast<Millis>(random_.between(50, random_.one_in(2) ? 1500 : 8000));
    on_node(at, delay, [this, &at, &of] {
        if (!healing_) forget(at, of);
        (void)at.replication->set_cut("node" + std::to_string(of.index), false);
    });
}

void World::forget(Node& at, Node& of) {
    if (!at.running() || &at == &of || at.replication->gone()) return;
    const std::string name = "node" + std::to_string(of.index);
    if (!at.replication->forget(name, mono(at))) {
        ++outcome_.coverage.forgets_refused;
        return at.store->end_round();
    }
    ++outcome_.coverage.forgotten;
    outcome_.coverage.forgotten_alive += of.running() ? 1 : 0;
    tell("node " + std::to_string(at.index) + " forgets node " + std::to_string(of.index));
    end_of_event(at);
}

// As Node::step_leave(), but that it may be killed before anybody has heard of it.
void World::serve_leave(Node& node) {
    if (healing_) node.leaving.reset();
    if (!node.leaving || !node.replication->hears_members(mono(node)) ||
        !node.replication->lacking(*node.leaving, mono(node)).empty())
        return;
    node.leaving.reset();
    if (node.replication->gone() || node.full) return;
    ++outcome_.coverage.left;
    tell("node " + std::to_string(node.index) + " leaves");
    node.replication->leave();
}

// The operator of a node that is no member does what it says: the directory is emptied, and it joins as a new one.
void World::serve_gone(Node& node) {
    if (!node.replication->gone() || node.told_gone) return;
    node.told_gone = true;
    ++outcome_.coverage.told_gone;
    on_node(node, static_cast<Millis>(random_.between(1, kNoticed)), [this, &node] {
        crash(node);
        lose_disk(node);
        start_later(node);
    });
}

// Who died for good is forgotten, where somebody knows it.
void World::bury() {
    buried_ = true;
    for (const auto& dead : nodes_)
        for (const auto& node : nodes_)
            if (dead->dead && node->running() && !node->replication->gone()) {
                set_now(*node);
                forget(*node, *dead);
                break;
            }
}

// Will it still say that another of its name counts no more?
bool World::names_linger(Node& node) {
    for (const MemberStatus& member : node.replication->members(mono(node)))
        if (!member.is_self && member.row.counts() &&
            member.row.name == "node" + std::to_string(node.index))
            return true;
    return false;
}

// All who run are in the table, at every node alike; nobody twice.
void World::check_members() {
    std::map<std::string, std::string> first;
    for (const auto& node : nodes_) {
        if (!node->running()) continue;
        std::map<std::string, std::string> shown;
        for (const MemberStatus& member : node->replication->members(mono(*node))) {
            const Member& row = member.row;
            shown[row.id.text()] =
                row.name + " " + std::string(name_of(row.state)) + " at " + row.gossip_address;
            if (row.counts() && !shown.try_emplace(row.name, row.id.text()).second)
                fail("two members count under the name " + row.name);
        }
        for (const auto& other : nodes_)
            if (other->running() && !shown.contains("node" + std::to_string(other->index)))
                fail("node " + std::to_string(other->index) + " is no member at node " +
                     std::to_string(node->index));
        node->store->end_round();
        if (first.empty()) first = shown;
        if (shown != first) fail("two nodes show different members");
    }
}

}  // namespace skerry::sim
