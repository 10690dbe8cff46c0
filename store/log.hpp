// store/log.hpp — the log: what has been committed, in the order applied. Journal and feed in one. The interface.
//
// Shape    records numbered from 1 by LogPosition without gaps; a body is opaque here (node and store/record.hpp).
// Frame    store/log_frame.hpp: length, checksum, position, and the position up to which all was durable when it was
//          written: so a torn tail (cut silently) is told from damage to what had been durable (reported).
// Backends store/file_log.hpp (segment files), sim/disk.hpp (simulated).
// Thread   append from one thread at a time; sync, read and drop_before from any thread beside it. Truncating: alone.
#pragma once

#include <absl/functional/function_ref.h>

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "crdt/result.hpp"

namespace skerry {

struct LogPosition {
    std::uint64_t value = 0;  // 0 = before the first record
    friend constexpr auto operator<=>(LogPosition, LogPosition) = default;
    [[nodiscard]] constexpr LogPosition next() const { return LogPosition{value + 1}; }
};

// When whoever appends syncs: before it tells anybody; once a second, having told them; never, which a power cut may
// punish with all since the start.
enum class Durability : std::uint8_t { always, interval, none };

inline constexpr std::size_t kLogBodyBytesMax = 512 * 1024 * 1024;

class Log {
  public:
    virtual ~Log() = default;

    // The first record still kept and the last one written; first() == last().next() when there is
    // none.
    [[nodiscard]] virtual LogPosition first() const = 0;
    [[nodiscard]] virtual LogPosition last() const = 0;
    // The last one that a sync has covered.
    [[nodiscard]] virtual LogPosition durable() const = 0;
    [[nodiscard]] virtual std::uint64_t bytes_kept() const = 0;

    // Appends whole frames made by append_frame(), for the positions after last(). After an error
    // the tail is undefined, and appending fails, until truncate_to_durable().
    // Errors: out_of_space, io_failed.
    [[nodiscard]] virtual Result<void> append(std::string_view frames,
                                              LogPosition last_position) = 0;
    // On return everything that had been appended before is durable.   Errors: io_failed: what was not durable before
    // must be taken as lost.
    [[nodiscard]] virtual Result<void> sync() = 0;
    // Forgets what was appended and not synced, so that appending can start again.
    [[nodiscard]] virtual Result<void> truncate_to_durable() = 0;

    // Visits records from `from` on, in order, until `visit` returns false or the last one
    // *written* was visited (a caller that may only see durable ones compares with durable()).
    // Errors: truncated (from < first()), corrupt, io_failed.
    using Visit = absl::FunctionRef<bool(LogPosition position, std::string_view body)>;
    [[nodiscard]] virtual Result<void> read(LogPosition from, Visit visit) const = 0;

    // Allows records before `position` to be deleted; whole segments go, so some of them may stay.
    virtual Result<void> drop_before(LogPosition position) = 0;
};

}  // namespace skerry
