#include "crdt/types/deadline.hpp"

#include "crdt/codec.hpp"

namespace skerry::deadline {

Result<Payload> decode(const Entry& entry) {
    Payload payload;
    Unpacker in(entry.payload);
    const std::size_t count = in.array();
    if (count % 2 != 1) in.reject("length");
    if (in.take_nil())
        payload.at = value::kNoDeadline;
    else
        payload.at = WallTime(in.number_up_to(std::uint64_t{1} << 62));
    for (std::size_t i = 1; i < count && !in.failed(); i += 2) {
        const ReplicaId replica{in.number()};
        payload.covered.push_back({replica, Seq{in.number()}});
    }
    if (auto done = in.done("deadline"); !done) return std::unexpected(done.error());
    return payload;
}

std::optional<Winner> read(const Leaf& deadlines, const Leaf& string) {
    std::optional<Winner> winner;
    const auto offer = [&winner](WallTime at, ReplicaId replica) {
        if (!winner || at > winner->at || (at == winner->at && replica > winner->replica))
            winner = Winner{at, replica};
    };
    std::vector<Dot> covered;
    for (const Entry& entry : deadlines) {
        if (entry.removed) continue;
        const Result<Payload> payload = decode(entry);
        ASSERT(payload.has_value());
        offer(payload->at, entry.replica);
        covered.insert(covered.end(), payload->covered.begin(), payload->covered.end());
    }
    for (const Dot& epoch : value::read(string).base_epochs) {
        if (std::ranges::find(covered, epoch) != covered.end()) continue;
        offer(value::decode(*string.of(epoch.replica))->base->deadline, epoch.replica);
    }
    if (!winner || winner->at == value::kNoDeadline) return std::nullopt;
    return winner;
}

LeafDelta set(const Leaf& seen, const Leaf& string_seen, const Dot& dot, Hlc now, WallTime at) {
    LeafDelta delta = remove(seen, dot, now);
    delta.entry.removed = false;
    const std::vector<Dot> covered = value::read(string_seen).base_epochs;
    Packer packer(delta.entry.payload);
    packer.array(1 + 2 * covered.size());
    if (at == value::kNoDeadline)
        packer.nil();
    else
        packer.number(static_cast<std::uint64_t>(std::max(at, WallTime(0)).count()));
    for (const Dot& epoch : covered) {
        packer.number(epoch.replica.value);
        packer.number(epoch.seq.value);
    }
    return delta;
}

LeafDelta remove(const Leaf& seen, const Dot& dot, Hlc now) {
    return {.entry = {.replica = dot.replica,
                      .seq = dot.seq,
                      .hlc = now,
                      .removed = true,
                      .payload = {}},
            .superseded = seen.dots_of_others(dot.replica)};
}

}  // namespace skerry::deadline
