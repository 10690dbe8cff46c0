#include "node/feed.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "crdt/shortcut.hpp"
#include "crdt/types/clear.hpp"
#include "store/record.hpp"
#include "store/stage.hpp"

namespace skerry {

// ---- fetch

namespace {
// The bytes of a record that the chain has; nullopt: it has none of it.
std::optional<std::string_view> link_of(Chain chain, const Record& record, std::string_view body) {
    if (std::holds_alternative<Batch>(record)) return body;
    const Remote* remote = std::get_if<Remote>(&record);
    if (remote == nullptr || (chain == Chain::own && !remote->passed_on)) return std::nullopt;
    return remote->batch_bytes;
}

const Batch& batch_of(const Record& record) {
    const Remote* remote = std::get_if<Remote>(&record);
    return remote != nullptr ? remote->batch : std::get<Batch>(record);
}
}  // namespace

bool Asker::gets_all(const Batch& batch) const {
    return std::ranges::all_of(batch.ranges,
                               [this](const ShardRange& range) { return gets(range.shard); });
}

std::optional<std::string> Asker::part_of(const Batch& batch, std::string_view bytes) const {
    if (gets_all(batch)) return std::string(bytes);
    std::string part = skerry::part_of(
        batch, [this](ShardId shard) { return gets(shard); },
        [this](const LeafKey& key) {
            return shard_of(key.database, slot_of(key.key), slot_shard_count);
        });
    if (part.empty() || taken(Shortcut::part_passed_over)) return std::nullopt;
    return part;
}

FetchReply serve_fetch(const Log& log, const FetchRequest& request, std::uint64_t nonce,
                       LogPosition durable, const Asker& asker) {
    FetchReply reply{.request = request.request,
                     .nonce = nonce,
                     .status = FetchStatus::ok,
                     .records = {},
                     .more = false,
                     .through = request.after};
    if (request.nonce != nonce) {
        reply.status = FetchStatus::wrong_nonce;
        return reply;
    }
    const LogPosition to{std::min(request.to.value, durable.value)};
    StreamPosition previous = request.after;
    std::map<ShardId, VersionVector> foreign;
    std::size_t bytes = 0;
    const std::size_t credit = std::min<std::size_t>(request.credit_bytes, kReplyBytesAim);
    const auto read = log.read(
        LogPosition{request.after.value + 1}, [&](LogPosition position, std::string_view body) {
            if (position > to) return false;
            if (is_stage(body)) {  // large, and of no clock
                if (foreign.empty()) reply.through = StreamPosition{position.value};
                return true;
            }
            const Result<Record> record = decode_record(body);
            if (!record) return false;
            const auto link = link_of(request.chain, *record, body);
            if (const Remote* remote = std::get_if<Remote>(&*record); remote != nullptr && !link)
                for (const ShardRange& range : remote->batch.ranges)
                    if (asker.gets(range.shard))
                        foreign[range.shard].advance({remote->batch.writer, range.last});
            const Flip* flip = std::get_if<Flip>(&*record);
            if (flip != nullptr && !taken(Shortcut::flip_passed_over))
                for (const auto& [shard, clock] : flip->clocks)
                    if (asker.gets(shard)) foreign[shard].join(clock);
            const bool is_own = link && batch_of(*record).writer == asker.writer;
            auto part = link && !is_own ? asker.part_of(batch_of(*record), *link) : std::nullopt;
            if (!part && !is_own) {
                if (foreign.empty()) reply.through = StreamPosition{position.value};
                return true;
            }
            if (bytes >= credit || reply.records.size() >= kRecordsMax) {
                reply.more = true;
                return false;
            }
            FetchedRecord& fetched = reply.records.emplace_back();
            fetched.position = StreamPosition{position.value};
            fetched.previous = previous;
            fetched.foreign.assign(foreign.begin(), foreign.end());
            fetched.origin = is_own                                   ? RecordOrigin::skipped
                             : std::holds_alternative<Batch>(*record) ? RecordOrigin::own
                                                                      : RecordOrigin::remote;
            if (part) {
                fetched.body_bytes = part->size();
                if (part->size() <= kPartBytesMax) fetched.body = std::move(*part);
            }
            bytes += fetched.body.size() + 64;
            previous = reply.through = fetched.position;
            foreign.clear();
            return true;
        });
    if (!read) reply.status = FetchStatus::truncated;
    return reply;
}

std::optional<std::string> read_body(const Log& log, LogPosition position, const Asker& asker) {
    std::optional<std::string> found;
    const auto read = log.read(position, [&](LogPosition at, std::string_view body) {
        if (at != position) return false;
        const Result<Record> record = decode_record(body);
        const auto link = record ? link_of(Chain::relay, *record, body) : std::nullopt;
        if (link) found = asker.part_of(batch_of(*record), *link);
        return false;
    });
    return read ? found : std::nullopt;
}

// ---- pull

namespace {

// Where a pull goes on: behind this leaf, or at `offset` within it.
struct Cursor {
    std::string row;  // row key
    std::uint8_t kind = 0;
    std::uint64_t offset = 0;
};

std::string encode_cursor(const Cursor& cursor) {
    std::string out;
    Packer packer(out);
    packer.array(3);
    packer.bytes(cursor.row);
    packer.number(cursor.kind);
    packer.number(cursor.offset);
    return out;
}

Result<Cursor> decode_cursor(std::string_view bytes) {
    Cursor cursor;
    if (bytes.empty()) return cursor;
    Unpacker in(bytes);
    in.array_of(3);
    cursor.row = in.bytes(kElementRowKeyBytes);
    cursor.kind = static_cast<std::uint8_t>(in.number_up_to(255));
    cursor.offset = in.number();
    if (auto done = in.done("cursor"); !done) return std::unexpected(done.error());
    if (!parse_row_key(cursor.row)) return fail(Code::malformed, "cursor: row");
    return cursor;
}

class PullServer {
  public:
    // `draining`: the session whose leaves have not all joined, though the clocks say so; 0: none.
    PullServer(KvReader& stored, const PullRequest& request, Cursor cursor, std::uint64_t draining,
               PullChunk& chunk)
        : stored_(stored),
          request_(request),
          cursor_(std::move(cursor)),
          draining_(draining),
          chunk_(chunk) {}

