// tests/node/resp_test.cpp — requests in every cut and with hostile bytes; replies in both protocols.
#include "node/resp.hpp"

#include <random>
#include <string>
#include <vector>

#include "tests/catch.hpp"

namespace skerry {
namespace {

using Outcome = RequestParser::Outcome;
using Request = std::vector<std::string>;

struct Parsed {
    std::vector<Request> requests;
    std::string error;
    std::size_t left = 0;
};

// Gives the parser `bytes` in pieces, each time in other memory, as a connection does whose buffer
// moves.
template <class NextPiece>
Parsed parse(const std::string& bytes, NextPiece next_piece, bool trusted = true) {
    RequestParser parser;
    parser.set_trusted(trusted);
    Parsed parsed;
    std::string pending;
    for (std::size_t at = 0; at < bytes.size();) {
        const std::size_t piece = std::min(next_piece(), bytes.size() - at);
        std::string moved = pending + bytes.substr(at, piece);
        at += piece;
        std::string_view input = moved;
        for (;;) {
            const Outcome outcome = parser.next(input);
            if (outcome == Outcome::incomplete) break;
            if (outcome == Outcome::error) {
                parsed.error = parser.error();
                return parsed;
            }
            parsed.requests.emplace_back(parser.arguments().begin(), parser.arguments().end());
        }
        pending = input;
    }
    parsed.left = pending.size();
    return parsed;
}

Parsed parse_whole(const std::string& bytes, bool trusted = true) {
    return parse(bytes, [&] { return bytes.size(); }, trusted);
}

std::string written(Protocol protocol, void (*write)(ReplyWriter&)) {
    std::string out;
    ReplyWriter writer(out, protocol);
    write(writer);
    return out;
}

}  // namespace

TEST_CASE("resp: requests are the same however the bytes are cut", "[node][resp]") {
    const std::string bytes =
        "*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*0\r\n\r\n*-1\r\n*1\r\n$0\r\n\r\nset \"a b\" "
        "'c\\'d'\r\n*3\r\n$3\r\nSET\r\n"
        "$4\r\n\r\n*1\r\n$10\r\n0123456789\r\n";
    const std::vector<Request> expected{
        {"GET", "k"}, {"PING"}, {""}, {"set", "a b", "c'd"}, {"SET", "\r\n*1", "0123456789"}};
    CHECK(parse_whole(bytes).requests == expected);
    for (std::size_t piece = 1; piece < bytes.size(); ++piece) {
        const Parsed parsed = parse(bytes, [&] { return piece; });
        CHECK(parsed.requests == expected);
        CHECK(parsed.left == 0);
    }
    std::mt19937 random(7);
    for (int i = 0; i < 300; ++i) {
        CHECK(parse(bytes, [&] { return std::size_t{1} + random() % 9; }).requests == expected);
    }
}

TEST_CASE("resp: an inline request has Redis's quotes and escapes", "[node][resp]") {
    CHECK(parse_whole("  a\tb  c \n").requests == std::vector<Request>{{"a", "b", "c"}});
    CHECK(parse_whole("x \"\\x41\\n\\\"\\q\\xZZ\" '\\n' \"\"\r\n").requests ==
          std::vector<Request>{{"x", "A\n\"qxZZ", "\\n", ""}});
    CHECK(parse_whole("a\"b c\" d\n").requests == std::vector<Request>{{"ab c", "d"}});
    for (const char* line : {"a \"b\n", "a 'b\n", "a \"b\"c\n", "a 'b'c\n", "\"\\\n"}) {
        INFO(line);
        CHECK(parse_whole(line).error == "Protocol error: unbalanced quotes in request");
    }
}

TEST_CASE("resp: what breaks the protocol gets Redis's own words", "[node][resp]") {
    const auto error = [](const std::string& bytes, bool trusted = true) {
        return parse_whole(bytes, trusted).error;
    };
    const std::string multibulk = "Protocol error: invalid multibulk length";
    for (const char* count : {"*a\r\n", "*\r\n", "*1048577\r\n", "*99999999999999999999\r\n",
                              "*01\r\n", "*+1\r\n", "*1 \r\n"}) {
        INFO(count);
        CHECK(error(count) == multibulk);
    }
    const std::string bulk = "Protocol error: invalid bulk length";
    for (const char* bytes : {"$-1\r\n", "$x\r\n", "$\r\n", "$999999999999\r\n", "$ 3\r\n"}) {
        INFO(bytes);
        CHECK(error("*1\r\n" + std::string(bytes)) == bulk);
    }
    CHECK(error("*1\r\n$" + std::to_string(kBulkBytesMax + 1) + "\r\n") == bulk);
    CHECK(error("*1\r\n$" + std::to_string(kBulkBytesMax) + "\r\n").empty());
    CHECK(error("*1\r\n:3\r\n") == "Protocol error: expected '$', got ':'");
    CHECK(error("*1\r\nGET\r\n") == "Protocol error: expected '$', got 'G'");
    CHECK(error("*1\r\n\r\n") == "Protocol error: expected '$', got '\r'");
    CHECK(error(std::string(kInlineBytesMax + 1, 'a')) == "Protocol error: too big inline request");
    CHECK(error("*" + std::string(kInlineBytesMax + 1, '1')) ==
          "Protocol error: too big mbulk count string");
    CHECK(error("*1\r\n$" + std::string(kInlineBytesMax + 1, '1')) ==
          "Protocol error: too big bulk count string");
    CHECK(error("*11\r\n", false) == "Protocol error: unauthenticated multibulk length");
    CHECK(error("*1\r\n$16385\r\n", false) == "Protocol error: unauthenticated bulk length");
    CHECK(error("*10\r\n$16384\r\n", false).empty());
}

TEST_CASE("resp: an error is final, and requests before it were given", "[node][resp]") {
    RequestParser parser;
    std::string_view input = "PING\r\n*x\r\nPING\r\n";
    CHECK(parser.next(input) == Outcome::request);
    CHECK(parser.next(input) == Outcome::error);
    CHECK(parser.next(input) == Outcome::error);
}

TEST_CASE("resp: a long argument tells how much of it is missing", "[node][resp]") {
    RequestParser parser;
    std::string_view input = "*2\r\n$3\r\nGET\r\n$1000\r\nabc";
    CHECK(parser.next(input) == Outcome::incomplete);
    CHECK(parser.bytes_missing() == 999);
    const std::string whole = std::string(input) + std::string(997, 'd') + "\r\n";
    input = whole;
    CHECK(parser.next(input) == Outcome::request);
    CHECK(parser.bytes_missing() == 0);
    CHECK(parser.arguments()[1].size() == 1000);
}

TEST_CASE("resp: any bytes in any cut yield requests or one error", "[node][resp]") {
    const std::string alphabet = "*$0123456789\r\n\r\n\"' \\x-abc";
    for (unsigned seed = 1; seed <= 3000; ++seed) {
        std::mt19937 random(seed);
        std::string bytes;
        const std::size_t count = random() % 80;
        for (std::size_t i = 0; i < count; ++i) bytes += alphabet[random() % alphabet.size()];
        INFO("seed " << seed);
        const Parsed whole = parse_whole(bytes);
        const Parsed cut = parse(bytes, [&] { return std::size_t{1} + random() % 5; });
        REQUIRE(whole.requests == cut.requests);
        REQUIRE(whole.error == cut.error);
        REQUIRE(whole.left == cut.left);
    }
}

TEST_CASE("resp: replies mean the same in both protocols", "[node][resp]") {
    struct Row {
        void (*write)(ReplyWriter&);
        const char* resp2;
        const char* resp3;
    };
    const Row rows[] = {
        {[](ReplyWriter& w) { w.simple("QUEUED"); }, "+QUEUED\r\n", "+QUEUED\r\n"},
        {[](ReplyWriter& w) { w.ok(); }, "+OK\r\n", "+OK\r\n"},
        {[](ReplyWriter& w) { w.error("ERR a\r\n+b"); }, "-ERR a  +b\r\n", "-ERR a  +b\r\n"},
        {[](ReplyWriter& w) { w.integer(INT64_MIN); }, ":-9223372036854775808\r\n",
         ":-9223372036854775808\r\n"},
        {[](ReplyWriter& w) { w.bulk("a\r\nb"); }, "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"},
        {[](ReplyWriter& w) { w.null(); }, "$-1\r\n", "_\r\n"},
        {[](ReplyWriter& w) { w.null_array(); }, "*-1\r\n", "_\r\n"},
        {[](ReplyWriter& w) { w.array(2); }, "*2\r\n", "*2\r\n"},
        {[](ReplyWriter& w) { w.map(2); }, "*4\r\n", "%2\r\n"},
        {[](ReplyWriter& w) { w.set(2); }, "*2\r\n", "~2\r\n"},
        {[](ReplyWriter& w) { w.push(2); }, "*2\r\n", ">2\r\n"},
        {[](ReplyWriter& w) { w.real(0.1); }, "$3\r\n0.1\r\n", ",0.1\r\n"},
        {[](ReplyWriter& w) { w.real(-HUGE_VAL); }, "$4\r\n-inf\r\n", ",-inf\r\n"},
        {[](ReplyWriter& w) { w.real("10.5"); }, "$4\r\n10.5\r\n", ",10.5\r\n"},
        {[](ReplyWriter& w) { w.boolean(true); }, ":1\r\n", "#t\r\n"},
        {[](ReplyWriter& w) { w.verbatim("txt", "hi"); }, "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"},
        {[](ReplyWriter& w) { w.big_number("123"); }, "$3\r\n123\r\n", "(123\r\n"},
    };
    for (const Row& row : rows) {
        CHECK(written(Protocol::resp2, row.write) == row.resp2);
        CHECK(written(Protocol::resp3, row.write) == row.resp3);
    }
}

}  // namespace skerry
