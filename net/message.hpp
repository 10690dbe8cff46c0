// net/message.hpp — what nodes say to one another, and the one form in which it travels.
//
// Frame    bytes 0-2 "SKR" | 3 protocol version | 4 kind | 5 form (0 plain, 1 zstd) | body | 8 bytes hash64 of all before,
//          little-endian. Body: one MessagePack array, first the table of writers, then the fields in the order below.
// Total    decode() takes any bytes: limits first (frame, then every count), then the checksum, then the fields.
// Later    a frame of a later protocol version is Code::unsupported, whatever follows its version byte.
// Opaque   a commit's body and a pull's cursor are bytes here: what they mean is the store's and the node's.
// Drawn    docs/PROTOCOL.md, field by field; the bytes of one example each are in tests/golden/messages/.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "crdt/codec.hpp"
#include "crdt/domain_rules.hpp"
#include "net/rateless_iblt.hpp"
#include "net/role.hpp"

namespace skerry {

inline constexpr std::uint8_t kProtocolVersion = 3;
inline constexpr std::size_t kFrameBytesMax = 8 * 1024 * 1024;
// A commit's body larger than this is announced, and fetched in parts of at most kPartBytesMax.
inline constexpr std::size_t kPublishedBodyBytesMax = 256 * 1024;
inline constexpr std::size_t kPartBytesMax = 1024 * 1024;
// What fetch replies and pull chunks aim at; one record or leaf may be larger, up to the frame.
inline constexpr std::size_t kReplyBytesAim = 1024 * 1024;
inline constexpr std::size_t kNameBytesMax = 64;      // of a cluster, node or region
inline constexpr std::size_t kAddressBytesMax = 300;  // host:port, the host up to 255
inline constexpr std::size_t kReasonBytesMax = 1024;
inline constexpr std::size_t kCursorBytesMax = 256 * 1024;
inline constexpr std::size_t kPeersMax = 1024;
inline constexpr std::size_t kRecordsMax = 64 * 1024;  // of one fetch reply
inline constexpr std::size_t kLeavesMax = 64 * 1024;   // of one pull chunk
inline constexpr std::size_t kBucketsMax = 256;        // of a shard: store/bucket_digests.hpp
inline constexpr std::size_t kPlaceBytesMax = 64;      // of a place between two leaves
inline constexpr std::size_t kSlicesMax = 4096;        // of one slice reply
inline constexpr std::size_t kSymbolsMax = 32 * 1024;  // of one symbol reply
inline constexpr std::size_t kWantedMax = 4096;        // leaves asked for at once
inline constexpr std::size_t kEdgesMax = 64 * 1024;    // of one heartbeat

// The numbers are on the wire: never reuse one.
enum class MessageKind : std::uint8_t {
    hello = 1,
    hello_ok = 2,
    refuse = 3,
    batch = 4,
    announce = 5,
    heartbeat = 6,
    fetch_request = 7,
    fetch_reply = 8,
    body_request = 9,
    body_reply = 10,
    pull_request = 11,
    pull_chunk = 12,
    ack = 13,
    ping = 14,
    pong = 15,
    digest_request = 16,
    digest_reply = 17,
    slice_request = 18,
    slice_reply = 19,
    symbol_request = 20,
    symbol_reply = 21,
    leaf_request = 22,
    leaf_reply = 23,
    stable = 24,
};
[[nodiscard]] std::string_view name_of(MessageKind kind);

// A position in the log of one publisher in one boot; 0 = before the first record.
struct StreamPosition {
    std::uint64_t value = 0;
    friend constexpr auto operator<=>(StreamPosition, StreamPosition) = default;
};

// Who speaks, and what must be equal or known before anything else is said.
struct Introduction {
    std::uint64_t protocol_version = kProtocolVersion;
    std::string cluster;            // clusters of different names do not talk
    std::uint64_t shard_count = 0;  // equal in a cluster, and fixed when it is made
    std::uint64_t hash_seed = 0;    // the same
    std::string name;               // one node of that name in a cluster
    std::string region;
    ReplicaId writer;
    std::uint64_t nonce = 0;         // of this boot
    std::string gossip_address;      // host:port to connect to, as others reach it
    std::string publish_address;     // the same, to subscribe to
    std::string client_address;      // the same, for Redis clients
    std::vector<std::string> peers;  // gossip addresses that the speaker knows
    Role role = Role::core;          // of an edge the gossip and publish addresses are empty
    Holdings holds = {};             // to an edge: of what it holds, as the rules
    std::vector<DomainRule>
        domains;  // of what is held; the same at every node, or there is no talk
    friend bool operator==(const Introduction&, const Introduction&) = default;
};

// First on every link, from the side that connected; answered with HelloOk or Refuse.
struct Hello {
    static constexpr MessageKind kKind = MessageKind::hello;
    Introduction from;
    friend bool operator==(const Hello&, const Hello&) = default;
};
struct HelloOk {
    static constexpr MessageKind kKind = MessageKind::hello_ok;
    Introduction from;
    friend bool operator==(const HelloOk&, const HelloOk&) = default;
};

enum class RefuseCode : std::uint8_t {
    not_ready = 0,
    protocol_version = 1,
    cluster = 2,
    shards = 3,          // count or hash seed
    same_name = 4,       // another node of the cluster has this name
    self = 5,            // that is me: an address list named the node itself
    same_writer = 6,     // one writer id, two live nonces: a copied data directory
    not_introduced = 7,  // something other than Hello came first
    gone = 8,            // the caller has left the cluster, or was forgotten
    no_hub = 9,          // an edge has called somebody who takes none in
    domain = 10,         // a domain means something else here, or an edge's is not held
};
struct Refuse {
    static constexpr MessageKind kKind = MessageKind::refuse;
    RefuseCode code = RefuseCode::not_ready;
    std::string reason;  // a sentence for the operator
    friend bool operator==(const Refuse&, const Refuse&) = default;
};

// Published: one commit. A receiver that has applied `previous` of this nonce holds `foreign` and
// all before it.
struct BatchMessage {
    static constexpr MessageKind kKind = MessageKind::batch;
    ReplicaId writer;
    std::uint64_t nonce = 0;
    StreamPosition position;
    StreamPosition previous;  // the one published before it; 0 = first of this boot, `foreign` is
                              // the whole clock
    ShardClocks foreign;      // the clock entries changed since `previous`
    std::string body;         // the commit's bytes
    friend bool operator==(const BatchMessage&, const BatchMessage&) = default;
};

// The dots (after, last] of the publisher in one shard.
struct AnnouncedRange {
    ShardId shard;
    Seq after;
    Seq last;
    friend bool operator==(const AnnouncedRange&, const AnnouncedRange&) = default;
};
// Published in place of a BatchMessage whose body is larger than kPublishedBodyBytesMax.
struct Announce {
    static constexpr MessageKind kKind = MessageKind::announce;
    ReplicaId writer;
    std::uint64_t nonce = 0;
    StreamPosition position;
    StreamPosition previous;
    ShardClocks foreign;
    std::vector<AnnouncedRange> ranges;  // by shard
    std::uint64_t body_bytes = 0;
    friend bool operator==(const Announce&, const Announce&) = default;
};

// An edge that a hub hears.
struct HeardEdge {
    ReplicaId writer;
    std::string name;
    bool vouched = false;  // the speaker's clock covers what it has
    Holdings holds = {};
    friend bool operator==(const HeardEdge&, const HeardEdge&) = default;
};

// Published once a second: finds a lost last message, a peer that knows more, a divergence. Between an edge and its hub it
// goes over their connection, and as a rule names the shards alone that have changed since the one before.
struct Heartbeat {
    static constexpr MessageKind kKind = MessageKind::heartbeat;
    ReplicaId writer;
    std::uint64_t nonce = 0;
    std::string name;
    StreamPosition last;  // the last position published
    ShardClocks durable;
    std::vector<std::pair<ShardId, std::uint64_t>>
        digests;  // by shard; over the live, unmasked entries
    std::uint64_t wall_ms = 0;
    bool whole = true;  // `durable` names every shard that has a clock
    std::uint64_t number =
        0;  // unless published: of the heartbeats over this connection; one that is missing shows
    std::vector<HeardEdge> edges;  // that the speaker, a hub, hears now
    ShardClocks
        edges_durable;  // the least of the durable clocks of those that are vouched for, and hold the shard
    friend bool operator==(const Heartbeat&, const Heartbeat&) = default;
};

// Which records of a log follow each other.
enum class Chain : std::uint8_t {
    own = 0,    // what its owner publishes: its commits, and those that its edges gave it
    relay = 1,  // all batches, whoever wrote them
};

// Asks a publisher for the records of its log in (after, to].
struct FetchRequest {
    static constexpr MessageKind kKind = MessageKind::fetch_request;
    std::uint64_t request = 0;  // comes back with the reply
    std::uint64_t nonce = 0;    // the boot that the positions belong to
    StreamPosition after;
    StreamPosition to;
    std::uint64_t credit_bytes = 0;  // at most so many; at least one record comes
    Chain chain = Chain::own;
    friend bool operator==(const FetchRequest&, const FetchRequest&) = default;
};

enum class FetchStatus : std::uint8_t {
    ok = 0,
    truncated = 1,    // the log no longer reaches back: pull
    wrong_nonce = 2,  // another boot: pull
    flip_in_way = 3,  // a flip's content is not in the log: pull
};
enum class RecordOrigin : std::uint8_t {
    own = 0,      // a commit of the publisher's
    remote = 1,   // a commit of another writer that the publisher applied
    skipped = 2,  // a position without content for the asker: it wrote that itself
};
struct FetchedRecord {
    StreamPosition position;
    StreamPosition previous;
    ShardClocks foreign;
    RecordOrigin origin = RecordOrigin::own;
    std::uint64_t body_bytes = 0;
    std::string body;  // empty while body_bytes > 0: too large for here, ask for it by BodyRequest
    friend bool operator==(const FetchedRecord&, const FetchedRecord&) = default;
};
struct FetchReply {
    static constexpr MessageKind kKind = MessageKind::fetch_reply;
    std::uint64_t request = 0;
    std::uint64_t nonce = 0;
    FetchStatus status = FetchStatus::ok;
    std::vector<FetchedRecord> records;
    bool more = false;       // there are records up to `to` that the credit did not allow
    StreamPosition through;  // so far there is nothing but these records, no clock entry either
    friend bool operator==(const FetchReply&, const FetchReply&) = default;
};

// Asks for a part of the body of one record.
struct BodyRequest {
    static constexpr MessageKind kKind = MessageKind::body_request;
    std::uint64_t request = 0;
    std::uint64_t nonce = 0;
    StreamPosition position;
    std::uint64_t offset = 0;
    std::uint64_t bytes_max = kPartBytesMax;  // no more than kPartBytesMax is sent
    friend bool operator==(const BodyRequest&, const BodyRequest&) = default;
};
enum class BodyStatus : std::uint8_t { ok = 0, gone = 1, wrong_nonce = 2 };
struct BodyReply {
    static constexpr MessageKind kKind = MessageKind::body_reply;
    std::uint64_t request = 0;
    std::uint64_t nonce = 0;
    StreamPosition position;
    BodyStatus status = BodyStatus::ok;
    std::uint64_t total_bytes = 0;
    std::uint64_t offset = 0;
    std::string part;
    friend bool operator==(const BodyReply&, const BodyReply&) = default;
};

// Asks for the leaves with a dot in (base, target]. The server keeps no session: all it needs is
// here.
struct PullRequest {
    static constexpr MessageKind kKind = MessageKind::pull_request;
    std::uint64_t request = 0;
    std::uint64_t session = 0;
    std::uint64_t nonce = 0;  // of the server, as the session began; 0 = the session begins
    ShardClocks
        base;  // the durable clock of every shard asked for; all of them empty: asks for all
    ShardClocks target;  // what the pull is for: the server makes a checkpoint that holds it first
    std::string cursor;  // empty = from the beginning
    std::uint64_t credit_bytes = 0;
    bool full = false;  // what lies behind the purge floor is compared afterwards: no need_full
    friend bool operator==(const PullRequest&, const PullRequest&) = default;
};

enum class PullStatus : std::uint8_t {
    ok = 0,
    restart = 1,    // another boot, or a cursor that is no longer good: begin the session again
    need_full = 2,  // the base is behind the purge floor
    refused = 3,    // busy, or a shard that is not held here: later, or elsewhere
};
struct PulledLeaf {
    LeafKey key;
    Leaf leaf;
    friend bool operator==(const PulledLeaf&, const PulledLeaf&) = default;
};
// A piece of one leaf that does not fit a frame: bytes of encode_leaf().
struct LeafPart {
    std::uint64_t offset = 0;
    std::uint64_t total_bytes = 0;
    std::uint64_t total_hash =
        0;  // hash64 of the whole: a leaf that changed meanwhile begins again at offset 0
    std::string bytes;
    friend bool operator==(const LeafPart&, const LeafPart&) = default;
};
struct PullChunk {
    static constexpr MessageKind kKind = MessageKind::pull_chunk;
    std::uint64_t request = 0;
    std::uint64_t session = 0;
    std::uint64_t nonce = 0;
    PullStatus status = PullStatus::ok;
    ShardClocks clocks;  // of the read transaction that these leaves come from
    ShardClocks floors;  // what that state has purged: markers at or below may be gone
    std::vector<PulledLeaf> leaves;
    std::optional<LeafPart> part;       // then `leaves` is empty
    std::string cursor;                 // for the next request
    bool is_final = false;              // the flip goes to `clocks`
    StreamPosition position;            // the log position that the server's checkpoint covers
    std::uint64_t estimate_leaves = 0;  // still to come; for progress only
    friend bool operator==(const PullChunk&, const PullChunk&) = default;
};

// From a receiver to the publisher while somebody waits there (WAIT).
struct Ack {
    static constexpr MessageKind kKind = MessageKind::ack;
    ReplicaId writer;  // of the receiver
    std::uint64_t nonce = 0;
    ShardClocks durable;
    friend bool operator==(const Ack&, const Ack&) = default;
};

struct Ping {
    static constexpr MessageKind kKind = MessageKind::ping;
    std::uint64_t token = 0;  // comes back
    friend bool operator==(const Ping&, const Ping&) = default;
};
struct Pong {
    static constexpr MessageKind kKind = MessageKind::pong;
    std::uint64_t token = 0;
    friend bool operator==(const Pong&, const Pong&) = default;
};

// Asks what the rows of some shards add up to, for a comparison on demand (CRDT.VERIFY). The server keeps nothing between
// two requests.
struct DigestRequest {
    static constexpr MessageKind kKind = MessageKind::digest_request;
    std::uint64_t request = 0;  // comes back
    ShardClocks clocks;         // the shards asked for, each with the asker's durable clock
    std::string cursor;         // empty = from the first of them
    friend bool operator==(const DigestRequest&, const DigestRequest&) = default;
};

struct ShardDigests {
    ShardId shard;
    std::uint64_t digest = 0;  // as kept with the shard
    std::vector<std::pair<std::uint16_t, std::uint64_t>>
        buckets;  // what the rows of this slice add up to, by bucket; none that is zero
    friend bool operator==(const ShardDigests&, const ShardDigests&) = default;
};
// One slice of the answer: what the same bucket has in several slices adds up.
struct DigestReply {
    static constexpr MessageKind kKind = MessageKind::digest_reply;
    std::uint64_t request = 0;
    ShardClocks clocks;  // of the shards that this slice has dealt with, as durable at the server
    std::vector<ShardDigests>
        shards;              // those of them that are comparable: clocks equal, nothing under way
    std::uint64_t rows = 0;  // read for this slice
    std::string cursor;      // for the next request; empty: that was all
    friend bool operator==(const DigestReply&, const DigestReply&) = default;
};

// ---- reconciling: docs/decisions/0013. Compared are the leaves with visible entries of which none lies outside the asker's
// base; each is an item, a keyed hash of its place and these entries. A server that has something of a shard under way has
// nothing to say of it now: it is asked again. It keeps nothing between two requests.

// A run of one shard's leaves, in the order of rows: from one place on, and before another. Places are opaque here.
struct Stretch {
    ShardId shard;
    VersionVector base;  // of the asker: leaves with an entry outside are left out
    std::string from;    // empty: the shard's beginning
    std::string to;      // empty: its end
    SipKey key;          // of the session, chosen by the asker
    friend bool operator==(const Stretch&, const Stretch&) = default;
};

// Asks what slices of some shards add up to.
struct SliceRequest {
    static constexpr MessageKind kKind = MessageKind::slice_request;
    std::uint64_t request = 0;  // comes back
    ShardClocks bases;          // the shards asked for, and the asker's base in each
    SipKey key;
    ShardId shard;      // it goes on in this one,
    std::string from;   // here
    bool back = false;  // the asked node is to repair the first shard from the asker, in its turn
    friend bool operator==(const SliceRequest&, const SliceRequest&) = default;
};
struct Slice {
    ShardId shard;
    std::string to;      // it begins where the one before it ends, or at the shard's beginning
    CodedSymbol symbol;  // of all its items: the first one
    std::uint64_t items = 0;
    friend bool operator==(const Slice&, const Slice&) = default;
};
struct SliceReply {
    static constexpr MessageKind kKind = MessageKind::slice_reply;
    std::uint64_t request = 0;
    std::uint64_t nonce = 0;    // of the server's boot
    ShardClocks clocks;         // of the shards in `slices`
    std::vector<Slice> slices;  // none: the shard is busy
    friend bool operator==(const SliceReply&, const SliceReply&) = default;
};

// Asks for some coded symbols of a stretch's items (net/rateless_iblt.hpp).
struct SymbolRequest {
    static constexpr MessageKind kKind = MessageKind::symbol_request;
    std::uint64_t request = 0;
    Stretch stretch;
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    friend bool operator==(const SymbolRequest&, const SymbolRequest&) = default;
};
struct SymbolReply {
    static constexpr MessageKind kKind = MessageKind::symbol_reply;
    std::uint64_t request = 0;
    std::uint64_t nonce = 0;
    VersionVector clock;               // of the shard
    std::vector<CodedSymbol> symbols;  // none: the shard is busy
    friend bool operator==(const SymbolReply&, const SymbolReply&) = default;
};

// Asks for the leaves of a stretch that have these items, and for these leaves whatever they are.
struct LeafRequest {
    static constexpr MessageKind kKind = MessageKind::leaf_request;
    std::uint64_t request = 0;
    Stretch stretch;
    std::vector<std::uint64_t> items;
    std::vector<LeafKey> keys;
    std::uint64_t offset = 0;  // of the first of them, whose first part has come
    friend bool operator==(const LeafRequest&, const LeafRequest&) = default;
};
// What clears of a key, or of its database in its shard, have removed, as far as the server knows: an entry at or below it is not lost, but gone.
struct ClearedKey {
    LeafKind kind = LeafKind::clear;  // or flush
    DatabaseId database = 0;
    std::string key;
    VersionVector clock;
    friend bool operator==(const ClearedKey&, const ClearedKey&) = default;
};
struct LeafReply {
    static constexpr MessageKind kKind = MessageKind::leaf_reply;
    std::uint64_t request = 0;
    std::uint64_t nonce = 0;
    bool busy = false;
    VersionVector clock;              // of the shard
    std::vector<ClearedKey> cleared;  // of the leaves' keys and databases
    std::vector<PulledLeaf> leaves;   // whole, markers too; an empty leaf: there is nothing
    std::optional<LeafPart> part;     // then `leaves` is empty
    bool more = false;                // there is more of what was asked for
    friend bool operator==(const LeafReply&, const LeafReply&) = default;
};

// From a hub to an edge that has all that was known when this cut was settled (store/stable_cut.hpp).
struct Stable {
    static constexpr MessageKind kKind = MessageKind::stable;
    std::uint64_t nonce = 0;    // of the edge's boot
    std::uint64_t members = 0;  // a hash of the three below: those that the cut was settled among
    ShardClocks
        clocks;  // unless whole: of the shards whose cut has changed, among the same members
    bool whole = true;
    bool everybody = true;                 // told with the whole alone,
    std::vector<std::uint64_t> lineages;   // and these,
    std::vector<PartHolder> partial = {};  // and these
    friend bool operator==(const Stable&, const Stable&) = default;
};

using Message =
    std::variant<Hello, HelloOk, Refuse, BatchMessage, Announce, Heartbeat, FetchRequest,
                 FetchReply, BodyRequest, BodyReply, PullRequest, PullChunk, Ack, Ping, Pong,
                 DigestRequest, DigestReply, SliceRequest, SliceReply, SymbolRequest, SymbolReply,
                 LeafRequest, LeafReply, Stable>;

[[nodiscard]] MessageKind kind_of(const Message& message);

enum class Compression : std::uint8_t { never, where_it_helps };

// The bytes of a frame. Requires: the limits above hold, and the plain frame is at most
// kFrameBytesMax.
[[nodiscard]] std::string encode(const Message& message,
                                 Compression compression = Compression::never);

// Errors: too_large; unsupported (a later protocol version or an unknown kind: `where` says what to
// do); malformed.
[[nodiscard]] Result<Message> decode(std::string_view frame);

// One leaf outside a frame, for LeafPart.   Errors: malformed.
[[nodiscard]] std::string encode_leaf(const PulledLeaf& leaf);
[[nodiscard]] Result<PulledLeaf> decode_leaf(std::string_view bytes);

}  // namespace skerry
