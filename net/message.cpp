#include "net/message.hpp"

#include <array>
#include <concepts>
#include <type_traits>

#include "crdt/hash.hpp"
#include "net/compress.hpp"

namespace skerry {

namespace {

constexpr std::string_view kMagic = "SKR";
constexpr std::size_t kHeaderBytes = 6;
constexpr std::size_t kChecksumBytes = 8;
constexpr std::size_t kWordBytes = 8;
constexpr std::size_t kCompressBytesMin = 512;  // below, a frame is one packet anyway
constexpr std::uint8_t kPlain = 0, kZstd = 1;
// A token takes 32 bytes while it is read. A frame within kReplyBytesAim cannot have more; a larger
// one has long values.
constexpr std::size_t kFrameTokensMax = 1024 * 1024;
constexpr std::size_t kLeafTokensMax = 8 * WriterTable::kWritersMax;

// Both sides of the wire are one description: fields() below names each field once, for the writer
// and the reader.
class FieldWriter {
  public:
    static constexpr bool kWrites = true;
    // Without a table replicas are written out.
    explicit FieldWriter(std::string& out, WriterTable* table = nullptr) : packer_(out, table) {}

    void number(std::uint64_t value) { packer_.number(value); }
    void index(std::uint16_t value, std::size_t count) {
        ASSERT(value < count);
        packer_.number(value);
    }
    void position(StreamPosition value) { packer_.number(value.value); }
    void seq(Seq value) { packer_.number(value.value); }
    void shard(ShardId value) { packer_.number(value.value); }
    void replica(ReplicaId value) { packer_.replica(value); }
    void flag(bool value) { packer_.number(value ? 1 : 0); }
    template <class Enum>
    void choice(Enum value, Enum) {
        packer_.number(static_cast<std::uint64_t>(value));
    }
    void text(const std::string& value, std::size_t bytes_max) {
        ASSERT(value.size() <= bytes_max);
        packer_.bytes(value);
    }
    void clock(const VersionVector& value) { packer_.put(value); }
    void clocks(const ShardClocks& value) { packer_.put(value); }
    // Eight bytes each, little-endian: they are random, so no shorter.
    void words(const std::vector<std::uint64_t>& values, std::size_t count_max) {
        ASSERT(values.size() <= count_max);
        std::string bytes;
        bytes.reserve(kWordBytes * values.size());
        for (const std::uint64_t value : values)
            for (std::size_t i = 0; i < kWordBytes; ++i)
                bytes.push_back(static_cast<char>(value >> (8 * i)));
        packer_.bytes(bytes);
    }
    void symbols(const std::vector<CodedSymbol>& values) {
        std::vector<std::uint64_t> halves;
        halves.reserve(2 * values.size());
        for (const CodedSymbol& symbol : values)
            halves.insert(halves.end(), {symbol.sum, symbol.check});
        words(halves, 2 * kSymbolsMax);
    }
    void clear_kind(LeafKind value) { packer_.number(value == LeafKind::flush ? 1 : 0); }
    void database(DatabaseId value) { packer_.number(value); }
    void domain(DomainNumber value) { packer_.number(value); }
    void check(bool sound) { ASSERT(sound); }
    void leaf_key(const LeafKey& value) { packer_.put(value); }
    void leaf(const Leaf& value) { packer_.put(value); }
    void record(std::size_t count) { packer_.array(count); }
    template <class T>
    void list(const std::vector<T>& values, std::size_t count_max, auto each) {
        ASSERT(values.size() <= count_max);
        packer_.array(values.size());
        for (const T& value : values) each(*this, value);
    }
    template <class T>
    void maybe(const std::optional<T>& value, auto each) {
        if (value.has_value()) {
            each(*this, *value);
        } else {
            packer_.nil();
        }
    }

  private:
    Packer packer_;
};

class FieldReader {
  public:
    static constexpr bool kWrites = false;
    explicit FieldReader(Unpacker& in) : in_(in) {}

