// node/resp.hpp — the Redis protocol on both sides: requests out of a byte stream, replies into one.
//
// Requests  multibulk (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) and inline (`GET k\r\n`, with quotes and escapes), as Redis parses
//           them, its error texts included. Arguments are views into the input; only inline ones with quotes are copied.
// Replies   RESP2 or RESP3: the caller says what it means (map, null, real) and the protocol decides how it looks.
// Limits    checked before memory is taken; a count announced by the peer reserves nothing.
// Source    https://redis.io/docs/reference/protocol-spec; networking.c and sds.c of Redis 7.0.
// Differs   at most 1,048,576 arguments (Redis 7: INT_MAX) of at most kBulkBytesMax (Redis: 512 MiB, configurable).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/leaf_key.hpp"

namespace skerry {

inline constexpr std::size_t kBulkBytesMax = kValueBytesMax + 64 * 1024;
inline constexpr std::size_t kArgumentsMax = 1024 * 1024;
inline constexpr std::size_t kInlineBytesMax = 64 * 1024;
// What a connection may have sent of commands that are not executed yet; the largest possible
// request.
inline constexpr std::size_t kQueryBytesMax = 256 * 1024 * 1024;
// Before a client has authenticated, where a password is asked for.
inline constexpr std::size_t kArgumentsBeforeAuthMax = 10;
inline constexpr std::size_t kBulkBytesBeforeAuthMax = 16 * 1024;

class RequestParser {
  public:
    enum class Outcome : std::uint8_t { request, incomplete, error };

    // Parses one request off the front of `input` and removes its bytes from it. `incomplete`
    // removes nothing of a begun request: call again with the same bytes, wherever they now are,
    // and more behind them; what was parsed is remembered. Requests without arguments (an empty
    // line, `*0`) are skipped. An error is final.
    [[nodiscard]] Outcome next(std::string_view& input);

    // Lifetime: of the input that next() saw, and until the next call of it.
    [[nodiscard]] std::span<const std::string_view> arguments() const { return arguments_; }
    // What to tell the peer before closing, without "ERR ".
    [[nodiscard]] const std::string& error() const { return error_; }
    // How many bytes are known to be lacking to the argument being received; 0 = not known.
    [[nodiscard]] std::size_t bytes_missing() const { return bytes_missing_; }
    // Applies, or lifts, the narrow limits for peers that have yet to authenticate.
    void set_trusted(bool trusted) { trusted_ = trusted; }

  private:
    struct Slice {
        std::size_t offset;
        std::size_t bytes;
    };
    struct Header {
        Outcome outcome;
        std::optional<std::int64_t> number;  // of a request: absent = not a number
    };

    [[nodiscard]] Outcome next_multibulk(std::string_view& input);
    [[nodiscard]] Outcome next_inline(std::string_view& input);
    [[nodiscard]] Outcome read_count(std::string_view input);
    [[nodiscard]] Outcome read_bulk(std::string_view input);
    [[nodiscard]] Header read_header(std::string_view input, const char* too_big);
    [[nodiscard]] bool split_line(std::string_view line);
    void finish(std::string_view& input);
    [[nodiscard]] Outcome reject(std::string text);

    std::vector<Slice> slices_;  // of the request so far, from the first byte of the request
    std::vector<std::string_view> arguments_;
    std::string unquoted_;  // arguments of an inline request
    std::string error_;
    std::size_t offset_ = 0;  // how far the request at the front of the input is parsed
    std::size_t arguments_missing_ = 0;
    std::optional<std::size_t> bulk_bytes_;  // of the argument whose header has been read
    std::size_t bytes_missing_ = 0;
    bool trusted_ = true;
};

enum class Protocol : std::uint8_t { resp2 = 2, resp3 = 3 };

// Appends replies to a buffer of the caller's. Lifetime: the buffer outlives the writer.
class ReplyWriter {
  public:
    explicit ReplyWriter(std::string& out, Protocol protocol = Protocol::resp2)
        : out_(out), protocol_(protocol) {}

    [[nodiscard]] Protocol protocol() const { return protocol_; }
    void set_protocol(Protocol protocol) { protocol_ = protocol; }

    void simple(std::string_view text);  // no CR or LF in it
    void ok() { out_.append("+OK\r\n"); }
    // `text` begins with its code ("ERR no such key"); CR and LF in it become spaces.
    void error(std::string_view text);
    [[nodiscard]] std::uint64_t error_count() const { return errors_; }
    // The code of the last one.
    [[nodiscard]] const std::string& error_code() const { return error_code_; }
    void integer(std::int64_t value);
    void bulk(std::string_view bytes);
    void null();
    void null_array();

    // Each is followed by that many elements; a map by twice as many, keys and values in turn.
    void array(std::size_t count);
    void map(std::size_t count);
    void set(std::size_t count);
    void push(std::size_t count);

    void real(double value);
    void real(std::string_view text);  // already formatted, "inf" and "-inf" included
    void boolean(bool value);
    void verbatim(std::string_view format, std::string_view text);  // format: three characters
    void big_number(std::string_view digits);
    void raw(std::string_view encoded) { out_.append(encoded); }

  private:
    void header(char kind, std::int64_t number);

    std::string& out_;
    Protocol protocol_;
    std::uint64_t errors_ = 0;
    std::string error_code_;
};

}  // namespace skerry
