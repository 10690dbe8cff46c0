#include "store/log_frame.hpp"

#include <bit>
#include <cstring>

#include "crdt/hash.hpp"
#include "crdt/shortcut.hpp"

namespace skerry {
namespace {

constexpr std::size_t kCheckAt = 4, kPositionAt = 8, kDurableAt = 16;

// Little-endian, whatever the machine.
template <class Number>
Number load(std::string_view bytes, std::size_t at) {
    Number value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return std::endian::native == std::endian::little ? value : std::byteswap(value);
}

template <class Number>
void store(std::string& out, std::size_t at, Number value) {
    if (std::endian::native != std::endian::little) value = std::byteswap(value);
    std::memcpy(out.data() + at, &value, sizeof value);
}

// Never 0, so that a header of zeros is no frame.
std::uint32_t check_of(std::string_view frame) {
    const auto check = static_cast<std::uint32_t>(hash64(frame.substr(kPositionAt)));
    return check == 0 ? 1 : check;
}

// Where a frame may begin at or after `at`, past the zeros of a preallocated segment.
std::size_t skip_zeros(std::string_view bytes, std::size_t at) {
    constexpr std::size_t kBlockBytes = 4096;
    while (at + kBlockBytes <= bytes.size() && bytes[at] == '\0' &&
           std::memcmp(bytes.data() + at, bytes.data() + at + 1, kBlockBytes - 1) == 0) {
        at += kBlockBytes - kLogFrameHeaderBytes;  // a length may begin with zero bytes
    }
    return at;
}

// True iff some whole frame behind `from` says that `expected` had been durable when it was
// written. Looks at every offset, since a bad frame's length cannot be trusted; positions are so
// narrow a sieve that checksums are rare.
bool was_durable(std::string_view bytes, std::size_t from, LogPosition expected) {
    for (std::size_t at = from; at + kLogFrameHeaderBytes <= bytes.size(); ++at) {
        if ((at - from) % 1024 == 0) at = skip_zeros(bytes, at);
        if (at + kLogFrameHeaderBytes > bytes.size()) break;
        const auto ahead = load<std::uint64_t>(bytes, at + kPositionAt) - expected.value;
        if (ahead == 0 || ahead > bytes.size() / kLogFrameHeaderBytes) continue;
        if (load<std::uint64_t>(bytes, at + kDurableAt) < expected.value) continue;
        if (parse_frame(bytes.substr(at))) return true;
    }
    return false;
}

}  // namespace

void append_frame(std::string& out, LogPosition position, LogPosition durable_before,
                  std::string_view body) {
    const std::size_t header_at = out.size();
    out.append(kLogFrameHeaderBytes, '\0');
    out.append(body);
    seal_frame(out, header_at, position, durable_before);
}

void seal_frame(std::string& out, std::size_t header_at, LogPosition position,
                LogPosition durable_before) {
    ASSERT(out.size() >= header_at + kLogFrameHeaderBytes);
    const std::size_t body_bytes = out.size() - header_at - kLogFrameHeaderBytes;
    ASSERT(body_bytes <= kLogBodyBytesMax);
    ASSERT(durable_before < position);
    store(out, header_at, static_cast<std::uint32_t>(body_bytes));
    store(out, header_at + kPositionAt, position.value);
    store(out, header_at + kDurableAt, durable_before.value);
    store(out, header_at + kCheckAt, check_of(std::string_view(out).substr(header_at)));
}

std::optional<LogFrameHeader> peek_frame(std::string_view bytes) {
    if (bytes.size() < kLogFrameHeaderBytes) return std::nullopt;
    const auto body_bytes = load<std::uint32_t>(bytes, 0);
    if (body_bytes > kLogBodyBytesMax) return std::nullopt;
    if (body_bytes == 0 && load<std::uint32_t>(bytes, kCheckAt) == 0) return std::nullopt;
    return LogFrameHeader{.position = LogPosition{load<std::uint64_t>(bytes, kPositionAt)},
                          .durable_before = LogPosition{load<std::uint64_t>(bytes, kDurableAt)},
                          .frame_bytes = kLogFrameHeaderBytes + body_bytes};
}

std::optional<LogFrame> parse_frame(std::string_view bytes) {
    const auto header = peek_frame(bytes);
    if (!header || header->frame_bytes > bytes.size()) return std::nullopt;
    if (header->durable_before >= header->position) return std::nullopt;
    const std::string_view frame = bytes.substr(0, header->frame_bytes);
    if (load<std::uint32_t>(frame, kCheckAt) != check_of(frame)) return std::nullopt;
    return LogFrame{.position = header->position,
                    .durable_before = header->durable_before,
                    .body = frame.substr(kLogFrameHeaderBytes),
                    .frame_bytes = frame.size()};
}

LogScan scan_frames(std::string_view bytes, LogPosition first, LogPosition durable,
                    LogFrameVisit visit) {
    ASSERT(first.value > 0);
    LogScan scan{.last = LogPosition{first.value - 1}};
    for (;;) {
        const auto frame = parse_frame(bytes.substr(scan.good_bytes));
        if (!frame || frame->position != scan.last.next()) break;
        visit(*frame, scan.good_bytes);
        scan.last = frame->position;
        scan.good_bytes += frame->frame_bytes;
    }
    scan.damaged = scan.last < durable || was_durable(bytes, scan.good_bytes, scan.last.next());
    if (taken(Shortcut::damage_cut)) scan.damaged = false;
    return scan;
}

}  // namespace skerry
