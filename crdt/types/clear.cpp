#include "crdt/types/clear.hpp"

#include "crdt/codec.hpp"

namespace skerry::clear {

Result<VersionVector> decode(const Entry& entry) {
    Unpacker in(entry.payload);
    VersionVector clock = in.clock();
    if (!entry.removed || clock.empty()) in.reject("covers nothing");
    if (auto done = in.done("clear"); !done) return std::unexpected(done.error());
    return clock;
}

VersionVector covered(const Leaf& clears) {
    VersionVector clock;
    for (const Entry& entry : clears) {
        const auto decoded = decode(entry);
        ASSERT(decoded.has_value());
        clock.join(*decoded);
    }
    return clock;
}

VersionVector covered_with(const Leaf& clears) {
    VersionVector clock = covered(clears);
    for (const Entry& entry : clears)
        if (clock.at(entry.replica).next() == entry.seq) clock.advance(entry.dot());
    return clock;
}

LeafDelta all(const Leaf& seen, const Dot& dot, Hlc now, const VersionVector& clock) {
    std::string payload;
    Packer(payload).put(clock);
    return {.entry = {.replica = dot.replica,
                      .seq = dot.seq,
                      .hlc = now,
                      .removed = true,
                      .payload = std::move(payload)},
            .superseded = seen.dots_of_others(dot.replica)};
}

bool any_masked(const Leaf& leaf, const VersionVector& mask) {
    return std::ranges::any_of(leaf, [&](const Entry& entry) { return masked(entry, mask); });
}

void unmask(Leaf& leaf, const VersionVector& mask) {
    leaf.erase_if([&](const Entry& entry) { return masked(entry, mask); });
}

}  // namespace skerry::clear
