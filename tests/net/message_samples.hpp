// tests/net/message_samples.hpp — one example of each message, and what must hold of any bytes that are decoded.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "crdt/hash.hpp"
#include "net/message.hpp"

namespace skerry {

inline constexpr ReplicaId kSampleA{0x1122334455667788}, kSampleB{0xfedcba9876543210};

inline Introduction sample_introduction() {
    return {.cluster = "demo",
            .shard_count = 256,
            .hash_seed = 77,
            .name = "a",
            .region = "eu",
            .writer = kSampleA,
            .nonce = 99,
            .gossip_address = "[2001:db8::1]:7401",
            .publish_address = "[2001:db8::1]:7402",
            .client_address = "a.example:6379",
            .peers = {"b.example:7401", "c.example:7401"},
            .role = Role::hub,
            .holds = {.main = true, .domains = {1, 17, 2000}},
            .domains = {{1, "three", DatabaseId{3}, {}}, {17, "site-17", {}, "site-17:"}}};
}

inline ShardClocks sample_clocks() {
    return {{ShardId{0}, VersionVector{{kSampleA, Seq{7}}, {kSampleB, Seq{1ull << 40}}}},
            {ShardId{3}, VersionVector{}},
            {ShardId{255}, VersionVector{{kSampleB, Seq{2}}}}};
}

inline std::vector<PulledLeaf> sample_leaves() {
    PulledLeaf text{.key = {0, LeafKind::string, "greeting", ""}, .leaf = {}};
    text.leaf.put(
        {.replica = kSampleA, .seq = Seq{7}, .hlc = Hlc{99}, .removed = false, .payload = "hello"});
    PulledLeaf member{.key = {15, LeafKind::member, "{tag}set", std::string("\0\xff", 2)},
                      .leaf = {}};
    member.leaf.put(
        {.replica = kSampleA, .seq = Seq{6}, .hlc = Hlc{98}, .removed = true, .payload = ""});
    member.leaf.put({.replica = kSampleB,
                     .seq = Seq{2},
                     .hlc = Hlc{1ull << 60},
                     .removed = true,
                     .payload = "x"});
    return {text, member};
}

inline Stretch sample_stretch() {
    return {.shard = ShardId{3},
            .base = sample_clocks()[0].second,
            .from = "here",
            .to = "there",
            .key = {1, ~0ull}};
}

inline std::vector<Message> sample_replies() {
    return {
        FetchReply{.request = 5,
                   .nonce = 99,
                   .status = FetchStatus::ok,
                   .records = {{.position = {12},
                                .previous = {11},
                                .foreign = sample_clocks(),
                                .origin = RecordOrigin::remote,
                                .body_bytes = 4,
                                .body = "body"},
                               {.position = {13},
                                .previous = {12},
                                .foreign = {},
                                .origin = RecordOrigin::own,
                                .body_bytes = 9000000,
                                .body = ""}},
                   .more = true,
                   .through = {13}},
        BodyReply{.request = 6,
                  .nonce = 99,
                  .position = {13},
                  .status = BodyStatus::ok,
                  .total_bytes = 9000000,
                  .offset = 1048576,
                  .part = "part"},
        PullChunk{.request = 8,
                  .session = 4,
                  .nonce = 99,
                  .status = PullStatus::ok,
                  .clocks = sample_clocks(),
                  .floors = sample_clocks(),
                  .leaves = sample_leaves(),
                  .part = {},
                  .cursor = "next",
                  .is_final = true,
                  .position = {14},
                  .estimate_leaves = 1000},
        PullChunk{
            .request = 9,
            .session = 4,
            .nonce = 99,
            .status = PullStatus::ok,
            .clocks = {},
            .floors = {},
            .leaves = {},
            .part = LeafPart{.offset = 3, .total_bytes = 10, .total_hash = 42, .bytes = "piece"},
            .cursor = "",
            .is_final = false,
            .position = {},
            .estimate_leaves = 0},
        DigestReply{.request = 10,
                    .clocks = sample_clocks(),
                    .shards = {{ShardId{0}, 5, {{0, 2}, {255, 3}}}, {ShardId{3}, 0, {}}},
                    .rows = 1000,
                    .cursor = "on"},
    };
}

inline std::vector<Message> reconcile_samples() {
    return {
        SliceRequest{.request = 11,
                     .bases = sample_clocks(),
                     .key = {1, ~0ull},
                     .shard = ShardId{3},
                     .from = "here",
                     .back = true},
        SliceReply{.request = 11,
                   .nonce = 99,
                   .clocks = sample_clocks(),
                   .slices = {{ShardId{3}, "there", {1, ~0ull}, 7}, {ShardId{3}, "", {}, 0}}},
        SymbolRequest{.request = 12, .stretch = sample_stretch(), .first = 4, .count = 8},
        SymbolReply{.request = 12,
                    .nonce = 99,
                    .clock = sample_clocks()[0].second,
                    .symbols = {{1, ~0ull}, {}}},
        LeafRequest{.request = 13,
                    .stretch = sample_stretch(),
                    .items = {1, ~0ull},
                    .keys = {sample_leaves()[0].key, sample_leaves()[1].key},
                    .offset = 1048576},
        LeafReply{.request = 13,
                  .nonce = 99,
                  .busy = false,
                  .clock = sample_clocks()[0].second,
                  .cleared = {{LeafKind::clear, 3, "large", sample_clocks()[0].second},
                              {LeafKind::flush, 3, "flush:1", sample_clocks()[0].second}},
                  .leaves = sample_leaves(),
                  .part = {},
                  .more = true},
    };
}

// One of each kind, in the order of the kinds up to Pong; then what came later.
inline std::vector<Message> sample_messages() {
    const std::vector<Message> replies = sample_replies();
    std::vector<Message> messages{
        Hello{sample_introduction()},
        HelloOk{sample_introduction()},
        Refuse{.code = RefuseCode::same_name, .reason = "another node is named a"},
        BatchMessage{.writer = kSampleA,
                     .nonce = 99,
                     .position = {12},
                     .previous = {10},
                     .foreign = sample_clocks(),
                     .body = std::string("\x01\x00zz", 4)},
        Announce{.writer = kSampleA,
                 .nonce = 99,
                 .position = {13},
                 .previous = {12},
                 .foreign = {},
                 .ranges = {{ShardId{0}, Seq{7}, Seq{9}}, {ShardId{4}, Seq{0}, Seq{1}}},
                 .body_bytes = 9000000},
        Heartbeat{.writer = kSampleB,
                  .nonce = 1,
                  .name = "b",
                  .last = {3},
                  .durable = sample_clocks(),
                  .digests = {{ShardId{0}, 5}, {ShardId{3}, ~0ull}},
                  .wall_ms = 1700000000000,
                  .whole = false,
                  .number = 12,
                  .edges = {{kSampleA, "c", true, {.main = false, .domains = {17}}},
                            {kSampleB, "d", false}},
                  .edges_durable = sample_clocks()},
        FetchRequest{.request = 5,
                     .nonce = 99,
                     .after = {11},
                     .to = {13},
                     .credit_bytes = 1048576,
                     .chain = Chain::relay},
        replies[0],
        BodyRequest{
            .request = 6, .nonce = 99, .position = {13}, .offset = 1048576, .bytes_max = 1048576},
        replies[1],
        PullRequest{.request = 8,
                    .session = 4,
                    .nonce = 99,
                    .base = sample_clocks(),
                    .target = {},
                    .cursor = "here",
                    .credit_bytes = 65536,
                    .full = true},
        replies[2],
        Ack{.writer = kSampleB, .nonce = 1, .durable = sample_clocks()},
        Ping{.token = 17},
        Pong{.token = 17},
        replies[3],
        DigestRequest{.request = 10, .clocks = sample_clocks(), .cursor = "here"},
        replies[4],
    };
    for (Message& message : reconcile_samples()) messages.push_back(std::move(message));
    messages.push_back(Stable{.nonce = 1,
                              .members = 7,
                              .clocks = sample_clocks(),
                              .whole = true,
                              .everybody = false,
                              .lineages = {1, 1ull << 31}});
    return messages;
}

// A frame with a right checksum around any kind, form and body.
inline std::string seal(std::uint8_t version, std::uint8_t kind, std::uint8_t form,
                        std::string_view body) {
    std::string frame = "SKR";
    for (const std::uint8_t byte : {version, kind, form}) frame.push_back(static_cast<char>(byte));
    frame += body;
    const std::uint64_t checksum = hash64(frame);
    for (int shift = 0; shift < 64; shift += 8)
        frame.push_back(static_cast<char>(checksum >> shift));
    return frame;
}

// Any bytes: an error, or a message that survives another round trip. Returns whether they were a
// message.
inline bool decodes_soundly(std::string_view frame) {
    const Result<Message> first = decode(frame);
    if (!first) return false;
    const Result<Message> second = decode(encode(*first, Compression::where_it_helps));
    if (!second || !(*second == *first)) std::abort();
    return true;
}

// The same, and once more as the inside of a sealed frame: the first two bytes are kind and form.
inline void decodes_soundly_sealed(std::string_view bytes) {
    (void)decodes_soundly(bytes);
    if (bytes.size() < 2) return;
    (void)decodes_soundly(seal(kProtocolVersion, static_cast<std::uint8_t>(bytes[0]),
                               static_cast<std::uint8_t>(bytes[1]), bytes.substr(2)));
}

}  // namespace skerry