    void number(std::uint64_t& value) { value = in_.number(); }
    void index(std::uint16_t& value, std::size_t count) {
        value = static_cast<std::uint16_t>(in_.number_up_to(count - 1));
    }
    void position(StreamPosition& value) { value.value = in_.number(); }
    void seq(Seq& value) { value.value = in_.number(); }
    void shard(ShardId& value) { value = in_.shard(); }
    void replica(ReplicaId& value) { value = in_.replica(); }
    void flag(bool& value) { value = in_.number_up_to(1) == 1; }
    template <class Enum>
    void choice(Enum& value, Enum last) {
        value = static_cast<Enum>(in_.number_up_to(static_cast<std::uint64_t>(last)));
    }
    void text(std::string& value, std::size_t bytes_max) { value = in_.bytes(bytes_max); }
    void clock(VersionVector& value) { value = in_.clock(); }
    void clocks(ShardClocks& value) { value = in_.shard_clocks(); }
    void words(std::vector<std::uint64_t>& values, std::size_t count_max) {
        const std::string_view bytes = in_.bytes(kWordBytes * count_max);
        if (bytes.size() % kWordBytes != 0) in_.reject("half a word");
        for (std::size_t at = 0; at < bytes.size() && !in_.failed(); at += kWordBytes) {
            std::uint64_t& value = values.emplace_back();
            for (std::size_t i = 0; i < kWordBytes; ++i)
                value |= std::uint64_t{static_cast<std::uint8_t>(bytes[at + i])} << (8 * i);
        }
    }
    void symbols(std::vector<CodedSymbol>& values) {
        std::vector<std::uint64_t> halves;
        words(halves, 2 * kSymbolsMax);
        if (halves.size() % 2 != 0) in_.reject("half a symbol");
        for (std::size_t i = 0; i + 1 < halves.size(); i += 2)
            values.push_back({halves[i], halves[i + 1]});
    }
    void clear_kind(LeafKind& value) {
        value = in_.number_up_to(1) == 1 ? LeafKind::flush : LeafKind::clear;
    }
    void database(DatabaseId& value) {
        value = static_cast<DatabaseId>(in_.number_up_to(kDatabaseIdCount - 1));
    }
    void domain(DomainNumber& value) {
        value = static_cast<DomainNumber>(in_.number_up_to(kDomainNumberMax));
    }
    void check(bool sound) {
        if (!in_.failed() && !sound) in_.reject("a domain");
    }
    void leaf_key(LeafKey& value) { value = in_.leaf_key(); }
    void leaf(Leaf& value) { value = in_.leaf(); }
    void record(std::size_t count) { in_.array_of(count); }
    template <class T>
    void list(std::vector<T>& values, std::size_t count_max, auto each) {
        const std::size_t count = in_.array();
        if (count > count_max) in_.reject("a list is too long");
        for (std::size_t i = 0; i < count && !in_.failed(); ++i) each(*this, values.emplace_back());
    }
    template <class T>
    void maybe(std::optional<T>& value, auto each) {
        if (!in_.take_nil()) each(*this, value.emplace());
    }

