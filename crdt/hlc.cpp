#include "crdt/hlc.hpp"

#include <algorithm>

namespace skerry {

Hlc HlcClock::next(WallTime now) {
    // A logical overflow carries into the milliseconds, which is what the packing does by itself.
    last_ = std::max(Hlc::at(now), Hlc{last_.packed + 1});
    return last_;
}

bool HlcClock::observe(Hlc seen, WallTime now) {
    if (seen.wall() > now + drift_max_) return false;
    last_ = std::max(last_, seen);
    return true;
}

}  // namespace skerry