    Result<void> run() {
        const auto first =
            cursor_.row.empty() ? ShardId{0} : parse_row_key(cursor_.row)->address.shard;
        const bool asks_for_all = std::ranges::all_of(
            request_.base, [](const auto& pair) { return pair.second.empty(); });
        for (const auto& [shard, base] : request_.base) {
            const auto meta = shard_meta(shard);
            if (!meta) return std::unexpected(meta.error());
            if (!meta->clock.empty()) chunk_.clocks.emplace_back(shard, meta->clock);
            if (!meta->purge_floor.empty()) chunk_.floors.emplace_back(shard, meta->purge_floor);
            // Markers that the asker lacks may be gone. Whoever has nothing at all misses none.
            if (!asks_for_all && !request_.full && !base.covers(meta->purge_floor) &&
                !taken(Shortcut::floor_not_asked))
                chunk_.status = PullStatus::need_full;
            if (shard < first || base.covers(meta->clock)) continue;
            lacking_.push_back(shard);
            if (full_) continue;
            databases_ = meta->databases;
            const auto staged =
                draining_ == 0 ? Result<bool>(false) : any_staged(stored_, draining_, shard);
            if (!staged) return std::unexpected(staged.error());
            const bool indexed = base.covers(meta->ix_floor) || taken(Shortcut::index_below_floor);
            const auto served = *staged   ? by_merge(shard, base, meta->before)
                                : indexed ? by_index(shard, base, meta->clock)
                                          : by_scan(shard, base);
            if (!served) return served;
        }
        if (full_) {
            chunk_.cursor = encode_cursor(next_);
            chunk_.estimate_leaves = leaves_left();
        }
        return {};
    }

  private:
    static constexpr std::size_t kRowsAtOnce = 1024;
    // A leaf no longer than this comes whole, however small the credit.
    static constexpr std::size_t kPartBytesMin = std::size_t{64} << 10;

