#include "crdt/version_vector.hpp"

namespace skerry {

VersionVector::VersionVector(std::initializer_list<std::pair<ReplicaId, Seq>> entries) {
    for (const auto& [replica, seq] : entries) advance(Dot{replica, seq});
}

bool VersionVector::advance(const Dot& dot) {
    if (dot.seq == Seq{}) return false;
    const auto at_or_after =
        std::lower_bound(entries_.begin(), entries_.end(), dot.replica,
                         [](const auto& e, ReplicaId r) { return e.first < r; });
    if (at_or_after != entries_.end() && at_or_after->first == dot.replica) {
        if (at_or_after->second >= dot.seq) return false;
        at_or_after->second = dot.seq;
        return true;
    }
    entries_.insert(at_or_after, {dot.replica, dot.seq});
    return true;
}

bool VersionVector::join(const VersionVector& other) noexcept {
    bool grew = false;
    for (const auto& [replica, seq] : other) grew |= advance(Dot{replica, seq});
    return grew;
}

VersionVector VersionVector::meet(const VersionVector& other) const {
    VersionVector both;
    for (const auto& [replica, seq] : entries_)
        both.advance(Dot{replica, std::min(seq, other.at(replica))});
    return both;
}

bool VersionVector::covers(const VersionVector& other) const {
    return std::ranges::all_of(other, [this](const auto& e) { return e.second <= at(e.first); });
}

std::partial_ordering VersionVector::operator<=>(const VersionVector& other) const {
    const bool above = covers(other);
    const bool below = other.covers(*this);
    if (above && below) return std::partial_ordering::equivalent;
    if (above) return std::partial_ordering::greater;
    if (below) return std::partial_ordering::less;
    return std::partial_ordering::unordered;
}

std::uint64_t VersionVector::event_count() const {
    std::uint64_t sum = 0;
    for (const auto& [replica, seq] : entries_) sum += seq.value;
    return sum;
}

}  // namespace skerry
