#include "crdt/types/multi_value.hpp"

namespace skerry::multi_value {

std::vector<std::string_view> values(const Leaf& leaf) {
    std::vector<std::string_view> values;
    for (const Entry& entry : leaf)
        if (entry.live()) values.push_back(entry.payload);
    return values;
}

LeafDelta write(const Leaf& seen, const Dot& dot, Hlc now, std::string_view value) {
    return {.entry = {.replica = dot.replica,
                      .seq = dot.seq,
                      .hlc = now,
                      .removed = false,
                      .payload = std::string(value)},
            .superseded = seen.dots_of_others(dot.replica)};
}

LeafDelta clear(const Leaf& seen, const Dot& dot, Hlc now) {
    LeafDelta delta = write(seen, dot, now, {});
    delta.entry.removed = true;
    return delta;
}

}  // namespace skerry::multi_value
