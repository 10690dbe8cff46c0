#include "node/lag.hpp"

#include <algorithm>

#include "crdt/assert.hpp"

namespace skerry {

void LagMeter::committed(std::uint64_t events, std::uint64_t bytes, std::int64_t now_ms) {
    const std::uint64_t before = marks_.empty() ? 0 : marks_.back().events;
    ASSERT(events >= before);
    if (events == before) return;  // a commit of what others wrote
    marks_.push_back({events, bytes, now_ms});
    if (marks_.size() <= kMarksMax) return;
    marks_[1].bytes += marks_[0].bytes;
    marks_[1].at_ms = marks_[0].at_ms;
    marks_.pop_front();
}

Lag LagMeter::behind(std::uint64_t events, std::int64_t now_ms) const {
    Lag lag;
    const auto missing = std::ranges::upper_bound(marks_, events, {}, &Mark::events);
    if (missing == marks_.end()) return lag;
    lag.ms = std::max<std::int64_t>(0, now_ms - missing->at_ms);
    for (auto mark = missing; mark != marks_.end(); ++mark) lag.bytes += mark->bytes;
    return lag;
}

void LagMeter::forget(std::uint64_t events) {
    while (!marks_.empty() && marks_.front().events <= events) marks_.pop_front();
}

}  // namespace skerry
