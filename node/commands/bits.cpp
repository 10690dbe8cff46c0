// node/commands/bits.cpp — strings as arrays of bits; bit 0 is the highest of the first byte.
#include <algorithm>
#include <array>
#include <bit>

#include "node/commands/context.hpp"
#include "node/commands/handlers.hpp"

namespace skerry::commands {
namespace {

constexpr std::uint64_t kBitsMax = std::uint64_t{kValueBytesMax} * 8;
constexpr std::string_view kBadOffset = "ERR bit offset is not an integer or out of range";

[[nodiscard]] unsigned byte_at(std::string_view bytes, std::uint64_t index) {
    return index < bytes.size() ? static_cast<unsigned char>(bytes[static_cast<std::size_t>(index)])
                                : 0U;
}

[[nodiscard]] unsigned bit_at(std::string_view bytes, std::uint64_t bit) {
    return byte_at(bytes, bit / 8) >> (7 - bit % 8) & 1U;
}

void put_bit(std::string& bytes, std::uint64_t bit, unsigned value) {
    char& byte = bytes[static_cast<std::size_t>(bit / 8)];
    const unsigned mask = 1U << (7 - bit % 8);
    const unsigned old = static_cast<unsigned char>(byte);
    byte = static_cast<char>(value != 0 ? old | mask : old & ~mask);
}

[[nodiscard]] std::optional<std::uint64_t> bit_offset(CommandContext& c, std::string_view text) {
    const auto offset = integer(c, text, kBadOffset);
    if (!offset) return std::nullopt;
    if (*offset >= 0 && static_cast<std::uint64_t>(*offset) < kBitsMax)
        return static_cast<std::uint64_t>(*offset);
    c.reply.error(kBadOffset);
    return std::nullopt;
}

// A run of bits, both ends included; none if begin > end.
struct BitRange {
    std::int64_t begin = 0;
    std::int64_t end = -1;
};

// The optional `start end [BYTE|BIT]` of BITCOUNT and BITPOS; `index` is where start stands.
struct RangeOptions {
    std::int64_t first = 0;
    std::int64_t last = -1;
    bool bits = false;

