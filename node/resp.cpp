// node/resp.cpp — parsing requests and writing replies; see the header.
#include "node/resp.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "crdt/assert.hpp"

namespace skerry {
namespace {

constexpr std::size_t kArgumentsKept = 4096;  // beyond that the vectors' memory is given back

[[nodiscard]] bool is_digit(char c) { return c >= '0' && c <= '9'; }

// As isspace() in the C locale, which is what Redis asks.
[[nodiscard]] bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

[[nodiscard]] int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Digits as Redis takes them: no plus sign, no leading zero.
[[nodiscard]] std::optional<std::int64_t> strict_number(std::string_view text) {
    const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
    if (digits.empty() || !is_digit(digits[0])) return std::nullopt;
    if (digits[0] == '0' && text.size() > 1) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// Appends what the escape at the front of `rest` (behind its backslash) stands for, and removes it.
void append_escaped(std::string_view& rest, std::string& out) {
    if (rest.size() >= 3 && rest[0] == 'x' && hex_value(rest[1]) >= 0 && hex_value(rest[2]) >= 0) {
        out.push_back(static_cast<char>(hex_value(rest[1]) * 16 + hex_value(rest[2])));
        rest.remove_prefix(3);
        return;
    }
    switch (rest[0]) {
        case 'n':
            out.push_back('\n');
            break;
        case 'r':
            out.push_back('\r');
            break;
        case 't':
            out.push_back('\t');
            break;
        case 'b':
            out.push_back('\b');
            break;
        case 'a':
            out.push_back('\a');
            break;
        default:
            out.push_back(rest[0]);
            break;
    }
    rest.remove_prefix(1);
}

// Appends one argument of a line and removes it. Errors: false = its quotes do not close, or
// something touches them.
[[nodiscard]] bool append_argument(std::string_view& rest, std::string& out) {
    char quote = 0;
    while (!rest.empty()) {
        const char c = rest[0];
        if (quote == 0) {
            if (is_space(c) || c == '\0') return true;
            rest.remove_prefix(1);
            if (c == '"' || c == '\'') {
                quote = c;
            } else {
                out.push_back(c);
            }
            continue;
        }
        rest.remove_prefix(1);
        if (c == quote) return rest.empty() || is_space(rest[0]);
        if (c == '\\' && quote == '"' && !rest.empty()) {
            append_escaped(rest, out);
        } else if (c == '\\' && quote == '\'' && rest.starts_with('\'')) {
            out.push_back('\'');
            rest.remove_prefix(1);
        } else {
            out.push_back(c);
        }
    }
    return quote == 0;
}

}  // namespace

RequestParser::Outcome RequestParser::reject(std::string text) {
    error_ = "Protocol error: " + std::move(text);
    return Outcome::error;
}

RequestParser::Outcome RequestParser::next(std::string_view& input) {
    if (!error_.empty()) return Outcome::error;
    arguments_.clear();
    if (arguments_.capacity() > kArgumentsKept) arguments_.shrink_to_fit();
    while (!input.empty()) {
        const Outcome outcome = input[0] == '*' ? next_multibulk(input) : next_inline(input);
        if (outcome != Outcome::request || !arguments_.empty()) return outcome;
    }
    return Outcome::incomplete;
}

// The number between the byte at offset_ and the next CR LF; behind that is offset_ then.
RequestParser::Header RequestParser::read_header(std::string_view input, const char* too_big) {
    std::size_t at = offset_ + 1;
    std::int64_t value = 0;
    const std::size_t fast_end = std::min(input.size(), at + 9);
    while (at < fast_end && is_digit(input[at])) value = value * 10 + (input[at++] - '0');
    const bool canonical = at > offset_ + 1 && (input[offset_ + 1] != '0' || at == offset_ + 2);
    if (canonical && at + 1 < input.size() && input[at] == '\r') {
        offset_ = at + 2;
        return Header{Outcome::request, value};
    }
    const std::string_view line = input.substr(offset_);
    const std::size_t end = line.substr(0, kInlineBytesMax + 1).find('\r');
    if (end == std::string_view::npos) {
        if (line.size() > kInlineBytesMax) return Header{reject(too_big), std::nullopt};
        return Header{Outcome::incomplete, std::nullopt};
    }
    if (end + 2 > line.size()) return Header{Outcome::incomplete, std::nullopt};
    offset_ += end + 2;
    return Header{Outcome::request,
                  end == 0 ? std::nullopt : strict_number(line.substr(1, end - 1))};
}

RequestParser::Outcome RequestParser::read_count(std::string_view input) {
    const Header header = read_header(input, "too big mbulk count string");
    if (header.outcome != Outcome::request) return header.outcome;
    if (!header.number || *header.number > static_cast<std::int64_t>(kArgumentsMax)) {
        return reject("invalid multibulk length");
    }
    const std::size_t count = static_cast<std::size_t>(std::max<std::int64_t>(*header.number, 0));
    if (!trusted_ && count > kArgumentsBeforeAuthMax)
        return reject("unauthenticated multibulk length");
    arguments_missing_ = count;
    return Outcome::request;
}

RequestParser::Outcome RequestParser::read_bulk(std::string_view input) {
    if (!bulk_bytes_) {
        // Redis looks for the end of the line before it looks at its first byte.
        const std::size_t begin = offset_;
        if (begin >= input.size()) return Outcome::incomplete;
        const Header header = read_header(input, "too big bulk count string");
        if (header.outcome != Outcome::request) return header.outcome;
        if (input[begin] != '$')
            return reject(std::string("expected '$', got '") + input[begin] + "'");
        if (!header.number || *header.number < 0) return reject("invalid bulk length");
        const auto bytes = static_cast<std::size_t>(*header.number);
        if (bytes > kBulkBytesMax) return reject("invalid bulk length");
        if (!trusted_ && bytes > kBulkBytesBeforeAuthMax)
            return reject("unauthenticated bulk length");
        bulk_bytes_ = bytes;
    }
    const std::size_t wanted = *bulk_bytes_ + 2;
    const std::size_t there = input.size() - offset_;
    if (there < wanted) {
        bytes_missing_ = wanted - there;
        return Outcome::incomplete;
    }
    slices_.push_back(Slice{offset_, *bulk_bytes_});
    offset_ += wanted;  // the two bytes behind are not looked at, as in Redis
    bulk_bytes_.reset();
    bytes_missing_ = 0;
    return Outcome::request;
}

RequestParser::Outcome RequestParser::next_multibulk(std::string_view& input) {
    ASSERT(offset_ <= input.size());
    if (offset_ == 0) {
        const Outcome outcome = read_count(input);
        if (outcome != Outcome::request) return outcome;
    }
    while (arguments_missing_ > 0) {
        const Outcome outcome = read_bulk(input);
        if (outcome != Outcome::request) return outcome;
        --arguments_missing_;
    }
    for (const Slice slice : slices_) arguments_.push_back(input.substr(slice.offset, slice.bytes));
    finish(input);
    return Outcome::request;
}

RequestParser::Outcome RequestParser::next_inline(std::string_view& input) {
    const std::size_t end = input.substr(0, kInlineBytesMax + 1).find('\n', offset_);
    if (end == std::string_view::npos) {
        if (input.size() > kInlineBytesMax) return reject("too big inline request");
        offset_ = input.size();  // no need to search these again
        return Outcome::incomplete;
    }
    std::string_view line = input.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!split_line(line)) return reject("unbalanced quotes in request");
    for (const Slice slice : slices_) {
        arguments_.push_back(std::string_view(unquoted_).substr(slice.offset, slice.bytes));
    }
    offset_ = end + 1;
    finish(input);
    return Outcome::request;
}

// As sdssplitargs() of Redis: blanks separate; "..." knows escapes, '...' only \'.
bool RequestParser::split_line(std::string_view line) {
    unquoted_.clear();
    std::string_view rest = line.substr(0, line.find('\0'));
    for (;;) {
        while (!rest.empty() && is_space(rest[0])) rest.remove_prefix(1);
        if (rest.empty()) return true;
        const std::size_t begin = unquoted_.size();
        if (!append_argument(rest, unquoted_)) return false;
        slices_.push_back(Slice{begin, unquoted_.size() - begin});
    }
}

void RequestParser::finish(std::string_view& input) {
    input.remove_prefix(offset_);
    offset_ = 0;
    slices_.clear();
    if (slices_.capacity() > kArgumentsKept) slices_.shrink_to_fit();
}

void ReplyWriter::header(char kind, std::int64_t number) {
    std::array<char, 24> text;
    text[0] = kind;
    char* end = std::to_chars(text.data() + 1, text.data() + text.size() - 2, number).ptr;
    *end++ = '\r';
    *end++ = '\n';
    out_.append(text.data(), static_cast<std::size_t>(end - text.data()));
}

void ReplyWriter::simple(std::string_view text) {
    out_.push_back('+');
    out_.append(text);
    out_.append("\r\n");
}

void ReplyWriter::error(std::string_view text) {
    ++errors_;
    error_code_ = text.substr(0, text.find(' '));
    out_.push_back('-');
    const std::size_t begin = out_.size();
    out_.append(text);
    std::replace_if(
        out_.begin() + static_cast<std::ptrdiff_t>(begin), out_.end(),
        [](char c) { return c == '\r' || c == '\n'; }, ' ');
    out_.append("\r\n");
}

void ReplyWriter::integer(std::int64_t value) { header(':', value); }

void ReplyWriter::bulk(std::string_view bytes) {
    header('$', static_cast<std::int64_t>(bytes.size()));
    out_.append(bytes);
    out_.append("\r\n");
}

void ReplyWriter::null() { out_.append(protocol_ == Protocol::resp3 ? "_\r\n" : "$-1\r\n"); }

void ReplyWriter::null_array() { out_.append(protocol_ == Protocol::resp3 ? "_\r\n" : "*-1\r\n"); }

void ReplyWriter::array(std::size_t count) { header('*', static_cast<std::int64_t>(count)); }

void ReplyWriter::map(std::size_t count) {
    if (protocol_ == Protocol::resp3) return header('%', static_cast<std::int64_t>(count));
    array(2 * count);
}

void ReplyWriter::set(std::size_t count) {
    header(protocol_ == Protocol::resp3 ? '~' : '*', static_cast<std::int64_t>(count));
}

void ReplyWriter::push(std::size_t count) {
    header(protocol_ == Protocol::resp3 ? '>' : '*', static_cast<std::int64_t>(count));
}

void ReplyWriter::real(double value) {
    if (std::isnan(value)) return real("nan");
    if (std::isinf(value)) return real(value > 0 ? "inf" : "-inf");
    std::array<char, 40> text;
    char* const end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    real(std::string_view(text.data(), static_cast<std::size_t>(end - text.data())));
}

void ReplyWriter::real(std::string_view text) {
    if (protocol_ == Protocol::resp2) return bulk(text);
    out_.push_back(',');
    out_.append(text);
    out_.append("\r\n");
}

void ReplyWriter::boolean(bool value) {
    if (protocol_ == Protocol::resp2) return integer(value ? 1 : 0);
    out_.append(value ? "#t\r\n" : "#f\r\n");
}

void ReplyWriter::verbatim(std::string_view format, std::string_view text) {
    ASSERT(format.size() == 3);
    if (protocol_ == Protocol::resp2) return bulk(text);
    header('=', static_cast<std::int64_t>(text.size() + 4));
    out_.append(format);
    out_.push_back(':');
    out_.append(text);
    out_.append("\r\n");
}

void ReplyWriter::big_number(std::string_view digits) {
    if (protocol_ == Protocol::resp2) return bulk(digits);
    out_.push_back('(');
    out_.append(digits);
    out_.append("\r\n");
}

}  // namespace skerry
