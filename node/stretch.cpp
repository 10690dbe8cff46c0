#include "node/stretch.hpp"

#include <algorithm>
#include <map>

namespace skerry {

namespace {
constexpr std::size_t kShardsAtOnce = 64;  // of one reply, however few rows they have

void append_word(std::string& out, std::uint64_t word) {
    out.append(reinterpret_cast<const char*>(&word), sizeof word);
}

// Its place and live entries, as they are hashed.
void describe(const RowAddress& address, const ElementOrder& element, const Leaf& leaf,
              std::string& out) {
    out.clear();
    append_word(out, address.order.order);
    append_word(out, address.order.check);
    append_word(out,
                std::uint64_t{address.database} << 8 | static_cast<std::uint8_t>(element.kind));
    append_word(out, element.hash.high);
    append_word(out, element.hash.low);
    for (const Entry& entry : leaf) {
        if (entry.removed) continue;
        append_word(out, entry.replica.value);
        append_word(out, entry.seq.value);
        append_word(out, entry.hlc.packed);
        append_word(out, entry.payload.size());
        out += entry.payload;
    }
}

std::optional<WalkPlace> end_of(std::string_view to) {
    return to.empty() ? std::optional(kWalkEnd) : decode_place(to);
}

constexpr std::size_t kDotBytes = 16;  // on the wire, about

// Fills a reply with leaves, as far as it goes.
class LeafGatherer {
  public:
    LeafGatherer(Store& store, const LeafRequest& request, LeafReply& reply)
        : request_(request), reply_(reply) {
        const ShardId shard = request.stretch.shard;
        const ShardRun run = run_of(shard, store.slot_shard_count());
        for (DatabaseId db = run.database_first; db <= run.database_last; ++db)
            if (VersionVector cleared = store.cleared_of_database(shard, db); !cleared.empty())
                databases_.emplace(db, ClearedKey{LeafKind::flush, db, store.flush_key_of(shard),
                                                  std::move(cleared)});
    }

    [[nodiscard]] bool full() const { return reply_.more || reply_.part.has_value(); }

    // `record`: of its key; nullptr: there is none.
    void add(PulledLeaf leaf, const KeyRecord* record) {
        if (full() || bytes_ >= kReplyBytesAim || reply_.leaves.size() == kWantedMax ||
            reply_.cleared.size() + 2 > kWantedMax) {
            reply_.more = true;
            return;
        }
        add_cleared_database(leaf.key.database);
        if (record != nullptr) add_cleared(leaf.key, *record);
        const std::string bytes = encode_leaf(leaf);
        if (bytes.size() <= kPartBytesMax) {
            bytes_ += bytes.size();
            reply_.leaves.push_back(std::move(leaf));
        } else if (!reply_.leaves.empty()) {
            reply_.more = true;  // it comes alone
        } else {
            const std::uint64_t offset = std::min<std::uint64_t>(request_.offset, bytes.size());
            reply_.part = LeafPart{.offset = offset,
                                   .total_bytes = bytes.size(),
                                   .total_hash = hash64(bytes),
                                   .bytes = bytes.substr(offset, kPartBytesMax)};
            reply_.more = offset + reply_.part->bytes.size() < bytes.size();
        }
    }

  private:
    void add_cleared(const LeafKey& key, const KeyRecord& record) {
        VersionVector cleared = cleared_of(record);
        const bool same = !reply_.cleared.empty() && reply_.cleared.back().key == key.key &&
                          reply_.cleared.back().database == key.database &&
                          reply_.cleared.back().kind == LeafKind::clear;
        if (!cleared.empty() && !same)
            add({LeafKind::clear, key.database, key.key, std::move(cleared)});
    }

    // Once, however many leaves of it there are.
    void add_cleared_database(DatabaseId database) {
        if (auto cleared = databases_.extract(database)) add(std::move(cleared.mapped()));
    }

    void add(ClearedKey cleared) {
        bytes_ += cleared.key.size() + kDotBytes * cleared.clock.count();
        reply_.cleared.push_back(std::move(cleared));
    }

