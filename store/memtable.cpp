#include "store/memtable.hpp"

#include <algorithm>
#include <limits>

#include "crdt/types/clear.hpp"
#include "crdt/types/deadline.hpp"
#include "crdt/types/presence.hpp"

namespace skerry {

namespace {
const Leaf kNoLeaf;
constexpr auto kKindBefore = [](const std::pair<LeafKind, Leaf>& pair, LeafKind kind) {
    return pair.first < kind;
};
}  // namespace

const Leaf& KeyRecord::leaf(LeafKind kind) const {
    if (kind == LeafKind::string) return string;
    if (!extra) return kNoLeaf;
    const auto found = std::ranges::find(extra->leaves, kind, &std::pair<LeafKind, Leaf>::first);
    return found == extra->leaves.end() ? kNoLeaf : found->second;
}

Leaf& KeyRecord::leaf_to_change(LeafKind kind) {
    ASSERT(is_key_level(kind));
    if (kind == LeafKind::string) return string;
    auto& leaves = with_extra().leaves;
    const auto place = std::lower_bound(leaves.begin(), leaves.end(), kind, kKindBefore);
    if (place != leaves.end() && place->first == kind) return place->second;
    return leaves.emplace(place, kind, Leaf{})->second;
}

bool KeyRecord::vacant() const {
    if (!string.empty()) return false;
    return !extra || (extra->totals.elements == 0 && extra->sums.mask.empty() &&
                      std::ranges::all_of(extra->leaves,
                                          [](const auto& pair) { return pair.second.empty(); }));
}

Extra& KeyRecord::with_extra() {
    if (!extra) extra = std::make_unique<Extra>();
    return *extra;
}

const VersionVector& mask_of(const KeyRecord& record) {
    static const VersionVector kNothing;
    return record.extra ? record.extra->sums.mask : kNothing;
}

VersionVector cleared_of(const KeyRecord& record) {
    VersionVector cleared = clear::covered(record.leaf(LeafKind::clear));
    cleared.join(mask_of(record));
    return cleared;
}

void derive(KeyRecord& record) {
    const bool simple = value::simple(record.string);
    if (!record.extra && (simple || record.string.empty())) {
        record.type = simple ? KeyType::string : KeyType::none;
        record.deadline = value::kNoDeadline;
        return;
    }
    const value::Reading string = value::read(record.string);
    record.type = KeyType::none;
    Hlc birth;
    const auto offer = [&](bool exists, KeyType type, Hlc born) {
        if (!exists || (record.type != KeyType::none && born < birth)) return;
        record.type = type;
        birth = born;
    };
    offer(string.exists, KeyType::string, string.birth);
    offer(record.live(LeafKind::member) > 0, KeyType::set,
          presence::latest(record.leaf(LeafKind::set_birth)));
    offer(record.live(LeafKind::field) > 0, KeyType::hash,
          presence::latest(record.leaf(LeafKind::hash_birth)));
    const auto winner = deadline::read(record.leaf(LeafKind::deadline), record.string);
    record.deadline = winner ? winner->at : value::kNoDeadline;
    record.deadline_writer = winner ? winner->replica : ReplicaId{};
}

bool shows(LeafKind kind, const Leaf& leaf) {
    if (kind != LeafKind::field || value::simple(leaf)) return leaf.any_live();
    return leaf.any_live() && value::read(leaf).exists;
}

std::size_t bytes_of(const Leaf& leaf) {
    std::size_t bytes = leaf.count() > 1 ? leaf.count() * sizeof(Entry) : 0;
    for (const Entry& entry : leaf)
        if (entry.payload.size() > 15) bytes += entry.payload.capacity() + 16;
    return bytes;
}

std::size_t bytes_of(const Element& element) {
    constexpr std::size_t kSlot = sizeof(Element) + 16 + kOrderedRowBytes;
    return kSlot + bytes_of(element.leaf) + element.sub.bytes_apart();
}

std::size_t bytes_of(const ElementSums& sums) {
    return sizeof(std::pair<ReplicaId, Seq>) * (sums.highest.count() + sums.mask.count());
}

std::size_t bytes_of_key_row(const KeyRecord& record) {
    constexpr std::size_t kSlot = sizeof(KeyRecord) + 16 + kOrderedRowBytes;
    std::size_t bytes = kSlot + bytes_of(record.string) + record.key.bytes_apart();
    if (!record.extra) return bytes;
    bytes += sizeof(Extra) + 16 + bytes_of(record.extra->sums);
    for (const auto& [kind, leaf] : record.extra->leaves)
        bytes += sizeof(std::pair<LeafKind, Leaf>) + bytes_of(leaf);
    return bytes;
}

std::string encode(const KeyRecord& record) {
    KeyLeaves leaves;
    if (!record.string.empty()) leaves.emplace_back(LeafKind::string, &record.string);
    if (!record.extra) return encode_key_row(record.key, {}, {}, leaves);
    for (const auto& [kind, leaf] : record.extra->leaves)
        if (!leaf.empty()) leaves.emplace_back(kind, &leaf);
    return encode_key_row(record.key, record.extra->totals, record.extra->sums, leaves);
}

std::unique_ptr<KeyRecord> record_of(const RowAddress& address, KeyRow row) {
    auto record = std::make_unique<KeyRecord>();
    record->address = address;
    record->key = ShortBytes(row.key);
    for (auto& [kind, leaf] : row.leaves) record->leaf_to_change(kind) = std::move(leaf);
    // The elements of a key whose row comes from the ordered store are there, too, even if none is
    // live.
    Extra& extra = record->with_extra();
    extra.totals = row.totals;
    extra.sums = std::move(row.sums);
    extra.complete = row.totals.elements == 0;
    if (extra.leaves.empty() && extra.complete && extra.sums.mask.empty()) record->extra.reset();
    derive(*record);
    return record;
}

std::uint64_t digest_of(const RowAddress& address, LeafKind kind, const ElementOrder& element,
                        const Leaf& leaf) {
    std::uint64_t digest = 0;
    for (const Entry& entry : leaf) {
        if (entry.removed) continue;
        const std::array<std::uint64_t, 9> place{
            address.order.order,
            address.order.check,
            std::uint64_t{address.database} << 8 | static_cast<std::uint8_t>(kind),
            element.hash.high,
            element.hash.low,
            entry.replica.value,
            entry.seq.value,
            entry.hlc.packed,
            0};
        const std::string_view bytes(reinterpret_cast<const char*>(place.data()), sizeof place);
        digest += hash64(entry.payload, hash64(bytes));
    }
    return digest;
}

}  // namespace skerry
