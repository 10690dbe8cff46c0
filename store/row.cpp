#include "store/row.hpp"

namespace skerry {

void append_u16(std::string& out, std::uint16_t value) {
    out.push_back(static_cast<char>(value >> 8));
    out.push_back(static_cast<char>(value & 0xff));
}

void append_u64(std::string& out, std::uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8)
        out.push_back(static_cast<char>(value >> shift & 0xff));
}

std::uint64_t read_u64(std::string_view bytes) {
    ASSERT(bytes.size() >= 8);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return value;
}

KeyOrder key_order(std::string_view key, std::uint64_t seed) {
    const Hash128 hash = hash128(key, seed);
    return {std::uint64_t{slot_of(key)} << 50 | hash.high >> 14, hash.low};
}

ElementOrder element_order(LeafKind kind, std::string_view sub, std::uint64_t seed) {
    return {kind, hash128(sub, seed)};
}

namespace {
std::string prefix(ShardId shard, DatabaseId database) {
    std::string key;
    key.reserve(kElementRowKeyBytes);
    append_u16(key, shard.value);
    append_u16(key, database);
    return key;
}

std::string element_prefix(const RowAddress& address, LeafKind kind) {
    std::string key = key_row_key(address);
    key.back() = static_cast<char>(kind);
    return key;
}
}  // namespace

std::string key_row_key(const RowAddress& address) {
    std::string key = prefix(address.shard, address.database);
    append_u64(key, address.order.order);
    append_u64(key, address.order.check);
    key.push_back('\0');
    return key;
}

std::string element_row_key(const RowAddress& address, const ElementOrder& element) {
    std::string key = element_prefix(address, element.kind);
    append_u64(key, element.hash.high);
    append_u64(key, element.hash.low);
    return key;
}

std::string rows_from(ShardId shard, DatabaseId database, std::uint64_t order) {
    std::string key = prefix(shard, database);
    append_u64(key, order);
    return key;
}

std::string rows_end(ShardId shard, DatabaseId database) {
    return prefix(shard, static_cast<DatabaseId>(database + 1));
}

std::string rows_end(ShardId shard) { return rows_end(shard, kDatabaseIdCount - 1); }

std::string elements_from(const RowAddress& address, LeafKind kind, Hash128 from) {
    return element_row_key(address, {kind, from});
}

std::string elements_end(const RowAddress& address, LeafKind kind) {
    return element_prefix(address, static_cast<LeafKind>(static_cast<std::uint8_t>(kind) + 1));
}

Result<RowKey> parse_row_key(std::string_view bytes) {
    const bool is_element = bytes.size() == kElementRowKeyBytes;
    if (!is_element && bytes.size() != kKeyRowKeyBytes)
        return fail(Code::corrupt, "row key: length");
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    RowKey key;
    key.address.shard = ShardId{static_cast<std::uint16_t>(byte(0) << 8 | byte(1))};
    key.address.database = static_cast<DatabaseId>(byte(2) << 8 | byte(3));
    key.address.order = {read_u64(bytes.substr(4)), read_u64(bytes.substr(12))};
    const unsigned char kind = byte(20);
    if (is_element != (kind != 0) ||
        (is_element && (!is_known(kind) || is_key_level(static_cast<LeafKind>(kind)))))
        return fail(Code::corrupt, "row key: kind");
    if (is_element)
        key.element = ElementOrder{static_cast<LeafKind>(kind),
                                   {read_u64(bytes.substr(21)), read_u64(bytes.substr(29))}};
    return key;
}

