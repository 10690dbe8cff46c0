#include "crdt/leaf.hpp"

#include <tuple>

#include "crdt/shortcut.hpp"

namespace skerry {

namespace {
constexpr auto kBefore = [](const Entry& e, ReplicaId r) { return e.replica < r; };
}  // namespace

const Entry* Leaf::of(ReplicaId replica) const {
    for (const Entry& entry : entries_)
        if (entry.replica == replica) return &entry;
    return nullptr;
}

std::vector<Dot> Leaf::dots_of_others(ReplicaId self) const {
    std::vector<Dot> dots;
    for (const Entry& entry : entries_)
        if (entry.replica != self) dots.push_back(entry.dot());
    return dots;
}

bool Leaf::outside(const VersionVector& clock) const {
    return std::ranges::any_of(entries_, [&](const Entry& e) { return !clock.contains(e.dot()); });
}

bool Leaf::apply(LeafDelta delta) {
    if (const Entry* own = of(delta.entry.replica); own && own->seq >= delta.entry.seq)
        return false;
    for (const Dot& dot : delta.superseded) {
        const auto found = std::ranges::find(entries_, dot.replica, &Entry::replica);
        if (found != entries_.end() && found->seq <= dot.seq) entries_.erase(found);
    }
    if (delta.entry.removed && taken(Shortcut::remove_without_marker)) {
        const auto own = std::ranges::find(entries_, delta.entry.replica, &Entry::replica);
        if (own != entries_.end()) entries_.erase(own);
        return true;
    }
    put(std::move(delta.entry));
    return true;
}

void Leaf::put(Entry entry) {
    const auto place = std::lower_bound(entries_.begin(), entries_.end(), entry.replica, kBefore);
    if (place != entries_.end() && place->replica == entry.replica &&
        !taken(Shortcut::two_dots_of_writer))
        *place = std::move(entry);
    else
        entries_.insert(place, std::move(entry));
}

bool join_leaf(Leaf& mine, const VersionVector& my_clock, const Leaf& theirs,
               const VersionVector& their_clock) {
    Leaf joined;
    for (const Entry& entry : mine) {
        const Entry* other = theirs.of(entry.replica);
        if (other != nullptr ? entry.seq >= other->seq : !their_clock.contains(entry.dot()))
            joined.put(entry);
    }
    for (const Entry& entry : theirs) {
        const Entry* other = mine.of(entry.replica);
        if (other != nullptr ? entry.seq > other->seq : !my_clock.contains(entry.dot()))
            joined.put(entry);
    }
    if (joined == mine) return false;
    mine = std::move(joined);
    return true;
}

bool unite_leaf(Leaf& mine, const Leaf& theirs) {
    const auto rank = [](const Entry& entry) {
        return std::tuple(entry.seq, entry.live(), entry.hlc, std::string_view(entry.payload));
    };
    bool changed = false;
    for (const Entry& entry : theirs) {
        const Entry* own = mine.of(entry.replica);
        if (own != nullptr && rank(*own) >= rank(entry)) continue;
        mine.put(entry);
        changed = true;
    }
    return changed;
}

bool LeafAtClock::join(const LeafAtClock& other) noexcept {
    const bool changed = join_leaf(leaf, clock, other.leaf, other.clock);
    return clock.join(other.clock) || changed;
}

}  // namespace skerry
