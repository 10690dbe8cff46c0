#include "crdt/types/value.hpp"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "crdt/codec.hpp"

namespace skerry::value {

namespace {

static_assert(std::numeric_limits<long double>::digits >= 64,
              "reals need 64 bits of mantissa to read alike everywhere");

// A payload is: a byte of flags; then, if any of kNumbers is set, one MessagePack array of the
// parts named, in this order; then the base, raw, to the end.
enum Flag : unsigned char {
    kBase = 1,
    kDeadline = 2,
    kEpoch = 4,  // only when it is not the entry's own seq
    kCounts = 8,
    kReal = 16,
    kCancels = 32,
};
constexpr unsigned char kNumbers = kDeadline | kEpoch | kCounts | kReal | kCancels;
constexpr unsigned char kAll = kBase | kNumbers;

// Elements of the array that follows such flags.
constexpr std::size_t parts_of(unsigned char flags) {
    return std::size_t{(flags & kDeadline) != 0} + std::size_t{(flags & kEpoch) != 0} +
           (flags & kCounts ? 4 : 0) + (flags & kReal ? 3 : 0) +
           std::size_t{(flags & kCancels) != 0};
}

void pack(Packer& packer, Uint128 value) {
    packer.number(static_cast<std::uint64_t>(value >> 64));
    packer.number(static_cast<std::uint64_t>(value));
}

void pack_real(Packer& packer, const Amount& amount) {
    int exponent = 0;
    const long double fraction = std::frexp(std::fabs(amount.real), &exponent);
    packer.number(static_cast<std::uint64_t>(std::ldexp(fraction, 64)));
    packer.number(static_cast<std::uint64_t>(exponent + 32768) << 1 |
                  (std::signbit(amount.real) ? 1 : 0));
    packer.number(amount.real_count);
}

Uint128 read128(Unpacker& in) {
    const auto high = static_cast<Uint128>(in.number());
    return high << 64 | in.number();
}

void read_real(Unpacker& in, Amount& amount) {
    const std::uint64_t mantissa = in.number();
    const std::uint64_t exponent_and_sign = in.number_up_to(0x1ffff);
    amount.real = std::ldexp(static_cast<long double>(mantissa),
                             static_cast<int>(exponent_and_sign >> 1) - 32768 - 64);
    if (!std::isfinite(amount.real)) in.reject("a real is out of range");
    if (exponent_and_sign & 1) amount.real = -amount.real;
    amount.real_count = in.number();
}

void read_cancels(Unpacker& in, std::vector<Cancel>& cancels) {
    const std::size_t count = in.array();
    if (count % 9 != 0) in.reject("cancels");
    for (std::size_t i = 0; i < count && !in.failed(); i += 9) {
        Cancel cancel{ReplicaId{in.number()}, Seq{in.number()}, {}};
        cancel.amount.up = read128(in);
        cancel.amount.down = read128(in);
        read_real(in, cancel.amount);
        if (!cancels.empty() && cancels.back().replica >= cancel.replica) in.reject("cancels");
        cancels.push_back(cancel);
    }
}

void raise(std::vector<Cancel>& cancels, const Cancel& cancel) {
    const auto place = std::ranges::lower_bound(cancels, cancel.replica, {}, &Cancel::replica);
    if (place == cancels.end() || place->replica != cancel.replica) {
        cancels.insert(place, cancel);
    } else if (place->epoch < cancel.epoch) {
        *place = cancel;
    } else if (place->epoch == cancel.epoch) {
        place->amount.raise_to(cancel.amount);
    }
}

// In place, since a payload is a large thing to move, and every increment reads one. nullptr, or what is wrong with it.
const char* read_payload(const Entry& entry, Payload& payload) {
    payload.epoch = entry.seq;
    if (entry.removed && entry.payload.empty()) return nullptr;
    if (entry.payload.empty()) return "value: no flags";
    const auto flags = static_cast<unsigned char>(entry.payload[0]);
    if ((flags & ~kAll) != 0 || (entry.removed && (flags & (kBase | kCounts | kReal)) != 0))
        return "value: flags";
    std::string_view rest = std::string_view(entry.payload).substr(1);
    WallTime deadline = kNoDeadline;
    if (flags & kNumbers) {
        Unpacker in(rest);
        (void)in.array();
        if (flags & kDeadline) deadline = WallTime(in.number_up_to(std::uint64_t{1} << 62));
        if (flags & kEpoch) payload.epoch = Seq{in.number_up_to(entry.seq.value)};
        if (flags & kCounts) {
            payload.added.up = read128(in);
            payload.added.down = read128(in);
        }
        if (flags & kReal) read_real(in, payload.added);
        if (flags & kCancels) read_cancels(in, payload.cancels);
        const auto behind = in.behind();
        if (!behind) return "value: its numbers";
        rest = *behind;
    }
    if (flags & kBase)
        payload.base = Base{rest, deadline};
    else if (!rest.empty())
        return "value: bytes without a base";
    return nullptr;
}

// Our own log and checked peers wrote it: a payload that does not decode here is a broken
// invariant.
void read_checked(const Entry& entry, Payload& payload) {
    const char* const wrong = read_payload(entry, payload);
    ASSERT(wrong == nullptr);
}

Payload decoded(const Entry& entry) {
    Payload payload;
    read_checked(entry, payload);
    return payload;
}

bool has_cancels(const Entry& entry) {
    return !entry.payload.empty() && (static_cast<unsigned char>(entry.payload[0]) & kCancels) != 0;
}

// Every cancel that a write which has seen `seen` must carry: the ones held there, and of each
// other writer's live entry all that it has added.
std::vector<Cancel> cancels_of(const Leaf& seen, ReplicaId self) {
    std::vector<Cancel> cancels;
    for (const Entry& entry : seen) {
        const bool cancelled = entry.live() && entry.replica != self;
        if (!cancelled && !has_cancels(entry)) continue;
        const Payload payload = decoded(entry);
        for (const Cancel& cancel : payload.cancels) raise(cancels, cancel);
        if (cancelled) raise(cancels, {entry.replica, payload.epoch, payload.added});
    }
    // Its own epochs end with the entry that this write replaces; but a peer that has not seen it
    // needs the others.
    std::erase_if(cancels, [self](const Cancel& c) { return c.replica == self; });
    return cancels;
}

LeafDelta write(const Leaf& seen, const Dot& dot, Hlc now, const Payload& payload, bool removed) {
    const bool bare = removed && payload.cancels.empty();
    return {.entry = {.replica = dot.replica,
                      .seq = dot.seq,
                      .hlc = now,
                      .removed = removed,
                      .payload = bare ? std::string() : encode(payload, dot.seq)},
            .superseded = seen.dots_of_others(dot.replica)};
}

bool wins(const Entry& a, std::string_view a_base, const Entry& b, std::string_view b_base) {
    if (a.hlc != b.hlc) return a.hlc > b.hlc;
    if (a.replica != b.replica) return a.replica > b.replica;
    return a_base > b_base;
}

Amount less(const Amount& added, const Amount& cancelled) {
    Amount rest;
    rest.up = added.up > cancelled.up ? added.up - cancelled.up : 0;
    rest.down = added.down > cancelled.down ? added.down - cancelled.down : 0;
    if (added.real_count > cancelled.real_count) {
        rest.real = added.real - cancelled.real;
        rest.real_count = added.real_count - cancelled.real_count;
    }
    return rest;
}

// What no number begins with is told without parsing.
bool may_be_number(std::string_view text) {
    constexpr std::string_view kFirst = "0123456789+-.iInN";
    return !text.empty() && kFirst.find(text[0]) != std::string_view::npos &&
           parse_real(text).has_value();
}

std::string format_integer(Int128 number) {
    const bool negative = number < 0;
    Uint128 rest = negative ? -static_cast<Uint128>(number) : static_cast<Uint128>(number);
    std::string digits;
    do digits.push_back(static_cast<char>('0' + static_cast<int>(rest % 10)));
    while ((rest /= 10) != 0);
    if (negative) digits.push_back('-');
    return {digits.rbegin(), digits.rend()};
}

}  // namespace

void Amount::raise_to(const Amount& other) {
    up = std::max(up, other.up);
    down = std::max(down, other.down);
    if (other.real_count > real_count) {
        real = other.real;
        real_count = other.real_count;
    }
}

void Amount::add(const Amount& other) {
    up += other.up;
    down += other.down;
    real += other.real;
    real_count += other.real_count;
}

std::string encode(const Payload& payload, Seq entry_seq) {
    unsigned char flags = 0;
    const auto part = [&flags](bool present, unsigned char flag) {
        if (present) flags |= flag;
    };
    part(payload.base.has_value(), kBase);
    part(payload.base && payload.base->deadline != kNoDeadline, kDeadline);
    part(payload.epoch != entry_seq, kEpoch);
    part(payload.added.up != 0 || payload.added.down != 0, kCounts);
    part(payload.added.real_count != 0, kReal);
    part(!payload.cancels.empty(), kCancels);
    const std::size_t parts = parts_of(flags);

    std::string out(1, static_cast<char>(flags));
    if (payload.base) out.reserve(1 + payload.base->bytes.size() + (parts != 0 ? 64 : 0));
    if (parts != 0) {
        Packer packer(out);
        packer.array(parts);
        if (flags & kDeadline)
            packer.number(static_cast<std::uint64_t>(payload.base->deadline.count()));
        if (flags & kEpoch) packer.number(payload.epoch.value);
        if (flags & kCounts) {
            pack(packer, payload.added.up);
            pack(packer, payload.added.down);
        }
        if (flags & kReal) pack_real(packer, payload.added);
        if (flags & kCancels) {
            packer.array(9 * payload.cancels.size());
            for (const Cancel& cancel : payload.cancels) {
                packer.number(cancel.replica.value);
                packer.number(cancel.epoch.value);
                pack(packer, cancel.amount.up);
                pack(packer, cancel.amount.down);
                pack_real(packer, cancel.amount);
            }
        }
    }
    if (payload.base) out.append(payload.base->bytes);
    return out;
}

Result<Payload> decode(const Entry& entry) {
    Result<Payload> payload;
    if (const char* const wrong = read_payload(entry, *payload))
        return fail(Code::malformed, wrong);
    return payload;
}

std::optional<std::string_view> plain(const Leaf& leaf) {
    if (leaf.count() != 1) return std::nullopt;
    const Entry& entry = *leaf.begin();
    if (entry.removed || entry.payload.empty() || entry.payload[0] != kBase) return std::nullopt;
    return std::string_view(entry.payload).substr(1);
}

bool simple(const Leaf& leaf) {
    if (leaf.count() != 1) return false;
    const Entry& entry = *leaf.begin();
    if (entry.removed || entry.payload.empty()) return false;
    const auto flags = static_cast<unsigned char>(entry.payload[0]);
    return (flags & (kBase | kCounts | kReal)) != 0 && (flags & (kDeadline | kCancels)) == 0;
}

Reading read(const Leaf& leaf) {
    Reading reading;
    if (leaf.count() == 1 && leaf.begin()->removed) return reading;
    absl::InlinedVector<std::pair<const Entry*, Payload>, 4> entries;
    std::vector<Cancel> cancels;
    for (const Entry& entry : leaf) {
        Payload& payload = entries.emplace_back(&entry, Payload{}).second;
        read_checked(entry, payload);
        for (const Cancel& cancel : payload.cancels) raise(cancels, cancel);
    }
    const Entry* winner = nullptr;
    for (const auto& [entry, payload] : entries) {
        if (entry->removed) continue;
        const auto cancel = std::ranges::find_if(cancels, [&](const Cancel& c) {
            return c.replica == entry->replica && c.epoch == payload.epoch;
        });
        const Amount rest =
            cancel == cancels.end() ? payload.added : less(payload.added, cancel->amount);
        const bool base_lives = payload.base && cancel == cancels.end();
        if (!base_lives && rest.zero()) continue;
        reading.exists = true;
        reading.birth = std::max(reading.birth, entry->hlc);
        reading.sum.add(rest);
        if (!base_lives) continue;
        reading.base_epochs.push_back({entry->replica, payload.epoch});
        reading.deadline = std::max(reading.deadline, payload.base->deadline);
        if (winner == nullptr || wins(*entry, payload.base->bytes, *winner, *reading.base)) {
            winner = entry;
            reading.base = payload.base->bytes;
        }
    }
    reading.integers = static_cast<Int128>(reading.sum.up - reading.sum.down);
    return reading;
}

std::optional<std::string> text(const Reading& reading) {
    if (!reading.exists) return std::nullopt;
    if (!reading.counted()) return std::string(reading.base.value_or("0"));
    if (reading.sum.real_count == 0) {
        const auto base =
            reading.base ? parse_integer(*reading.base) : std::optional<std::int64_t>(0);
        if (base) return format_integer(*base + reading.integers);
    }
    const auto base = reading.base ? parse_real(*reading.base) : std::optional<long double>(0);
    if (!base) return std::string(*reading.base);
    return format_real(*base + static_cast<long double>(reading.integers) + reading.sum.real);
}

Result<std::int64_t> integer(const Reading& reading) {
    if (!reading.exists) return 0;
    if (reading.sum.real_count == 0) {
        const auto base =
            reading.base ? parse_integer(*reading.base) : std::optional<std::int64_t>(0);
        if (!base) return fail(Code::not_a_number, "value is not an integer or out of range");
        const Int128 sum = *base + reading.integers;
        if (sum < std::numeric_limits<std::int64_t>::min() ||
            sum > std::numeric_limits<std::int64_t>::max())
            return fail(Code::out_of_range, "value is not an integer or out of range");
        return static_cast<std::int64_t>(sum);
    }
    const auto whole = parse_integer(*text(reading));
    if (!whole) return fail(Code::not_a_number, "value is not an integer or out of range");
    return *whole;
}

Result<long double> real(const Reading& reading) {
    if (!reading.exists) return 0.0L;
    const auto base = reading.base ? parse_real(*reading.base) : std::optional<long double>(0);
    if (!base) return fail(Code::not_a_number, "value is not a valid float");
    return *base + static_cast<long double>(reading.integers) + reading.sum.real;
}

LeafDelta set(const Leaf& seen, const Dot& dot, Hlc now, const Base& base) {
    Payload payload;
    payload.base = base;
    payload.epoch = dot.seq;
    payload.cancels = cancels_of(seen, dot.replica);
    return write(seen, dot, now, payload, false);
}

bool can_add(const Leaf& seen, ReplicaId self, const Amount& amount) {
    const Entry* own = seen.of(self);
    if (own == nullptr || own->removed) return std::isfinite(amount.real);
    return std::isfinite(decoded(*own).added.real + amount.real);
}

LeafDelta add(const Leaf& seen, const Dot& dot, Hlc now, const Amount& amount) {
    Payload payload;
    payload.epoch = dot.seq;
    Hlc epoch_began = now;
    if (const Entry* own = seen.of(dot.replica)) {
        const Seq fresh = payload.epoch;
        read_checked(*own, payload);
        if (own->live())
            epoch_began = own->hlc;
        else
            payload.epoch = fresh;
    }
    payload.added.add(amount);
    ASSERT(std::isfinite(payload.added.real));
    LeafDelta delta = write(seen, dot, epoch_began, payload, false);
    delta.superseded.clear();
    return delta;
}

LeafDelta remove(const Leaf& seen, const Dot& dot, Hlc now) {
    Payload payload;
    payload.epoch = dot.seq;
    payload.cancels = cancels_of(seen, dot.replica);
    return write(seen, dot, now, payload, true);
}

std::vector<ReplicaId> cancelled_writers(const Leaf& leaf) {
    std::vector<ReplicaId> writers;
    for (const Entry& entry : leaf) {
        if (!has_cancels(entry)) continue;
        for (const Cancel& cancel : decoded(entry).cancels) writers.push_back(cancel.replica);
    }
    return writers;
}

bool counts(const Leaf& leaf) {
    if (!leaf.any_live()) return false;
    return std::ranges::any_of(leaf, [](const Entry& entry) {
        if (entry.payload.empty()) return false;
        const auto flags = static_cast<unsigned char>(entry.payload[0]);
        if ((flags & (kCounts | kReal | kCancels)) != 0) return true;
        if ((flags & kBase) == 0) return false;
        const bool bare = (flags & kNumbers) == 0;
        return may_be_number(bare ? std::string_view(entry.payload).substr(1)
                                  : decoded(entry).base->bytes);
    });
}

std::vector<std::string_view> siblings(const Leaf& leaf) {
    const Reading reading = read(leaf);
    std::vector<std::string_view> losers;
    for (const Dot& epoch : reading.base_epochs) {
        const std::string_view bytes = decoded(*leaf.of(epoch.replica)).base->bytes;
        if (bytes.data() != reading.base->data()) losers.push_back(bytes);
    }
    return losers;
}

Amount amount_of(std::int64_t increment) {
    Amount amount;
    if (increment >= 0)
        amount.up = static_cast<Uint128>(increment);
    else
        amount.down = static_cast<Uint128>(-static_cast<Int128>(increment));
    return amount;
}

Amount amount_of_real(long double increment) {
    Amount amount;
    amount.real = increment;
    amount.real_count = 1;
    return amount;
}

std::string format_real(long double number) {
    char digits[5200];  // the longest finite 80-bit number has 4933 digits before the point
    const int count = std::snprintf(digits, sizeof digits, "%.17Lf", number);
    std::string text(digits, static_cast<std::size_t>(count));
    if (text.find('.') != std::string::npos) {
        text.erase(text.find_last_not_of('0') + 1);
        if (text.back() == '.') text.pop_back();
    }
    return text == "-0" ? "0" : text;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    // Redis takes the canonical form alone: no leading zero, no "-0".
    const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
    if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
    if (text == "-0") return std::nullopt;
    return number;
}

std::optional<long double> parse_real(std::string_view text) {
    if (text.empty() || text.size() > 5000 || std::isspace(static_cast<unsigned char>(text[0])))
        return std::nullopt;
    const std::string terminated(text);
    char* end = nullptr;
    const long double number = std::strtold(terminated.c_str(), &end);
    if (end != terminated.c_str() + terminated.size() || std::isnan(number) || std::isinf(number))
        return std::nullopt;
    return number;
}

}  // namespace skerry::value