    // As many to the end as in this chunk, for the same part of the keys' order: it is a hash. 0: not known, in a large key.
    [[nodiscard]] std::uint64_t leaves_left() const {
        const auto done_of = [&](const std::string& row, ShardId shard) {
            const auto place = row.empty() ? std::nullopt : std::optional(*parse_row_key(row));
            if (!place || place->address.shard != shard) return 0.0;
            const double whole = std::ldexp(static_cast<double>(place->address.order.order), -64) *
                                 static_cast<double>(request_.base.size());
            return whole - std::floor(whole);
        };
        const ShardId here = parse_row_key(next_.row)->address.shard;
        double done = -done_of(cursor_.row, lacking_.front());
        double left = 0;
        for (const ShardId shard : lacking_) {
            const double of_it = shard < here ? 1 : done_of(next_.row, shard);
            done += of_it;
            left += 1 - of_it;
        }
        constexpr double kTooLittle = 1e-7;
        if (done < kTooLittle) return 0;
        return static_cast<std::uint64_t>(static_cast<double>(chunk_.leaves.size()) * left / done);
    }

    Result<ShardMeta> shard_meta(ShardId shard) {
        const auto row = stored_.get(Table::meta, shard_meta_key(shard));
        if (!row) return std::unexpected(row.error());
        return *row ? decode_shard_meta(**row) : Result<ShardMeta>(ShardMeta{});
    }

    Result<void> by_index(ShardId shard, const VersionVector& base, const VersionVector& clock) {
        std::set<std::string> rows;
        for (const auto& [writer, last] : clock) {
            const auto scanned =
                stored_.scan(Table::ix, ix_key(shard, {writer, base.at(writer).next()}),
                             ix_key(shard, {writer, last.next()}),
                             [&](std::string_view, std::string_view value) {
                                 const std::string_view row = parse_ix_value(value).row_key;
                                 if (row >= cursor_.row) rows.emplace(row);
                                 return true;
                             });
            if (!scanned) return scanned;
        }
        for (const std::string& row : rows) {
            if (full_) break;
            const auto value = stored_.get(Table::rows, row);
            if (!value) return std::unexpected(value.error());
            if (!*value) return fail(Code::corrupt, "the index names a row that is not there");
            if (auto emitted = emit_row(row, std::string(**value), base); !emitted) return emitted;
        }
        return {};
    }

    Result<void> by_scan(ShardId shard, const VersionVector& base) {
        std::string from = std::max(cursor_.row, rows_from(shard, 0, 0));
        const std::string end = rows_end(shard);
        for (bool more = true; more && !full_;) {
            std::vector<std::pair<std::string, std::string>> rows;
            std::size_t bytes = 0;
            const auto scanned = stored_.scan(
                Table::rows, from, end, [&](std::string_view row, std::string_view value) {
                    rows.emplace_back(row, value);
                    bytes += row.size() + value.size();
                    return rows.size() < kRowsAtOnce && bytes < kReplyBytesAim;
                });
            if (!scanned) return scanned;
            more = !rows.empty();
            for (const auto& [row, value] : rows) {
                if (full_) break;
                if (auto emitted = emit_row(row, value, base); !emitted) return emitted;
                from = row + '\0';
            }
        }
        return {};
    }

    // A shard of which some leaves are staged: the index does not know them, so it is scanned, and
    // each of its rows is sent as it is with them.
    Result<void> by_merge(ShardId shard, const VersionVector& base, const VersionVector& before) {
        std::string from = std::max(cursor_.row, rows_from(shard, 0, 0));
        const std::string end = rows_end(shard);
        for (bool more = true; more && !full_;) {
            std::set<std::string> rows;
            std::string bound = end;  // what is known up to here
            const auto scanned =
                stored_.scan(Table::rows, from, end, [&](std::string_view row, std::string_view) {
                    rows.emplace(row);
                    if (rows.size() == kRowsAtOnce) bound = row;
                    return rows.size() < kRowsAtOnce;
                });
            if (!scanned) return scanned;
            const auto staged = read_staged(stored_, draining_, from, end, kRowsAtOnce);
            if (!staged) return std::unexpected(staged.error());
            for (const StagedRow& leaf : *staged) rows.emplace(row_of_place(leaf.place));
            if (!staged->empty())
                bound = std::min(bound, std::string(row_of_place(staged->back().place)));
            more = !rows.empty();
            for (const std::string& row : rows) {
                if (full_ || row > bound) break;
                if (auto emitted = emit_joined(row, base, before); !emitted) return emitted;
                from = row + '\xff';  // behind all that is staged of it, too
            }
        }
        return {};
    }

