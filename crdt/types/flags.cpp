#include "crdt/types/flags.hpp"

namespace skerry::disable_wins {

namespace {
LeafDelta write(const Leaf& seen, const Dot& dot, Hlc now, char mark) {
    return {.entry = {.replica = dot.replica,
                      .seq = dot.seq,
                      .hlc = now,
                      .removed = false,
                      .payload = {mark}},
            .superseded = seen.dots_of_others(dot.replica)};
}
}  // namespace

bool enabled(const Leaf& leaf) {
    const auto is_disable = [](const Entry& e) { return e.live() && e.payload != "E"; };
    return leaf.any_live() && std::ranges::none_of(leaf, is_disable);
}

LeafDelta enable(const Leaf& seen, const Dot& dot, Hlc now) { return write(seen, dot, now, 'E'); }
LeafDelta disable(const Leaf& seen, const Dot& dot, Hlc now) { return write(seen, dot, now, 'D'); }

}  // namespace skerry::disable_wins
