#include "store/stage.hpp"

#include <algorithm>

namespace skerry {

namespace {
constexpr std::size_t kSessionBytes = 8;
constexpr std::size_t kPrefixBytes = kKeyRowKeyBytes - 1;  // shard, database, order, check
constexpr std::size_t kDatabaseAt = 2;
constexpr char kClockMark = static_cast<char>(0xff);  // no database has a number that begins so
constexpr std::size_t kBytesAtOnce = std::size_t{1} << 20;

bool is_clock(std::string_view place) {
    return place.size() > kDatabaseAt && place[kDatabaseAt] == kClockMark;
}

Result<StagedRow> decode_staged(std::string_view place, std::string_view value,
                                LogPosition& stage) {
    Result<RowKey> row = parse_row_key(row_of_place(place));
    if (!row) return std::unexpected(row.error());
    StagedRow found;
    found.place = place;
    found.address = row->address;
    Unpacker in(value);
    in.array_of(4);
    stage = LogPosition{in.number()};
    LeafKey& key = found.staged.key;
    key.database = row->address.database;
    const auto last = static_cast<std::uint8_t>(place.back());
    if (!row->element && (!is_known(last) || !is_key_level(static_cast<LeafKind>(last))))
        return fail(Code::corrupt, "staged leaf: kind");
    key.kind = row->element ? row->element->kind : static_cast<LeafKind>(last);
    key.key = in.bytes(kKeyBytesMax);
    key.sub = in.bytes(kValueBytesMax);
    found.staged.leaf = in.leaf();
    if (auto done = in.done("staged leaf"); !done) return fail(Code::corrupt, done.error().where);
    return found;
}

Result<VersionVector> read_clock(KvReader& stored, std::uint64_t session, ShardId shard,
                                 LogPosition stage) {
    const auto value = stored.get(Table::stage, stage_clock_key(session, shard, stage));
    if (!value) return std::unexpected(value.error());
    if (!*value) return fail(Code::corrupt, "a staged leaf without its clock");
    return decode_stage_clock(**value);
}
}  // namespace

std::string stage_place(const RowAddress& address, LeafKind kind, const ElementOrder& element) {
    if (!is_key_level(kind)) return element_row_key(address, element);
    return key_row_key(address) + static_cast<char>(kind);
}

std::string stage_places_from(const RowAddress& address) {
    return key_row_key(address).substr(0, kPrefixBytes);
}

std::string stage_places_end(const RowAddress& address) {
    return stage_places_from(address) + '\xff';
}

std::string_view row_of_place(std::string_view place) {
    return place.size() == kElementRowKeyBytes ? place : place.substr(0, kKeyRowKeyBytes);
}

std::string stage_key(std::uint64_t session, std::string_view place) {
    std::string key;
    key.reserve(kSessionBytes + place.size());
    append_u64(key, session);
    return key.append(place);
}

std::string stage_clock_key(std::uint64_t session, ShardId shard, LogPosition stage) {
    std::string key;
    append_u64(key, session);
    append_u16(key, shard.value);
    key.push_back(kClockMark);
    append_u64(key, stage.value);
    return key;
}

std::string encode_staged(LogPosition stage, const StagedLeaf& staged) {
    std::string out;
    Packer packer(out);
    packer.array(4);
    packer.number(stage.value);
    packer.bytes(staged.key.key);
    packer.bytes(staged.key.sub);
    packer.put(staged.leaf);
    return out;
}

std::string encode_stage_clock(const VersionVector& clock) {
    std::string out;
    Packer packer(out);
    packer.put(clock);
    return out;
}

Result<VersionVector> decode_stage_clock(std::string_view value) {
    Unpacker in(value);
    VersionVector clock = in.clock();
    if (auto done = in.done("stage clock"); !done) return fail(Code::corrupt, done.error().where);
    return clock;
}

Result<std::vector<StagedRow>> read_staged(KvReader& stored, std::uint64_t session,
                                           std::string_view from, std::string_view to,
                                           std::size_t count) {
    std::vector<StagedRow> rows;
    std::vector<LogPosition> stages;
    std::size_t bytes = 0;
    Result<void> outcome;
    const std::string end = to.empty() ? stage_key(session + 1, {}) : stage_key(session, to);
    const auto scanned = stored.scan(Table::stage, stage_key(session, from), end,
                                     [&](std::string_view key, std::string_view value) {
                                         const std::string_view place = key.substr(kSessionBytes);
                                         if (is_clock(place)) return true;
                                         Result<StagedRow> row =
                                             decode_staged(place, value, stages.emplace_back());
                                         if (!row) {
                                             outcome = std::unexpected(row.error());
                                             return false;
                                         }
                                         rows.push_back(std::move(*row));
                                         bytes += value.size();
                                         return rows.size() < count && bytes < kBytesAtOnce;
                                     });
    if (!scanned) return std::unexpected(scanned.error());
    if (!outcome) return std::unexpected(outcome.error());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (i != 0 && stages[i] == stages[i - 1] &&
            rows[i].address.shard == rows[i - 1].address.shard) {
            rows[i].clock = rows[i - 1].clock;
            continue;
        }
        auto clock = read_clock(stored, session, rows[i].address.shard, stages[i]);
        if (!clock) return std::unexpected(clock.error());
        rows[i].clock = std::move(*clock);
    }
    return rows;
}

Result<bool> any_staged(KvReader& stored, std::uint64_t session, ShardId shard) {
    bool found = false;
    const auto scanned =
        stored.scan(Table::stage, stage_key(session, rows_from(shard, 0, 0)),
                    stage_key(session, rows_end(shard)), [&](std::string_view, std::string_view) {
                        found = true;
                        return false;
                    });
    if (!scanned) return std::unexpected(scanned.error());
    return found;
}

Result<std::vector<std::string>> keys_of_other_sessions(KvReader& stored,
                                                        const std::vector<std::uint64_t>& kept,
                                                        std::size_t count) {
    std::vector<std::string> keys;
    std::string from;
    for (bool skip = true; std::exchange(skip, false);) {
        const auto scanned =
            stored.scan(Table::stage, from, {}, [&](std::string_view key, std::string_view) {
                const std::uint64_t session = read_u64(key);
                skip = std::ranges::find(kept, session) != kept.end();
                if (skip)
                    from = stage_key(session + 1, {});
                else
                    keys.emplace_back(key);
                return !skip && keys.size() < count;
            });
        if (!scanned) return std::unexpected(scanned.error());
    }
    return keys;
}

}  // namespace skerry