  private:
    Unpacker& in_;
};

// A message as the one or the other takes it.
template <class Io, class T>
using Of = std::conditional_t<Io::kWrites, const T, T>;

template <class Io>
void holdings(Io& io, Of<Io, Holdings>& m) {
    io.record(2);
    io.flag(m.main);
    io.list(m.domains, kDomainNumberMax, [](Io& each, auto& domain) { each.domain(domain); });
    // By number, each once, and 0 is no number of theirs.
    io.check(std::ranges::adjacent_find(m.domains, std::ranges::greater_equal()) ==
                 m.domains.end() &&
             (m.domains.empty() || m.domains.front() != kMainDomain));
}

template <class Io>
void domain_rule(Io& io, Of<Io, DomainRule>& m) {
    std::string what;
    if constexpr (Io::kWrites) what = m.text();
    io.record(1);
    io.text(what, kDomainTextBytesMax);
    if constexpr (!Io::kWrites) {
        auto rule = parse_domain_rule(what);
        io.check(rule.has_value());
        if (rule) m = std::move(*rule);
    }
}

template <class Io>
void introduction(Io& io, Of<Io, Introduction>& m) {
    io.record(15);
    io.number(m.protocol_version);
    io.text(m.cluster, kNameBytesMax);
    io.number(m.shard_count);
    io.number(m.hash_seed);
    io.text(m.name, kNameBytesMax);
    io.text(m.region, kNameBytesMax);
    io.replica(m.writer);
    io.number(m.nonce);
    io.text(m.gossip_address, kAddressBytesMax);
    io.text(m.publish_address, kAddressBytesMax);
    io.text(m.client_address, kAddressBytesMax);
    io.list(m.peers, kPeersMax,
            [](Io& each, auto& address) { each.text(address, kAddressBytesMax); });
    io.choice(m.role, Role::edge);
    holdings(io, m.holds);
    io.list(m.domains, kDomainNumberMax, [](Io& each, auto& rule) { domain_rule(each, rule); });
}

template <class Io>
void pulled_leaf(Io& io, Of<Io, PulledLeaf>& m) {
    io.record(2);
    io.leaf_key(m.key);
    io.leaf(m.leaf);
}

template <class Io>
void leaf_part(Io& io, Of<Io, LeafPart>& m) {
    io.record(4);
    io.number(m.offset);
    io.number(m.total_bytes);
    io.number(m.total_hash);
    io.text(m.bytes, kPartBytesMax);
}

template <class Io>
void sip_key(Io& io, Of<Io, SipKey>& m) {
    io.record(2);
    io.number(m.k0);
    io.number(m.k1);
}

template <class Io>
void stretch(Io& io, Of<Io, Stretch>& m) {
    io.record(5);
    io.shard(m.shard);
    io.clock(m.base);
    io.text(m.from, kPlaceBytesMax);
    io.text(m.to, kPlaceBytesMax);
    sip_key(io, m.key);
}

// One overload a message, chosen by type, whether const (writing) or not (reading).
template <class T, class M>
concept Is = std::same_as<std::remove_const_t<T>, M>;

template <class Io>
void fields(Io& io, Is<Hello> auto& m) {
    introduction(io, m.from);
}
template <class Io>
void fields(Io& io, Is<HelloOk> auto& m) {
    introduction(io, m.from);
}
template <class Io>
void fields(Io& io, Is<Refuse> auto& m) {
    io.record(2);
    io.choice(m.code, RefuseCode::domain);
    io.text(m.reason, kReasonBytesMax);
}
template <class Io>
void fields(Io& io, Is<BatchMessage> auto& m) {
    io.record(6);
    io.replica(m.writer);
    io.number(m.nonce);
    io.position(m.position);
    io.position(m.previous);
    io.clocks(m.foreign);
    io.text(m.body, kFrameBytesMax);
}
template <class Io>
void fields(Io& io, Is<Announce> auto& m) {
    io.record(7);
    io.replica(m.writer);
    io.number(m.nonce);
    io.position(m.position);
    io.position(m.previous);
    io.clocks(m.foreign);
    io.list(m.ranges, kShardCountMax, [](Io& each, auto& range) {
        each.record(3);
        each.shard(range.shard);
        each.seq(range.after);
        each.seq(range.last);
    });
    io.number(m.body_bytes);
}
template <class Io>
void fields(Io& io, Is<Heartbeat> auto& m) {
    io.record(11);
    io.replica(m.writer);
    io.number(m.nonce);
    io.text(m.name, kNameBytesMax);
    io.position(m.last);
    io.clocks(m.durable);
    io.list(m.digests, kShardCountMax, [](Io& each, auto& digest) {
        each.record(2);
        each.shard(digest.first);
        each.number(digest.second);
    });
    io.number(m.wall_ms);
    io.flag(m.whole);
    io.number(m.number);
    io.list(m.edges, kEdgesMax, [](Io& each, auto& edge) {
        each.record(4);
        each.replica(edge.writer);
        each.text(edge.name, kNameBytesMax);
        each.flag(edge.vouched);
        holdings(each, edge.holds);
    });
    io.clocks(m.edges_durable);
}
template <class Io>
void fields(Io& io, Is<FetchRequest> auto& m) {
    io.record(6);
    io.number(m.request);
    io.number(m.nonce);
    io.position(m.after);
    io.position(m.to);
    io.number(m.credit_bytes);
    io.choice(m.chain, Chain::relay);
}
template <class Io>
void fields(Io& io, Is<FetchReply> auto& m) {
    io.record(6);
    io.number(m.request);
    io.number(m.nonce);
    io.choice(m.status, FetchStatus::flip_in_way);
    io.list(m.records, kRecordsMax, [](Io& each, auto& record) {
        each.record(6);
        each.position(record.position);
        each.position(record.previous);
        each.clocks(record.foreign);
        each.choice(record.origin, RecordOrigin::skipped);
        each.number(record.body_bytes);
        each.text(record.body, kFrameBytesMax);
    });
    io.flag(m.more);
    io.position(m.through);
}
template <class Io>
void fields(Io& io, Is<BodyRequest> auto& m) {
    io.record(5);
    io.number(m.request);
    io.number(m.nonce);
    io.position(m.position);
    io.number(m.offset);
    io.number(m.bytes_max);
}
template <class Io>
void fields(Io& io, Is<BodyReply> auto& m) {
    io.record(7);
    io.number(m.request);
    io.number(m.nonce);
    io.position(m.position);
    io.choice(m.status, BodyStatus::wrong_nonce);
    io.number(m.total_bytes);
    io.number(m.offset);
    io.text(m.part, kPartBytesMax);
}
template <class Io>
void fields(Io& io, Is<PullRequest> auto& m) {
    io.record(8);
    io.number(m.request);
    io.number(m.session);
    io.number(m.nonce);
    io.clocks(m.base);
    io.clocks(m.target);
    io.text(m.cursor, kCursorBytesMax);
    io.number(m.credit_bytes);
    io.flag(m.full);
}
template <class Io>
void fields(Io& io, Is<PullChunk> auto& m) {
    io.record(12);
    io.number(m.request);
    io.number(m.session);
    io.number(m.nonce);
    io.choice(m.status, PullStatus::refused);
    io.clocks(m.clocks);
    io.clocks(m.floors);
    io.list(m.leaves, kLeavesMax, [](Io& each, auto& pulled) { pulled_leaf(each, pulled); });
    io.maybe(m.part, [](Io& each, auto& part) { leaf_part(each, part); });
    io.text(m.cursor, kCursorBytesMax);
    io.flag(m.is_final);
    io.position(m.position);
    io.number(m.estimate_leaves);
}
template <class Io>
void fields(Io& io, Is<Ack> auto& m) {
    io.record(3);
    io.replica(m.writer);
    io.number(m.nonce);
    io.clocks(m.durable);
}
template <class Io>
void fields(Io& io, Is<Ping> auto& m) {
    io.record(1);
    io.number(m.token);
}
template <class Io>
void fields(Io& io, Is<Pong> auto& m) {
    io.record(1);
    io.number(m.token);
}

template <class Io>
void fields(Io& io, Is<DigestRequest> auto& m) {
    io.record(3);
    io.number(m.request);
    io.clocks(m.clocks);
    io.text(m.cursor, kCursorBytesMax);
}
template <class Io>
void fields(Io& io, Is<DigestReply> auto& m) {
    io.record(5);
    io.number(m.request);
    io.clocks(m.clocks);
    io.list(m.shards, kShardCountMax, [](Io& each, auto& shard) {
        each.record(3);
        each.shard(shard.shard);
        each.number(shard.digest);
        each.list(shard.buckets, kBucketsMax, [](Io& inner, auto& bucket) {
            inner.record(2);
            inner.index(bucket.first, kBucketsMax);
            inner.number(bucket.second);
        });
    });
    io.number(m.rows);
    io.text(m.cursor, kCursorBytesMax);
}

template <class Io>
void fields(Io& io, Is<SliceRequest> auto& m) {
    io.record(6);
    io.number(m.request);
    io.clocks(m.bases);
    sip_key(io, m.key);
    io.shard(m.shard);
    io.text(m.from, kPlaceBytesMax);
    io.flag(m.back);
}
template <class Io>
void fields(Io& io, Is<SliceReply> auto& m) {
    io.record(4);
    io.number(m.request);
    io.number(m.nonce);
    io.clocks(m.clocks);
    io.list(m.slices, kSlicesMax, [](Io& each, auto& slice) {
        each.record(5);
        each.shard(slice.shard);
        each.text(slice.to, kPlaceBytesMax);
        each.number(slice.symbol.sum);
        each.number(slice.symbol.check);
        each.number(slice.items);
    });
}
template <class Io>
void fields(Io& io, Is<SymbolRequest> auto& m) {
    io.record(4);
    io.number(m.request);
    stretch(io, m.stretch);
    io.number(m.first);
    io.number(m.count);
}
template <class Io>
void fields(Io& io, Is<SymbolReply> auto& m) {
    io.record(4);
    io.number(m.request);
    io.number(m.nonce);
    io.clock(m.clock);
    io.symbols(m.symbols);
}
template <class Io>
void fields(Io& io, Is<LeafRequest> auto& m) {
    io.record(5);
    io.number(m.request);
    stretch(io, m.stretch);
    io.words(m.items, kWantedMax);
    io.list(m.keys, kWantedMax, [](Io& each, auto& key) { each.leaf_key(key); });
    io.number(m.offset);
}
template <class Io>
void fields(Io& io, Is<LeafReply> auto& m) {
    io.record(8);
    io.number(m.request);
    io.number(m.nonce);
    io.flag(m.busy);
    io.clock(m.clock);
    io.list(m.cleared, kWantedMax, [](Io& each, auto& cleared) {
        each.record(4);
        each.clear_kind(cleared.kind);
        each.database(cleared.database);
        each.text(cleared.key, kKeyBytesMax);
        each.clock(cleared.clock);
    });
    io.list(m.leaves, kLeavesMax, [](Io& each, auto& pulled) { pulled_leaf(each, pulled); });
    io.maybe(m.part, [](Io& each, auto& part) { leaf_part(each, part); });
    io.flag(m.more);
}
template <class Io>
void fields(Io& io, Is<Stable> auto& m) {
    io.record(7);
    io.number(m.nonce);
    io.number(m.members);
    io.clocks(m.clocks);
    io.flag(m.whole);
    io.flag(m.everybody);
    io.list(m.lineages, kEdgesMax, [](Io& each, auto& lineage) { each.number(lineage); });
    io.list(m.partial, kEdgesMax, [](Io& each, auto& holder) {
        each.record(2);
        each.number(holder.lineage);
        holdings(each, holder.holds);
    });
}

void append_checksum(std::string& frame) {
    std::uint64_t checksum = hash64(frame);
    for (std::size_t i = 0; i < kChecksumBytes; ++i, checksum >>= 8)
        frame.push_back(static_cast<char>(checksum));
}

std::uint64_t checksum_at_end(std::string_view frame) {
    std::uint64_t checksum = 0;
    for (std::size_t i = 0; i < kChecksumBytes; ++i)
        checksum = checksum << 8 | static_cast<std::uint8_t>(frame[frame.size() - 1 - i]);
    return checksum;
}

template <class M>
Result<Message> read_message(Unpacker& in) {
    M message;
    in.array_of(2);
    in.writer_table();
    FieldReader reader(in);
    fields(reader, message);
    if (auto done = in.done(name_of(M::kKind)); !done)
        return std::unexpected(std::move(done.error()));
    return Message(std::move(message));
}

// Tries each alternative's kind in turn.
template <std::size_t I = 0>
Result<Message> read_by_kind(std::uint8_t kind, Unpacker& in) {
    if constexpr (I == std::variant_size_v<Message>) {
        return fail(Code::unsupported,
                    "frame: kind " + std::to_string(kind) +
                        " is not known to this build; run the same release on all nodes");
    } else {
        using M = std::variant_alternative_t<I, Message>;
        if (kind == static_cast<std::uint8_t>(M::kKind)) return read_message<M>(in);
        return read_by_kind<I + 1>(kind, in);
    }
}

}  // namespace

std::string_view name_of(MessageKind kind) {
    switch (kind) {
        case MessageKind::hello:
            return "hello";
        case MessageKind::hello_ok:
            return "hello_ok";
        case MessageKind::refuse:
            return "refuse";
        case MessageKind::batch:
            return "batch";
        case MessageKind::announce:
            return "announce";
        case MessageKind::heartbeat:
            return "heartbeat";
        case MessageKind::fetch_request:
            return "fetch_request";
        case MessageKind::fetch_reply:
            return "fetch_reply";
        case MessageKind::body_request:
            return "body_request";
        case MessageKind::body_reply:
            return "body_reply";
        case MessageKind::pull_request:
            return "pull_request";
        case MessageKind::pull_chunk:
            return "pull_chunk";
        case MessageKind::ack:
            return "ack";
        case MessageKind::ping:
            return "ping";
        case MessageKind::pong:
            return "pong";
        case MessageKind::digest_request:
            return "digest_request";
        case MessageKind::digest_reply:
            return "digest_reply";
        case MessageKind::slice_request:
            return "slice_request";
        case MessageKind::slice_reply:
            return "slice_reply";
        case MessageKind::symbol_request:
            return "symbol_request";
        case MessageKind::symbol_reply:
            return "symbol_reply";
        case MessageKind::leaf_request:
            return "leaf_request";
        case MessageKind::leaf_reply:
            return "leaf_reply";
        case MessageKind::stable:
            return "stable";
    }
    return "unknown";
}

MessageKind kind_of(const Message& message) {
    return std::visit([]<class M>(const M&) { return M::kKind; }, message);
}

std::string encode(const Message& message, Compression compression) {
    WriterTable table;
    std::string written;
    FieldWriter writer(written, &table);
    std::visit([&writer](const auto& m) { fields(writer, m); }, message);

    std::string body;
    body.reserve(written.size() + 16 * table.ids().size() + 16);
    Packer head(body);
    head.array(2);
    head.put(table);
    body += written;
    ASSERT(kHeaderBytes + body.size() + kChecksumBytes <= kFrameBytesMax);

    std::uint8_t form = kPlain;
    if (compression == Compression::where_it_helps && body.size() >= kCompressBytesMin) {
        if (auto smaller = compress(body)) {
            body = std::move(*smaller);
            form = kZstd;
        }
    }
    std::string frame(kMagic);
    frame.reserve(kHeaderBytes + body.size() + kChecksumBytes);
    frame.push_back(static_cast<char>(kProtocolVersion));
    frame.push_back(static_cast<char>(kind_of(message)));
    frame.push_back(static_cast<char>(form));
    frame += body;
    append_checksum(frame);
    return frame;
}

Result<Message> decode(std::string_view frame) {
    if (frame.size() > kFrameBytesMax) return fail(Code::too_large, "frame: more than 8 MiB");
    if (frame.size() < kHeaderBytes + kChecksumBytes || !frame.starts_with(kMagic))
        return fail(Code::malformed, "frame: not one of ours");
    const auto version = static_cast<std::uint8_t>(frame[3]);
    if (version != kProtocolVersion)
        return fail(Code::unsupported, "frame: protocol version " + std::to_string(version) +
                                           ", but this build speaks " +
                                           std::to_string(kProtocolVersion) +
                                           "; run the same release on all nodes");
    if (checksum_at_end(frame) != hash64(frame.substr(0, frame.size() - kChecksumBytes)))
        return fail(Code::malformed, "frame: checksum");

    std::string_view body =
        frame.substr(kHeaderBytes, frame.size() - kHeaderBytes - kChecksumBytes);
    std::string plain;
    const auto form = static_cast<std::uint8_t>(frame[5]);
    if (form == kZstd) {
        auto decompressed = decompress(body, kFrameBytesMax);
        if (!decompressed) return std::unexpected(std::move(decompressed.error()));
        plain = std::move(*decompressed);
        body = plain;
    } else if (form != kPlain) {
        return fail(Code::unsupported,
                    "frame: form " + std::to_string(form) + " is not known to this build");
    }
    Unpacker in(body, kFrameTokensMax);
    return read_by_kind(static_cast<std::uint8_t>(frame[4]), in);
}

std::string encode_leaf(const PulledLeaf& leaf) {
    std::string out;
    FieldWriter writer(out);
    pulled_leaf(writer, leaf);
    return out;
}

Result<PulledLeaf> decode_leaf(std::string_view bytes) {
    PulledLeaf pulled;
    Unpacker in(bytes, kLeafTokensMax);
    FieldReader reader(in);
    pulled_leaf(reader, pulled);
    if (auto done = in.done("leaf"); !done) return std::unexpected(std::move(done.error()));
    return pulled;
}

}  // namespace skerry