namespace {
constexpr std::size_t kKeyRowHead = 3 + kElementKinds;  // the key, counts, sums
constexpr std::size_t kShardMetaParts = 6 + 3 * kDatabaseCount;

void put(Packer& packer, const ElementSums& sums) {
    if (sums == ElementSums{}) return packer.nil();
    packer.array(4);
    packer.number(sums.digest);
    packer.number(sums.counting);
    packer.put(sums.highest);
    packer.put(sums.mask);
}

ElementSums read_sums(Unpacker& in) {
    ElementSums sums;
    if (in.take_nil()) return sums;
    in.array_of(4);
    sums.digest = in.number();
    sums.counting = in.number();
    sums.highest = in.clock();
    sums.mask = in.clock();
    return sums;
}

void put(Packer& packer, const DatabaseSums& sums) {
    if (sums == DatabaseSums{}) return packer.nil();
    packer.array(3);
    packer.number(sums.digest);
    packer.number(sums.counts ? 1 : 0);
    packer.put(sums.mask);
}

DatabaseSums read_database_sums(Unpacker& in) {
    DatabaseSums sums;
    if (in.take_nil()) return sums;
    in.array_of(3);
    sums.digest = in.number();
    sums.counts = in.number_up_to(1) == 1;
    sums.mask = in.clock();
    return sums;
}
}  // namespace

std::string encode_key_row(std::string_view key, const ElementTotals& totals,
                           const ElementSums& sums, const KeyLeaves& leaves) {
    std::string out;
    Packer packer(out);
    packer.array(kKeyRowHead + 2 * leaves.size());
    packer.bytes(key);
    for (const std::uint64_t count : totals.live) packer.number(count);
    packer.number(totals.elements);
    put(packer, sums);
    for (const auto& [kind, leaf] : leaves) {
        packer.number(static_cast<std::uint8_t>(kind));
        packer.put(*leaf);
    }
    return out;
}

Result<KeyRow> decode_key_row(std::string_view bytes) {
    KeyRow row;
    Unpacker in(bytes);
    const std::size_t count = in.array();
    row.key = in.bytes(kKeyBytesMax);
    for (std::uint64_t& live : row.totals.live) live = in.number();
    row.totals.elements = in.number();
    row.sums = read_sums(in);
    for (std::size_t i = kKeyRowHead; i + 1 < count && !in.failed(); i += 2) {
        const std::uint64_t kind = in.number_up_to(255);
        if (!is_known(static_cast<std::uint8_t>(kind))) in.reject("kind");
        row.leaves.emplace_back(static_cast<LeafKind>(kind), in.leaf());
    }
    if (auto done = in.done("key row"); !done) return fail(Code::corrupt, done.error().where);
    return row;
}

std::string encode_element(std::string_view sub, const Leaf& leaf) {
    std::string out;
    Packer packer(out);
    packer.array(2);
    packer.bytes(sub);
    packer.put(leaf);
    return out;
}

Result<ElementRow> decode_element_row(std::string_view bytes) {
    Unpacker in(bytes);
    in.array_of(2);
    ElementRow row;
    row.sub = in.bytes(kValueBytesMax);
    row.leaf = in.leaf();
    if (auto done = in.done("element row"); !done) return fail(Code::corrupt, done.error().where);
    return row;
}

std::string ix_value(std::string_view row_key, Indexed indexed) {
    std::string value(row_key);
    if (indexed == Indexed::removed) value.push_back('r');
    return value;
}

IxValue parse_ix_value(std::string_view value) {
    const bool removed =
        value.size() == kKeyRowKeyBytes + 1 || value.size() == kElementRowKeyBytes + 1;
    if (removed) value.remove_suffix(1);
    return {value, removed ? Indexed::removed : Indexed::live};
}

std::string masked_key(const RowAddress& address) {
    return std::string(kMaskedPrefix) + key_row_key(address);
}

Result<RowAddress> parse_masked_key(std::string_view bytes) {
    if (!bytes.starts_with(kMaskedPrefix)) return fail(Code::corrupt, "masked key: prefix");
    const auto row = parse_row_key(bytes.substr(kMaskedPrefix.size()));
    if (!row) return std::unexpected(row.error());
    if (row->element) return fail(Code::corrupt, "masked key: an element");
    return row->address;
}

