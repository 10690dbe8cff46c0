#include "crdt/codec.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#define MSGPACK_NO_BOOST
#include <msgpack.hpp>
#pragma GCC diagnostic pop

namespace skerry {

namespace {
struct StringSink {
    std::string& out;
    void write(const char* data, std::size_t count) { out.append(data, count); }
};

// First bytes of what our formats use; MessagePack has more.
constexpr std::uint8_t kFixNumberMax = 0x7f, kFixArrayMin = 0x90, kFixArrayMax = 0x9f, kNil = 0xc0,
                       kBytes8 = 0xc4, kBytes32 = 0xc6, kNumber8 = 0xcc, kNumber64 = 0xcf,
                       kArray16 = 0xdc, kArray32 = 0xdd;
}  // namespace

std::size_t WriterTable::index_of(ReplicaId id) {
    const auto found = std::ranges::find(ids_, id);
    if (found != ids_.end()) return static_cast<std::size_t>(found - ids_.begin());
    ids_.push_back(id);
    return ids_.size() - 1;
}

void Packer::number(std::uint64_t value) {
    if (value <= kFixNumberMax) return out_.push_back(static_cast<char>(value));
    StringSink sink{out_};
    msgpack::packer<StringSink>(sink).pack_uint64(value);
}

void Packer::bytes(std::string_view value) {
    StringSink sink{out_};
    msgpack::packer<StringSink> packer(sink);
    packer.pack_bin(static_cast<std::uint32_t>(value.size()));
    packer.pack_bin_body(value.data(), static_cast<std::uint32_t>(value.size()));
}

void Packer::array(std::size_t count) {
    StringSink sink{out_};
    msgpack::packer<StringSink>(sink).pack_array(static_cast<std::uint32_t>(count));
}

void Packer::replica(ReplicaId id) { number(table_ != nullptr ? table_->index_of(id) : id.value); }

void Packer::put(const VersionVector& clock) {
    array(2 * clock.count());
    for (const auto& [id, seq] : clock) {
        replica(id);
        number(seq.value);
    }
}

void Packer::put(const Entry& entry) {
    array(4);
    replica(entry.replica);
    number(entry.seq.value);
    number(entry.hlc.packed);
    if (!entry.removed) {
        bytes(entry.payload);
    } else if (entry.payload.empty()) {
        nil();
    } else {
        array(1);
        bytes(entry.payload);
    }
}

void Packer::put(const Leaf& leaf) {
    array(leaf.count());
    for (const Entry& entry : leaf) put(entry);
}

void Packer::put(const LeafKey& key) {
    array(4);
    number(key.database);
    number(static_cast<std::uint8_t>(key.kind));
    bytes(key.key);
    bytes(key.sub);
}

void Packer::put(const LeafDelta& delta) {
    array(2);
    put(delta.entry);
    array(2 * delta.superseded.size());
    for (const Dot& dot : delta.superseded) {
        replica(dot.replica);
        number(dot.seq.value);
    }
}

void Packer::put(const WriterTable& table) {
    array(table.ids().size());
    for (const ReplicaId id : table.ids()) number(id.value);
}

void Packer::put(const ShardClocks& clocks) {
    array(2 * clocks.size());
    for (const auto& [shard, clock] : clocks) {
        number(shard.value);
        put(clock);
    }
}

bool Unpacker::next_is(Kind kind) const {
    if (failed() || elements_open_ == 0 || consumed_ >= bytes_.size()) return false;
    const auto first = static_cast<std::uint8_t>(bytes_[consumed_]);
    switch (kind) {
        case Kind::number:
            return first <= kFixNumberMax || (first >= kNumber8 && first <= kNumber64);
        case Kind::bytes:
            return first >= kBytes8 && first <= kBytes32;
        case Kind::nil:
            return first == kNil;
        case Kind::array:
            return (first >= kFixArrayMin && first <= kFixArrayMax) || first == kArray16 ||
                   first == kArray32;
    }
    return false;
}

std::uint64_t Unpacker::take(Kind kind) {
    if (!next_is(kind) || elements_left_ == 0) {
        reject("an element is missing, too many, or of another kind");
        return 0;
    }
    const auto first = static_cast<std::uint8_t>(bytes_[consumed_]);
    std::size_t number_bytes = 0;
    std::uint64_t number = 0;
    if (first <= kFixNumberMax) {
        number = first;
    } else if (first <= kFixArrayMax) {
        number = first - kFixArrayMin;
    } else if (first != kNil) {
        const std::uint8_t shortest = kind == Kind::number  ? kNumber8
                                      : kind == Kind::bytes ? kBytes8
                                                            : kArray16;
        number_bytes = std::size_t{kind == Kind::array ? 2U : 1U} << (first - shortest);
    }
    if (number_bytes > bytes_.size() - consumed_ - 1) {
        reject("an element is cut");
        return 0;
    }
    for (std::size_t i = 0; i < number_bytes; ++i)
        number = number << 8 | static_cast<std::uint8_t>(bytes_[consumed_ + 1 + i]);
    consumed_ += 1 + number_bytes;
    --elements_left_;
    --elements_open_;
    return number;
}

std::uint64_t Unpacker::number() { return take(Kind::number); }

std::uint64_t Unpacker::number_up_to(std::uint64_t max) {
    const std::uint64_t value = number();
    if (value > max) reject("a number is out of range");
    return failed() ? 0 : value;
}

std::string_view Unpacker::bytes(std::size_t bytes_max) {
    const std::uint64_t count = take(Kind::bytes);
    if (count > bytes_max) reject("a byte string is too long");
    if (count > bytes_.size() - consumed_) reject("a byte string is cut");
    if (failed()) return {};
    consumed_ += count;
    return bytes_.substr(consumed_ - count, count);
}

bool Unpacker::take_nil() {
    if (!next_is(Kind::nil)) return false;
    static_cast<void>(take(Kind::nil));
    return true;
}

bool Unpacker::next_is_array() const { return next_is(Kind::array); }

std::size_t Unpacker::array() {
    const std::uint64_t count = take(Kind::array);
    // Each element has a byte at least: no count is believed that the bytes cannot hold.
    if (count > bytes_.size() - consumed_ || count > elements_left_)
        reject("an array is cut, or too long");
    if (failed()) return 0;
    elements_open_ += count;
    return count;
}

void Unpacker::array_of(std::size_t count) {
    if (array() != count) reject("an array has the wrong length");
}

ReplicaId Unpacker::replica() {
    const std::uint64_t value = number();
    if (!has_table_) return ReplicaId{value};
    if (value >= table_.ids_.size()) {
        reject("a writer is not in the table");
        return {};
    }
    return table_.ids_[value];
}

VersionVector Unpacker::clock() {
    VersionVector clock;
    const std::size_t count = array();
    if (count % 2 != 0) reject("a clock has an odd length");
    for (std::size_t i = 0; i < count && !failed(); i += 2) {
        const ReplicaId id = replica();
        const Seq seq{number()};
        if (seq == Seq{} || clock.at(id) != Seq{}) reject("a clock is not canonical");
        clock.advance(Dot{id, seq});
    }
    return clock;
}

Entry Unpacker::entry() {
    Entry entry;
    array_of(4);
    entry.replica = replica();
    entry.seq = Seq{number()};
    entry.hlc = Hlc{number()};
    if (entry.seq == Seq{}) reject("an entry has no sequence number");
    // A payload may be as long as the longest value and the few numbers beside it.
    constexpr std::size_t payload_max = kValueBytesMax + 64 * 1024;
    if (take_nil()) {
        entry.removed = true;
    } else if (next_is_array()) {
        array_of(1);
        entry.removed = true;
        entry.payload = bytes(payload_max);
        if (entry.payload.empty()) reject("an empty payload of a removal is not canonical");
    } else {
        entry.payload = bytes(payload_max);
    }
    return entry;
}

Leaf Unpacker::leaf() {
    Leaf leaf;
    const std::size_t count = array();
    for (std::size_t i = 0; i < count && !failed(); ++i) {
        Entry next = entry();
        if (leaf.of(next.replica) != nullptr) reject("a leaf names a writer twice");
        leaf.put(std::move(next));
    }
    return leaf;
}

LeafKey Unpacker::leaf_key() {
    LeafKey key;
    array_of(4);
    key.database = static_cast<DatabaseId>(number_up_to(kDatabaseIdCount - 1));
    const std::uint64_t kind = number_up_to(255);
    if (!is_known(static_cast<std::uint8_t>(kind))) reject("a leaf is of an unknown kind");
    key.kind = static_cast<LeafKind>(kind);
    key.key = bytes(kKeyBytesMax);
    key.sub = bytes(kValueBytesMax);
    return key;
}

LeafDelta Unpacker::leaf_delta() {
    LeafDelta delta;
    array_of(2);
    delta.entry = entry();
    const std::size_t count = array();
    if (count % 2 != 0) reject("a list of dots has an odd length");
    for (std::size_t i = 0; i < count && !failed(); i += 2) {
        const ReplicaId id = replica();
        delta.superseded.push_back(Dot{id, Seq{number()}});
        if (id == delta.entry.replica) reject("an operation lists its writer's own dot");
    }
    return delta;
}

ShardId Unpacker::shard() {
    return ShardId{static_cast<std::uint16_t>(number_up_to(kShardCountMax - 1))};
}

ShardClocks Unpacker::shard_clocks() {
    ShardClocks clocks;
    const std::size_t count = array();
    if (count % 2 != 0) reject("a list of clocks has an odd length");
    for (std::size_t i = 0; i < count && !failed(); i += 2) {
        const ShardId next = shard();
        if (!clocks.empty() && clocks.back().first >= next)
            reject("a list of clocks is out of order");
        clocks.emplace_back(next, clock());
    }
    return clocks;
}

void Unpacker::writer_table() {
    const std::size_t count = array();
    if (count > WriterTable::kWritersMax) reject("too many writers");
    for (std::size_t i = 0; i < count && !failed(); ++i) table_.ids_.push_back(ReplicaId{number()});
    has_table_ = true;
}

void Unpacker::reject(std::string_view why) {
    if (error_.empty()) error_ = why;
}

std::optional<std::string_view> Unpacker::behind() const {
    if (failed() || elements_open_ != 0) return std::nullopt;
    return bytes_.substr(consumed_);
}

Result<void> Unpacker::done(std::string_view what) const {
    if (failed()) return fail(Code::malformed, std::string(what) + ": " + error_);
    if (elements_open_ != 0)
        return fail(Code::malformed, std::string(what) + ": elements left over");
    if (consumed_ != bytes_.size())
        return fail(Code::malformed, std::string(what) + ": bytes behind the end");
    return {};
}

}  // namespace skerry