    const LeafRequest& request_;
    LeafReply& reply_;
    std::size_t bytes_ = 0;
    std::map<DatabaseId, ClearedKey> databases_;  // of which the reply names no clears yet
};
}  // namespace

bool settled(const Store& store, ShardId shard) {
    const ShardState& state = store.shard(shard);
    return state.clock == state.durable_clock && !state.staged;
}

std::string encode_place(const WalkPlace& place) {
    std::string out;
    Packer packer(out);
    packer.array(7);
    packer.number(place.database);
    packer.number(place.key.order);
    packer.number(place.key.check);
    packer.number(place.inside ? 1 : 0);
    packer.number(static_cast<std::uint64_t>(place.element.kind));
    packer.number(place.element.hash.high);
    packer.number(place.element.hash.low);
    return out;
}

std::optional<WalkPlace> decode_place(std::string_view bytes) {
    WalkPlace place;
    if (bytes.empty()) return place;
    Unpacker in(bytes);
    in.array_of(7);
    place.database = static_cast<DatabaseId>(in.number_up_to(kDatabaseIdCount));
    place.key.order = in.number();
    place.key.check = in.number();
    place.inside = in.number_up_to(1) == 1;
    place.element.kind = static_cast<LeafKind>(in.number_up_to(255));
    place.element.hash.high = in.number();
    place.element.hash.low = in.number();
    return in.done("place") ? std::optional(place) : std::nullopt;
}

LeafKey key_of(const WalkedLeaf& walked) {
    return {.database = walked.record.address.database,
            .kind = walked.kind,
            .key = std::string(walked.record.key.view()),
            .sub = std::string(walked.sub)};
}

std::optional<std::uint64_t> item_of(const SipKey& key, const RowAddress& address,
                                     const ElementOrder& element, const Leaf& leaf) {
    if (!leaf.any_live()) return std::nullopt;
    std::string described;
    describe(address, element, leaf, described);
    return sip_hash(key, described);
}

Result<std::optional<std::string>> visit_items(Store& store, Whose whose, const Stretch& stretch,
                                               std::size_t& row_count, VisitItem visit) {
    auto place = decode_place(stretch.from);
    const auto to = end_of(stretch.to);
    if (!store.holds(stretch.shard) || !place || !to)
        return fail(Code::malformed, "stretch: shard or place");
    std::string described;
    const bool done =
        walk_leaves(store, stretch.shard, *place, *to, row_count, [&](const WalkedLeaf& walked) {
            const bool passed = whose == Whose::server && walked.leaf.outside(stretch.base);
            if (!walked.leaf.any_live() || passed) return;
            describe(walked.record.address, walked.element, walked.leaf, described);
            visit(sip_hash(stretch.key, described), walked);
        });
    if (done) return std::nullopt;
    return encode_place(*place);
}

Result<SliceReply> serve_slices(Store& store, const SliceRequest& request) {
    SliceReply reply{
        .request = request.request, .nonce = store.options().nonce, .clocks = {}, .slices = {}};
    std::size_t rows_left = kRowsAtOnce;
    for (const auto& [shard, base] : request.bases) {
        if (!store.holds(shard)) return fail(Code::malformed, "slices: shard");
        if (shard < request.shard) continue;
        if (rows_left == 0 || reply.clocks.size() == kShardsAtOnce || !settled(store, shard)) break;
        reply.clocks.emplace_back(shard, store.shard(shard).durable_clock);
        Stretch stretch{.shard = shard,
                        .base = base,
                        .from = shard == request.shard ? request.from : std::string(),
                        .to = {},
                        .key = request.key};
        for (bool more = true; more && rows_left > 0;) {
            Slice slice{.shard = shard, .to = {}, .symbol = {}, .items = 0};
            const std::size_t most = std::min(rows_left, kSliceRows);
            std::size_t rows = most;
            const auto stopped =
                visit_items(store, Whose::server, stretch, rows, [&](std::uint64_t item, auto&) {
                    slice.symbol ^= CodedItem(request.key, item).symbol();
                    ++slice.items;
                });
            if (!stopped) return std::unexpected(stopped.error());
            more = stopped->has_value();
            rows_left -= most - rows;
            if (more) stretch.from = slice.to = **stopped;
            reply.slices.push_back(std::move(slice));
        }
        if (!reply.slices.back().to.empty()) break;
    }
    return reply;
}

Result<SymbolReply> serve_symbols(Store& store, const SymbolRequest& request) {
    SymbolReply reply{
        .request = request.request, .nonce = store.options().nonce, .clock = {}, .symbols = {}};
    if (!store.holds(request.stretch.shard) || request.count > kSymbolsMax ||
        request.first > kStretchRowsMax * 64)
        return fail(Code::malformed, "symbols: shard or count");
    if (!settled(store, request.stretch.shard)) return reply;
    reply.clock = store.shard(request.stretch.shard).durable_clock;
    reply.symbols.resize(request.count);
    std::size_t rows = kStretchRowsMax;
    const auto stopped = visit_items(
        store, Whose::server, request.stretch, rows, [&](std::uint64_t item, const WalkedLeaf&) {
            encode_item(request.stretch.key, item, request.first, reply.symbols);
        });
    if (!stopped) return std::unexpected(stopped.error());
    if (*stopped) reply.symbols.clear();  // it has grown: the asker begins with slices again
    return reply;
}

Result<LeafReply> serve_leaves(Store& store, const LeafRequest& request) {
    LeafReply reply;
    reply.request = request.request;
    reply.nonce = store.options().nonce;
    const ShardId shard = request.stretch.shard;
    if (!store.holds(shard)) return fail(Code::malformed, "leaves: shard");
    reply.busy = !settled(store, shard);
    if (reply.busy) return reply;
    reply.clock = store.shard(shard).durable_clock;
    LeafGatherer gatherer(store, request, reply);
    std::vector<std::uint64_t> items = request.items;
    std::ranges::sort(items);
    if (!items.empty()) {
        std::size_t rows = kStretchRowsMax;
        const auto stopped = visit_items(
            store, Whose::server, request.stretch, rows,
            [&](std::uint64_t item, const WalkedLeaf& walked) {
                if (std::ranges::binary_search(items, item))
                    gatherer.add({.key = key_of(walked), .leaf = walked.leaf}, &walked.record);
            });
        if (!stopped) return std::unexpected(stopped.error());
    }
    for (const LeafKey& key : request.keys) {
        if (store.address_of(key.database, key.key).shard != shard)
            return fail(Code::malformed, "leaves: a key of another shard");
        if (gatherer.full()) break;
        PulledLeaf found{.key = key, .leaf = {}};
        KeyRecord* record = store.find(key.database, key.key);
        if (record != nullptr)
            found.leaf = is_key_level(key.kind) ? record->leaf(key.kind)
                                                : store.element(*record, key.kind, key.sub);
        gatherer.add(std::move(found), record);
    }
    return reply;
}

}  // namespace skerry
