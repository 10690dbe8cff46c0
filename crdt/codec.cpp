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
}  // namespace

// Turns msgpack-c's parse events into tokens; refuses whatever our formats do not use.
struct TokenVisitor : msgpack::null_visitor {
    Unpacker& into;
    std::size_t tokens_max;
    std::size_t arrays_open = 0;
    TokenVisitor(Unpacker& unpacker, std::size_t max) : into(unpacker), tokens_max(max) {}

    bool add(Unpacker::Token token) {
        if (into.tokens_.size() >= tokens_max) return false;
        into.tokens_.push_back(token);
        return true;
    }
    bool visit_nil() { return add({Unpacker::Kind::nil, 0, {}}); }
    bool visit_positive_integer(std::uint64_t v) { return add({Unpacker::Kind::number, v, {}}); }
    bool visit_bin(const char* v, std::uint32_t count) {
        return add({Unpacker::Kind::bytes, 0, {v, count}});
    }
    bool start_array(std::uint32_t count) {
        return ++arrays_open <= 16 && add({Unpacker::Kind::array, count, {}});
    }
    bool end_array() {
        --arrays_open;
        return true;
    }
    bool visit_boolean(bool) { return false; }
    bool visit_negative_integer(std::int64_t) { return false; }
    bool visit_float32(float) { return false; }
    bool visit_float64(double) { return false; }
    bool visit_str(const char*, std::uint32_t) { return false; }
    bool visit_ext(const char*, std::uint32_t) { return false; }
    bool start_map(std::uint32_t) { return false; }
    void parse_error(std::size_t, std::size_t) {}
    void insufficient_bytes(std::size_t, std::size_t) {}
};

std::size_t WriterTable::index_of(ReplicaId id) {
    const auto found = std::ranges::find(ids_, id);
    if (found != ids_.end()) return static_cast<std::size_t>(found - ids_.begin());
    ids_.push_back(id);
    return ids_.size() - 1;
}

void Packer::number(std::uint64_t value) {
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

Unpacker::Unpacker(std::string_view data, std::size_t tokens_max) {
    TokenVisitor visitor(*this, tokens_max);
    if (!msgpack::parse(data.data(), data.size(), consumed_, visitor) || tokens_.empty())
        error_ = "not a MessagePack value of numbers, bytes and arrays";
}

const Unpacker::Token* Unpacker::take(Kind kind) {
    if (failed()) return nullptr;
    if (position_ >= tokens_.size() || tokens_[position_].kind != kind) {
        error_ = "unexpected element " + std::to_string(position_);
        return nullptr;
    }
    return &tokens_[position_++];
}

std::uint64_t Unpacker::number() {
    const Token* token = take(Kind::number);
    return token != nullptr ? token->number : 0;
}

std::uint64_t Unpacker::number_up_to(std::uint64_t max) {
    const std::uint64_t value = number();
    if (value > max) reject("a number is out of range");
    return failed() ? 0 : value;
}

std::string_view Unpacker::bytes(std::size_t bytes_max) {
    const Token* token = take(Kind::bytes);
    if (token == nullptr) return {};
    if (token->bytes.size() > bytes_max) reject("a byte string is too long");
    return token->bytes;
}

bool Unpacker::take_nil() {
    if (failed() || position_ >= tokens_.size() || tokens_[position_].kind != Kind::nil)
        return false;
    ++position_;
    return true;
}

bool Unpacker::next_is_array() const {
    return !failed() && position_ < tokens_.size() && tokens_[position_].kind == Kind::array;
}

std::size_t Unpacker::array() {
    const Token* token = take(Kind::array);
    return token != nullptr ? token->number : 0;
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
    key.database = static_cast<std::uint8_t>(number_up_to(kDatabaseCount - 1));
    const std::uint64_t kind = number_up_to(255);
    if (!is_known(static_cast<std::uint8_t>(kind))) reject("a leaf is of an unknown kind");
    key.kind = static_cast<LeafKind>(kind);
    key.key = bytes(kKeyBytesMax);
    key.sub = bytes(kKeyBytesMax);
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
    return ShardId{static_cast<std::uint16_t>(number_up_to(kSlotCount - 1))};
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

Result<void> Unpacker::done(std::string_view what) const {
    if (failed()) return fail(Code::malformed, std::string(what) + ": " + error_);
    if (position_ != tokens_.size())
        return fail(Code::malformed, std::string(what) + ": elements left over");
    return {};
}

std::uint64_t NumberReader::big_endian(std::size_t bytes) {
    if (rest_.size() < bytes) {
        reject();
        return 0;
    }
    std::uint64_t value = 0;
    for (const char byte : rest_.substr(0, bytes))
        value = value << 8 | static_cast<unsigned char>(byte);
    rest_.remove_prefix(bytes);
    return value;
}

std::uint64_t NumberReader::number() {
    const std::uint64_t head = big_endian(1);
    if (head < 0x80) return head;
    if (head >= 0xcc && head <= 0xcf) return big_endian(std::size_t{1} << (head - 0xcc));
    reject();
    return 0;
}

std::uint64_t NumberReader::number_up_to(std::uint64_t max) {
    const std::uint64_t value = number();
    if (value > max) reject();
    return failed_ ? 0 : value;
}

std::size_t NumberReader::array() {
    const std::uint64_t head = big_endian(1);
    if (head >= 0x90 && head <= 0x9f) return head - 0x90;
    if (head == 0xdc || head == 0xdd) return big_endian(head == 0xdc ? 2 : 4);
    reject();
    return 0;
}

}  // namespace skerry
