#include "net/message.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

#include "net/compress.hpp"
#include "tests/catch.hpp"
#include "tests/net/message_samples.hpp"

using namespace skerry;
namespace {
std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    REQUIRE(in.good());
    return {std::istreambuf_iterator<char>(in), {}};
}

std::string golden_path(std::size_t index, const Message& message) {
    return "tests/golden/messages/" + std::to_string(index + 1) + "_" +
           std::string(name_of(kind_of(message))) + ".bin";
}

PullChunk large_chunk() {
    PullChunk chunk{.request = 1,
                    .session = 2,
                    .nonce = 3,
                    .status = PullStatus::ok,
                    .clocks = sample_clocks(),
                    .floors = {},
                    .leaves = {},
                    .part = {},
                    .cursor = "",
                    .is_final = false,
                    .position = {},
                    .estimate_leaves = 0};
    for (int i = 0; i < 2000; ++i) {
        PulledLeaf pulled{.key = {0, LeafKind::string, "user:" + std::to_string(i), ""},
                          .leaf = {}};
        pulled.leaf.put({.replica = kSampleA,
                         .seq = Seq{1 + static_cast<std::uint64_t>(i)},
                         .hlc = Hlc{99},
                         .removed = false,
                         .payload = "the same words in every leaf"});
        chunk.leaves.push_back(std::move(pulled));
    }
    return chunk;
}
}  // namespace

TEST_CASE("message: every message comes back equal, plain and compressed", "[net][message]") {
    std::vector<Message> messages = sample_messages();
    std::set<MessageKind> kinds;
    for (const Message& message : messages) kinds.insert(kind_of(message));
    CHECK(kinds.size() == std::variant_size_v<Message>);  // the samples leave no kind out
    messages.emplace_back(large_chunk());
    for (const Message& message : messages) {
        INFO(name_of(kind_of(message)));
        for (const Compression compression : {Compression::never, Compression::where_it_helps}) {
            const Result<Message> back = decode(encode(message, compression));
            REQUIRE(back.has_value());
            CHECK(*back == message);
        }
    }
    const Message large = large_chunk();
    CHECK(encode(large, Compression::where_it_helps).size() < encode(large).size() / 3);
}

// SKERRY_WRITE_GOLDEN=1 writes the files anew, after a deliberate change of the format (raise
// kProtocolVersion).
TEST_CASE("message: the bytes of each message are the recorded ones", "[net][message]") {
    const std::vector<Message> messages = sample_messages();
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const std::string path = golden_path(i, messages[i]);
        INFO(path);
        if (std::getenv("SKERRY_WRITE_GOLDEN") != nullptr)
            std::ofstream(path, std::ios::binary) << encode(messages[i]);
        CHECK(read_file(path) == encode(messages[i]));
    }
}

TEST_CASE("message: every truncation is an error", "[net][message]") {
    for (const Message& message : sample_messages()) {
        const std::string frame = encode(message);
        for (std::size_t cut = 0; cut < frame.size(); ++cut)
            REQUIRE_FALSE(decode(std::string_view(frame).substr(0, cut)).has_value());
        CHECK_FALSE(decode(frame + '\0').has_value());
    }
}

TEST_CASE("message: a changed frame never decodes", "[net][message]") {
    std::mt19937 rng(1);
    for (const Message& message : sample_messages()) {
        const std::string frame = encode(message);
        for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
            std::string damaged = frame;
            damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
            REQUIRE_FALSE(decode(damaged).has_value());
        }
        for (int round = 0; round < 500; ++round) {
            std::string damaged = frame;
            for (std::size_t i = 1 + rng() % 8; i > 0; --i)
                damaged[rng() % damaged.size()] = static_cast<char>(rng());
            REQUIRE((damaged == frame || !decode(damaged).has_value()));
        }
    }
}

TEST_CASE("message: damage under a right checksum is an error or another sound message",
          "[net][message]") {
    std::mt19937 rng(2);
    std::size_t sound = 0;
    for (const Message& message : sample_messages()) {
        const std::string frame = encode(message);
        const std::string body = frame.substr(6, frame.size() - 14);
        for (int round = 0; round < 2000; ++round) {
            std::string damaged = body;
            for (std::size_t i = 1 + rng() % 3; i > 0; --i)
                damaged[rng() % damaged.size()] = static_cast<char>(rng());
            const auto kind = static_cast<std::uint8_t>(rng() % 8 == 0 ? rng() % 20 : frame[4]);
            if (decodes_soundly(seal(kProtocolVersion, kind, 0, damaged))) ++sound;
        }
    }
    CHECK(sound > 100);  // else the damage never reached the fields
}

TEST_CASE("message: the corpus of hostile bytes does no harm", "[net][message]") {
    std::size_t files = 0;
    for (const auto& file : std::filesystem::directory_iterator("tests/corpus/message")) {
        decodes_soundly_sealed(read_file(file.path()));
        ++files;
    }
    CHECK(files >= 8);
}

TEST_CASE("message: a later protocol version is refused with a sentence", "[net][message]") {
    const auto refused = decode(seal(kProtocolVersion + 1, 1, 0, "whatever a later version says"));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Code::unsupported);
    CHECK(refused.error().where.find("run the same release on all nodes") != std::string::npos);
    CHECK(decode(seal(kProtocolVersion, 200, 0, "\x92\x90\x90")).error().code == Code::unsupported);
    CHECK(decode(seal(kProtocolVersion, 1, 9, "\x92\x90\x90")).error().code == Code::unsupported);
}

TEST_CASE("message: limits are refused", "[net][message]") {
    CHECK(decode(std::string(kFrameBytesMax + 1, 'S')).error().code == Code::too_large);
    // A refusal's reason one byte too long, under a right checksum.
    const auto refuse = [](std::size_t reason_bytes) {
        std::string body;
        Packer packer(body);
        packer.array(2);
        packer.array(0);
        packer.array(2);
        packer.number(1);
        packer.bytes(std::string(reason_bytes, 'x'));
        return decode(seal(kProtocolVersion, 3, 0, body));
    };
    CHECK(refuse(kReasonBytesMax).has_value());
    CHECK(refuse(kReasonBytesMax + 1).error().code == Code::malformed);
    // A list of peers that claims four thousand million addresses.
    CHECK_FALSE(
        decode(seal(kProtocolVersion, 1, 0, std::string_view("\x92\x90\xdd\xff\xff\xff\xff", 7)))
            .has_value());
    // A compressed body that would fill the memory.
    const std::string bomb = *compress(std::string(64 * 1024 * 1024, '\0'));
    CHECK(decode(seal(kProtocolVersion, 1, 1, bomb)).error().code == Code::too_large);
}

TEST_CASE("message: a leaf outside a frame comes back equal, and damaged is an error",
          "[net][message]") {
    for (const PulledLeaf& leaf : sample_leaves()) {
        const std::string bytes = encode_leaf(leaf);
        REQUIRE(decode_leaf(bytes).has_value());
        CHECK(*decode_leaf(bytes) == leaf);
        for (std::size_t cut = 0; cut < bytes.size(); ++cut)
            CHECK_FALSE(decode_leaf(std::string_view(bytes).substr(0, cut)).has_value());
        CHECK_FALSE(decode_leaf(bytes + '\0').has_value());
    }
}