    Result<void> emit_joined(const std::string& row, const VersionVector& base,
                             const VersionVector& before) {
        const auto value = stored_.get(Table::rows, row);
        if (!value) return std::unexpected(value.error());
        // All leaves: a staged one may be outside the base where the row's is not.
        auto leaves = *value ? leaves_of(row, std::string(**value), {})
                             : Result<std::vector<PulledLeaf>>(std::vector<PulledLeaf>{});
        if (!leaves) return std::unexpected(leaves.error());
        if (auto joined = join_staged(row, before, *leaves); !joined) return joined;
        if (auto masked = unmask(row, *leaves); !masked) return masked;
        for (PulledLeaf& leaf : *leaves)
            if (leaf.leaf.outside(base)) emit(row, std::move(leaf));
        return {};
    }

    // A read may end after any leaf: a long one comes alone.
    Result<void> join_staged(const std::string& row, const VersionVector& before,
                             std::vector<PulledLeaf>& leaves) {
        for (std::string from = row;;) {
            const auto staged = read_staged(stored_, draining_, from, row + '\xff', kRowsAtOnce);
            if (!staged) return std::unexpected(staged.error());
            if (staged->empty()) return {};
            for (const StagedRow& one : *staged) {
                const LeafKind kind = one.staged.key.kind;
                auto place = std::ranges::find_if(
                    leaves, [&](const PulledLeaf& leaf) { return leaf.key.kind >= kind; });
                if (place == leaves.end() || place->key.kind != kind)
                    place = leaves.insert(place, PulledLeaf{one.staged.key, {}});
                join_leaf(place->leaf, before, one.staged.leaf, one.clock);
            }
            from = staged->back().place + '\0';
        }
    }

    // What the clears of its key or its database cover is not there, though the row may still hold it.
    Result<void> unmask(const std::string& row, std::vector<PulledLeaf>& leaves) {
        const auto place = parse_row_key(row);
        if (!place) return std::unexpected(place.error());
        for (PulledLeaf& leaf : leaves)
            if (clear::flushes(leaf.key.kind))
                clear::unmask(leaf.leaf, databases_[place_in_shard(place->address.database)].mask);
        if (!place->element || !clear::reaches(place->element->kind) || leaves.empty()) return {};
        if (auto owner = read_owner(place->address); !owner) return owner;
        for (PulledLeaf& leaf : leaves) clear::unmask(leaf.leaf, owner_mask_);
        return {};
    }

    // The key that an element belongs to, with a clear of it that has not joined.
    Result<void> read_owner(const RowAddress& address) {
        const std::string row = key_row_key(address);
        if (row == owner_) return {};
        const auto value = stored_.get(Table::rows, row);
        if (!value) return std::unexpected(value.error());
        KeyRow key;
        if (*value) {
            auto decoded = decode_key_row(**value);
            if (!decoded) return std::unexpected(decoded.error());
            key = std::move(*decoded);
        }
        owner_stored_ = value->has_value();
        owner_ = row;
        owner_key_ = std::move(key.key);
        owner_mask_ = std::move(key.sums.mask);
        if (draining_ == 0) return {};
        const std::string from = stage_place(address, LeafKind::clear, {});
        const auto staged = read_staged(stored_, draining_, from, from + '\0', 1);
        if (!staged) return std::unexpected(staged.error());
        for (const StagedRow& clears : *staged)
            owner_mask_.join(clear::covered(clears.staged.leaf));
        return {};
    }

    Result<void> emit_row(const std::string& row, const std::string& value,
                          const VersionVector& base) {
        auto leaves = leaves_of(row, value, base);
        if (!leaves) return std::unexpected(leaves.error());
        if (auto masked = unmask(row, *leaves); !masked) return masked;
        for (PulledLeaf& leaf : *leaves)
            if (leaf.leaf.outside(base)) emit(row, std::move(leaf));
        return {};
    }