    [[nodiscard]] BitRange over(std::size_t bytes) const {
        const auto total = static_cast<std::int64_t>(bytes) * (bits ? 8 : 1);
        const auto from_end = [total](std::int64_t at) {
            return at < 0 ? std::max<std::int64_t>(at + total, 0) : at;
        };
        if (first < 0 && last < 0 && first > last) return {};
        const std::int64_t begin = from_end(first);
        const std::int64_t end = std::min(from_end(last), total - 1);
        if (begin > end) return {};
        return bits ? BitRange{begin, end} : BitRange{begin * 8, end * 8 + 7};
    }
};

[[nodiscard]] std::optional<RangeOptions> range_options(CommandContext& c, std::size_t index) {
    RangeOptions options;
    if (c.count() > index) {
        const auto first = integer(c, c.args[index]);
        if (!first) return std::nullopt;
        options.first = *first;
    }
    if (c.count() > index + 1) {
        const auto last = integer(c, c.args[index + 1]);
        if (!last) return std::nullopt;
        options.last = *last;
    }
    if (c.count() > index + 2) {
        options.bits = c.says(index + 2, "BIT");
        if (c.count() > index + 3 || (!options.bits && !c.says(index + 2, "BYTE"))) {
            c.reply.error(kSyntaxError);
            return std::nullopt;
        }
    }
    return options;
}

[[nodiscard]] std::int64_t count_bits(std::string_view bytes, BitRange range) {
    std::int64_t count = 0;
    std::int64_t bit = range.begin;
    while (bit <= range.end) {
        if (bit % 8 == 0 && bit + 7 <= range.end) {
            count += std::popcount(byte_at(bytes, static_cast<std::uint64_t>(bit / 8)));
            bit += 8;
        } else {
            count += bit_at(bytes, static_cast<std::uint64_t>(bit++));
        }
    }
    return count;
}

// -1: there is none.
[[nodiscard]] std::int64_t find_bit(std::string_view bytes, BitRange range, unsigned wanted) {
    const unsigned skip = wanted != 0 ? 0x00U : 0xffU;
    std::int64_t bit = range.begin;
    while (bit <= range.end) {
        if (bit % 8 == 0 && bit + 7 <= range.end &&
            byte_at(bytes, static_cast<std::uint64_t>(bit / 8)) == skip) {
            bit += 8;
        } else if (bit_at(bytes, static_cast<std::uint64_t>(bit)) == wanted) {
            return bit;
        } else {
            ++bit;
        }
    }
    return -1;
}

enum class Overflow : std::uint8_t { wrap, saturate, fail };
enum class Action : std::uint8_t { get, set, increment };

struct FieldOperation {
    Action action = Action::get;
    Overflow overflow = Overflow::wrap;
    bool is_signed = false;
    unsigned width = 0;
    std::uint64_t offset = 0;
    std::int64_t argument = 0;
};

[[nodiscard]] bool parse_type(CommandContext& c, std::string_view text, FieldOperation& operation) {
    const bool known = !text.empty() && (text[0] == 'i' || text[0] == 'u');
    const auto width = known ? value::parse_integer(text.substr(1)) : std::nullopt;
    operation.is_signed = known && text[0] == 'i';
    if (!width || *width < 1 || *width > (operation.is_signed ? 64 : 63)) {
        c.reply.error(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported "
            "but i64 is.");
        return false;
    }
    operation.width = static_cast<unsigned>(*width);
    return true;
}

[[nodiscard]] bool parse_offset(CommandContext& c, std::string_view text,
                                FieldOperation& operation) {
    const bool scaled = text.starts_with('#');
    const auto offset = integer(c, scaled ? text.substr(1) : text, kBadOffset);
    if (!offset) return false;
    std::int64_t at = *offset;
    if (at < 0 ||
        (scaled && __builtin_mul_overflow(at, static_cast<std::int64_t>(operation.width), &at)) ||
        static_cast<std::uint64_t>(at) + operation.width > kBitsMax) {
        c.reply.error(kBadOffset);
        return false;
    }
    operation.offset = static_cast<std::uint64_t>(at);
    return true;
}

[[nodiscard]] std::optional<std::vector<FieldOperation>> field_operations(CommandContext& c,
                                                                          bool may_write) {
    std::vector<FieldOperation> operations;
    Overflow overflow = Overflow::wrap;
    for (std::size_t i = 2; i < c.count();) {
        if (c.says(i, "OVERFLOW") && i + 1 < c.count() && may_write) {
            const bool wraps = c.says(i + 1, "WRAP");
            const bool saturates = c.says(i + 1, "SAT");
            if (!wraps && !saturates && !c.says(i + 1, "FAIL")) {
                c.reply.error("ERR Invalid OVERFLOW type specified");
                return std::nullopt;
            }
            overflow = wraps ? Overflow::wrap : saturates ? Overflow::saturate : Overflow::fail;
            i += 2;
            continue;
        }
        FieldOperation operation{.overflow = overflow};
        const bool reads = c.says(i, "GET");
        const std::size_t length = reads ? 3 : 4;
        if ((!reads && !c.says(i, "SET") && !c.says(i, "INCRBY")) || i + length > c.count()) {
            c.reply.error(kSyntaxError);
            return std::nullopt;
        }
        if (!reads && !may_write) {
            c.reply.error("ERR BITFIELD_RO only supports the GET subcommand");
            return std::nullopt;
        }
        operation.action = reads ? Action::get : c.says(i, "SET") ? Action::set : Action::increment;
        if (!parse_type(c, c.args[i + 1], operation) || !parse_offset(c, c.args[i + 2], operation))
            return std::nullopt;
        if (!reads) {
            const auto argument = integer(c, c.args[i + 3]);
            if (!argument) return std::nullopt;
            operation.argument = *argument;
        }
        operations.push_back(operation);
        i += length;
    }
    return operations;
}

using Wide = value::Int128;

[[nodiscard]] Wide read_field(std::string_view bytes, const FieldOperation& operation) {
    std::uint64_t bits = 0;
    for (unsigned i = 0; i < operation.width; ++i)
        bits = bits << 1 | bit_at(bytes, operation.offset + i);
    const bool negative = operation.is_signed && (bits >> (operation.width - 1) & 1U) != 0;
    return negative ? static_cast<Wide>(bits) - (Wide{1} << operation.width)
                    : static_cast<Wide>(bits);
}

void write_field(std::string& bytes, const FieldOperation& operation, Wide number) {
    const auto bits = static_cast<std::uint64_t>(number);
    for (unsigned i = 0; i < operation.width; ++i)
        put_bit(bytes, operation.offset + i,
                static_cast<unsigned>(bits >> (operation.width - 1 - i) & 1U));
}

// Brings the number into the field's range as the operation says; nullopt: it fails.
[[nodiscard]] std::optional<Wide> fitted(Wide number, const FieldOperation& operation) {
    const Wide least = operation.is_signed ? -(Wide{1} << (operation.width - 1)) : Wide{0};
    const Wide most =
        (Wide{1} << (operation.is_signed ? operation.width - 1 : operation.width)) - 1;
    if (number >= least && number <= most) return number;
    if (operation.overflow == Overflow::fail) return std::nullopt;
    if (operation.overflow == Overflow::saturate) return number < least ? least : most;
    const Wide modulus = Wide{1} << operation.width;
    Wide wrapped = number % modulus;
    if (wrapped < 0) wrapped += modulus;
    return wrapped > most ? wrapped - modulus : wrapped;
}

// Performs one operation and gives its reply. Requires: `bytes` is long enough for a writing one.
[[nodiscard]] std::optional<Wide> perform(std::string& bytes, const FieldOperation& operation) {
    const Wide old = read_field(bytes, operation);
    if (operation.action == Action::get) return old;
    // An unsigned field is set to a negative number's bits, as in Redis.
    const bool sets = operation.action == Action::set;
    Wide wanted = sets ? Wide{operation.argument} : old + operation.argument;
    if (sets && !operation.is_signed)
        wanted = static_cast<Wide>(static_cast<std::uint64_t>(operation.argument));
    const auto result = fitted(wanted, operation);
    if (!result) return std::nullopt;
    write_field(bytes, operation, *result);
    return sets ? old : *result;
}

void bitfield_generic(CommandContext& c, bool may_write) {
    const auto operations = field_operations(c, may_write);
    if (!operations || !typed(c, c.args[1], KeyType::string)) return;
    std::string bytes = c.db.get(c.database(), c.args[1]).value_or(std::string());
    std::uint64_t bits_needed = 0;
    for (const FieldOperation& operation : *operations)
        if (operation.action != Action::get)
            bits_needed = std::max(bits_needed, operation.offset + operation.width);
    const std::size_t bytes_needed = static_cast<std::size_t>((bits_needed + 7) / 8);
    if (bytes.size() < bytes_needed) bytes.resize(bytes_needed, '\0');
    c.reply.array(operations->size());
    for (const FieldOperation& operation : *operations) {
        const auto number = perform(bytes, operation);
        number ? c.reply.integer(static_cast<std::int64_t>(*number)) : c.reply.null();
    }
    if (bits_needed > 0) c.db.set_keep_deadline(c.database(), c.args[1], bytes);
}

enum class BitOperation : std::uint8_t { all, any, odd, inverse };

[[nodiscard]] std::optional<BitOperation> bit_operation(const CommandContext& c) {
    if (c.says(1, "AND")) return BitOperation::all;
    if (c.says(1, "OR")) return BitOperation::any;
    if (c.says(1, "XOR")) return BitOperation::odd;
    if (c.says(1, "NOT")) return BitOperation::inverse;
    return std::nullopt;
}

[[nodiscard]] std::string combined(const std::vector<std::string>& sources,
                                   BitOperation operation) {
    std::size_t longest = 0;
    for (const std::string& source : sources) longest = std::max(longest, source.size());
    std::string result(longest, '\0');
    for (std::size_t i = 0; i < longest; ++i) {
        unsigned byte = byte_at(sources[0], i);
        if (operation == BitOperation::inverse) byte = ~byte;
        for (std::size_t s = 1; s < sources.size(); ++s) {
            const unsigned other = byte_at(sources[s], i);
            if (operation == BitOperation::all) byte &= other;
            if (operation == BitOperation::any) byte |= other;
            if (operation == BitOperation::odd) byte ^= other;
        }
        result[i] = static_cast<char>(byte);
    }
    return result;
}

}  // namespace

void getbit(CommandContext& c) {
    const auto offset = bit_offset(c, c.args[2]);
    if (!offset || !typed(c, c.args[1], KeyType::string)) return;
    std::string buffer;
    const auto bytes = c.db.get_view(c.database(), c.args[1], buffer).value_or(std::string_view());
    c.reply.integer(bit_at(bytes, *offset));
}

void setbit(CommandContext& c) {
    const auto offset = bit_offset(c, c.args[2]);
    if (!offset) return;
    if (c.args[3] != "0" && c.args[3] != "1")
        return c.reply.error("ERR bit is not an integer or out of range");
    if (!typed(c, c.args[1], KeyType::string)) return;
    std::string bytes = c.db.get(c.database(), c.args[1]).value_or(std::string());
    const auto bytes_needed = static_cast<std::size_t>(*offset / 8 + 1);
    if (bytes.size() < bytes_needed) bytes.resize(bytes_needed, '\0');
    const unsigned old = bit_at(bytes, *offset);
    put_bit(bytes, *offset, c.args[3] == "1" ? 1 : 0);
    c.db.set_keep_deadline(c.database(), c.args[1], bytes);
    c.reply.integer(old);
}

void bitcount(CommandContext& c) {
    if (c.count() == 3) return c.reply.error(kSyntaxError);
    const auto options = range_options(c, 2);
    if (!options || !typed(c, c.args[1], KeyType::string)) return;
    std::string buffer;
    const auto bytes = c.db.get_view(c.database(), c.args[1], buffer).value_or(std::string_view());
    c.reply.integer(count_bits(bytes, options->over(bytes.size())));
}

void bitpos(CommandContext& c) {
    const auto wanted = integer(c, c.args[2]);
    if (!wanted) return;
    if (*wanted != 0 && *wanted != 1) return c.reply.error("ERR The bit argument must be 1 or 0.");
    const auto options = range_options(c, 3);
    if (!options) return;
    const auto type = typed(c, c.args[1], KeyType::string);
    if (!type) return;
    if (*type == KeyType::none) return c.reply.integer(*wanted == 1 ? -1 : 0);
    std::string buffer;
    const auto bytes = *c.db.get_view(c.database(), c.args[1], buffer);
    const BitRange range = options->over(bytes.size());
    const std::int64_t found = find_bit(bytes, range, static_cast<unsigned>(*wanted));
    // Without an end the string is taken to go on with zeros.
    const bool endless = c.count() < 5 && *wanted == 0 && range.begin <= range.end;
    c.reply.integer(found < 0 && endless ? static_cast<std::int64_t>(bytes.size()) * 8 : found);
}

void bitop(CommandContext& c) {
    const auto operation = bit_operation(c);
    if (!operation) return c.reply.error(kSyntaxError);
    if (*operation == BitOperation::inverse && c.count() != 4)
        return c.reply.error("ERR BITOP NOT must be called with a single source key.");
    std::vector<std::string> sources;
    for (const std::string_view key : c.args.subspan(3)) {
        if (!typed(c, key, KeyType::string)) return;
        sources.push_back(c.db.get(c.database(), key).value_or(std::string()));
    }
    const std::string result = combined(sources, *operation);
    if (result.empty()) {
        c.db.remove(c.database(), c.args[2]);
    } else {
        c.db.set(c.database(), c.args[2], result);
    }
    c.reply.integer(static_cast<std::int64_t>(result.size()));
}

void bitfield(CommandContext& c) { bitfield_generic(c, true); }
void bitfield_ro(CommandContext& c) { bitfield_generic(c, false); }

}  // namespace skerry::commands
