#include "crdt/types/presence.hpp"

namespace skerry::presence {

Hlc latest(const Leaf& leaf) {
    Hlc latest;
    for (const Entry& entry : leaf)
        if (entry.live()) latest = std::max(latest, entry.hlc);
    return latest;
}

LeafDelta add(const Leaf& seen, const Dot& dot, Hlc now) {
    return {.entry = {.replica = dot.replica,
                      .seq = dot.seq,
                      .hlc = now,
                      .removed = false,
                      .payload = {}},
            .superseded = seen.dots_of_others(dot.replica)};
}

LeafDelta remove(const Leaf& seen, const Dot& dot, Hlc now) {
    LeafDelta delta = add(seen, dot, now);
    delta.entry.removed = true;
    return delta;
}

}  // namespace skerry::presence