std::string ix_key(ShardId shard, const Dot& dot) {
    std::string key;
    append_u16(key, shard.value);
    append_u64(key, dot.replica.value);
    append_u64(key, dot.seq.value);
    return key;
}

Result<Dot> parse_ix_key(std::string_view bytes) {
    if (bytes.size() != 18) return fail(Code::corrupt, "ix key: length");
    return Dot{ReplicaId{read_u64(bytes.substr(2))}, Seq{read_u64(bytes.substr(10))}};
}

std::string deadline_key(WallTime at, const RowAddress& address) {
    std::string key;
    append_u64(key, static_cast<std::uint64_t>(at.count()));
    return key + key_row_key(address);
}

std::string encode(const ShardMeta& meta) {
    std::string out;
    Packer packer(out);
    packer.array(kShardMetaParts);
    packer.put(meta.clock);
    packer.put(meta.ix_floor);
    packer.put(meta.purge_floor);
    packer.put(meta.before);
    packer.number(meta.digest);
    packer.number(meta.tombstones);
    for (const std::uint64_t count : meta.keys) packer.number(count);
    for (const std::uint64_t count : meta.deadlines) packer.number(count);
    for (const DatabaseSums& sums : meta.databases) put(packer, sums);
    return out;
}

Result<ShardMeta> decode_shard_meta(std::string_view bytes) {
    Unpacker in(bytes);
    ShardMeta meta;
    in.array_of(kShardMetaParts);
    meta.clock = in.clock();
    meta.ix_floor = in.clock();
    meta.purge_floor = in.clock();
    meta.before = in.clock();
    meta.digest = in.number();
    meta.tombstones = in.number();
    for (std::uint64_t& count : meta.keys) count = in.number();
    for (std::uint64_t& count : meta.deadlines) count = in.number();
    for (DatabaseSums& sums : meta.databases) sums = read_database_sums(in);
    if (auto done = in.done("shard meta"); !done) return fail(Code::corrupt, done.error().where);
    return meta;
}

std::string shard_meta_key(ShardId shard) {
    std::string key(kShardMetaPrefix);
    append_u16(key, shard.value);
    return key;
}

std::optional<ShardId> parse_shard_meta_key(std::string_view bytes) {
    if (!bytes.starts_with(kShardMetaPrefix) || bytes.size() != kShardMetaPrefix.size() + 2)
        return std::nullopt;
    const auto byte = [&](std::size_t i) {
        return static_cast<unsigned char>(bytes[kShardMetaPrefix.size() + i]);
    };
    return ShardId{static_cast<std::uint16_t>(byte(0) << 8 | byte(1))};
}

std::string encode(const StateMeta& meta) {
    std::string out;
    Packer packer(out);
    packer.array(8);
    packer.number(kStoreFormat);
    packer.number(meta.covered.value);
    packer.number(meta.shard_count);
    packer.number(meta.hash_seed);
    packer.number(meta.clock.packed);
    packer.number(meta.draining);
    packer.number(meta.staging);
    packer.bytes(meta.cursor);
    return out;
}

Result<StateMeta> decode_state_meta(std::string_view bytes) {
    Unpacker in(bytes);
    (void)in.array();
    const std::uint64_t format = in.number();
    if (!in.failed() && format != kStoreFormat)
        return fail(Code::unsupported, "the data directory has format " + std::to_string(format) +
                                           ", this build reads " + std::to_string(kStoreFormat) +
                                           ": start the version that wrote it");
    StateMeta meta;
    meta.covered = LogPosition{in.number()};
    meta.shard_count = static_cast<std::uint16_t>(in.number_up_to(kSlotCount));
    meta.hash_seed = in.number();
    meta.clock = Hlc{in.number()};
    meta.draining = in.number();
    meta.staging = in.number();
    meta.cursor = in.bytes();
    if (auto done = in.done("state"); !done) return fail(Code::corrupt, done.error().where);
    return meta;
}

}  // namespace skerry