    // Those outside the clock, by kind.
    Result<std::vector<PulledLeaf>> leaves_of(const std::string& row, const std::string& value,
                                              const VersionVector& clock) {
        const auto place = parse_row_key(row);
        if (!place) return std::unexpected(place.error());
        std::vector<PulledLeaf> leaves;
        LeafKey key{
            .database = place->address.database, .kind = LeafKind::string, .key = {}, .sub = {}};
        if (!place->element) {
            auto decoded = decode_key_row(value);
            if (!decoded) return std::unexpected(decoded.error());
            key.key = decoded->key;
            for (auto& [kind, leaf] : decoded->leaves) {
                key.kind = kind;
                if (leaf.outside(clock)) leaves.push_back({key, std::move(leaf)});
            }
            return leaves;
        }
        auto decoded = decode_element_row(value);
        if (!decoded) return std::unexpected(decoded.error());
        if (!decoded->leaf.outside(clock)) return leaves;
        if (auto owner = read_owner(place->address); !owner) return std::unexpected(owner.error());
        if (!owner_stored_) return fail(Code::corrupt, "an element without its key");
        key.kind = place->element->kind;
        key.key = owner_key_;
        key.sub = std::move(decoded->sub);
        leaves.push_back({std::move(key), std::move(decoded->leaf)});
        return leaves;
    }

    void emit(const std::string& row, PulledLeaf leaf) {
        const auto kind = static_cast<std::uint8_t>(leaf.key.kind);
        const bool at_cursor = row == cursor_.row && kind == cursor_.kind;
        if (full_ || (row == cursor_.row && kind < cursor_.kind) ||
            (at_cursor && cursor_.offset == 0))
            return;
        const std::string bytes = encode_leaf(leaf);
        const std::size_t part_bytes_max =
            std::clamp<std::size_t>(request_.credit_bytes, kPartBytesMin, kPartBytesMax);
        if (bytes.size() > part_bytes_max) {
            // Alone in its chunk.
            full_ = true;
            if (!chunk_.leaves.empty()) return;
            const std::uint64_t offset =
                at_cursor ? std::min<std::uint64_t>(cursor_.offset, bytes.size()) : 0;
            LeafPart& part = chunk_.part.emplace();
            part.offset = offset;
            part.total_bytes = bytes.size();
            part.total_hash = hash64(bytes);
            part.bytes = bytes.substr(offset, part_bytes_max);
            const bool whole = offset + part.bytes.size() == bytes.size();
            next_ = {row, kind, whole ? 0 : offset + part.bytes.size()};
            return;
        }
        chunk_.leaves.push_back(std::move(leaf));
        next_ = {row, kind, 0};
        bytes_ += bytes.size();
        full_ = bytes_ >= std::min<std::uint64_t>(request_.credit_bytes, kReplyBytesAim) ||
                chunk_.leaves.size() >= kLeavesMax;
    }

    KvReader& stored_;
    const PullRequest& request_;
    Cursor cursor_;
    std::uint64_t draining_;
    PullChunk& chunk_;
    Cursor next_ = cursor_;
    std::size_t bytes_ = 0;
    bool full_ = false;
    std::vector<ShardId> lacking_;  // that have something for the asker, from the cursor's on
    std::array<DatabaseSums, kDatabaseCount> databases_;  // of the shard that is served
    // The key of the element that was looked at last.
    std::string owner_;  // its row key
    bool owner_stored_ = false;
    std::string owner_key_;
    VersionVector owner_mask_;
};

}  // namespace

Result<PullChunk> serve_pull(KvReader& stored, const PullRequest& request) {
    PullChunk chunk;
    chunk.request = request.request;
    chunk.session = request.session;
    chunk.nonce = request.nonce;
    const auto cursor = decode_cursor(request.cursor);
    if (!cursor) {
        chunk.status = PullStatus::restart;
        return chunk;
    }
    const auto state = stored.get(Table::meta, kStateMetaKey);
    if (!state) return std::unexpected(state.error());
    std::uint64_t draining = 0;
    if (*state) {
        const auto meta = decode_state_meta(**state);
        if (!meta) return std::unexpected(meta.error());
        chunk.position = StreamPosition{meta->covered.value};
        draining = meta->draining;
    }
    PullServer server(stored, request, *cursor, draining, chunk);
    if (auto served = server.run(); !served) return std::unexpected(served.error());
    if (chunk.status == PullStatus::need_full) {
        chunk.leaves.clear();
        chunk.part.reset();
        chunk.cursor.clear();
        return chunk;
    }
    chunk.is_final = request.cursor.empty() && chunk.cursor.empty();
    return chunk;
}

}  // namespace skerry
