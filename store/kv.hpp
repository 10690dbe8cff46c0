// store/kv.hpp — the ordered key-value store that checkpoints are written to: the interface and its limits.
//
// Shape    five tables of byte strings in lexicographic order; a batch is one atomic, durable transaction.
// Backends store/lmdb_kv.hpp (real), sim/disk.hpp (simulated).
// Thread   one writer at a time, from any thread; any number of readers beside it, each on one thread.
#pragma once

#include <absl/functional/function_ref.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/result.hpp"

namespace skerry {

// The numbers are on disk: never reuse one.
enum class Table : std::uint8_t {
    meta = 0,       // format version, clocks, log position: store/row.hpp
    rows = 1,       // keys with their key-level leaves, and elements
    ix = 2,         // dot -> row key and kind, for live dots above the ix floor
    deadlines = 3,  // deadline -> row key
    stage = 4,      // leaves of a pull that no row holds yet: store/stage.hpp
};
inline constexpr std::size_t kTableCount = 5;

struct KvChange {
    Table table;
    std::string key;
    std::optional<std::string> value;  // nullopt deletes; deleting what is absent is no error
};
using KvBatch = std::vector<KvChange>;

inline constexpr std::size_t kKvKeyBytesMax = 511;
inline constexpr std::uint64_t kKvValueBytesMax = std::uint64_t{512} << 20;
// Errors: too_large (a key or value beyond the limits, or an empty key).
[[nodiscard]] Result<void> check_limits(const KvBatch& batch);

// What a batch may fill. The reserve is for the time when nothing new is accepted any more: what is
// written then lets go of more than it takes, but cannot begin without room.
enum class KvRoom : std::uint8_t { ordinary, with_reserve };

// One consistent snapshot. Keep it short: a long reader keeps the backend from reusing space.
class KvReader {
  public:
    virtual ~KvReader() = default;

    // Lifetime of the view: until the next call on this reader.   Errors: io_failed, corrupt.
    [[nodiscard]] virtual Result<std::optional<std::string_view>> get(Table table,
                                                                      std::string_view key) = 0;

    // Visits rows with from <= key < to in order, until `visit` returns false. An empty `to` has no
    // upper end. Requires: `visit` does not use this reader.   Errors: io_failed, corrupt.
    using Visit = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;
    [[nodiscard]] virtual Result<void> scan(Table table, std::string_view from, std::string_view to,
                                            Visit visit) = 0;
};

struct KvStats {
    std::uint64_t bytes_used = 0;  // in pages that hold data
    std::uint64_t bytes_on_disk = 0;
    std::uint64_t bytes_max = 0;  // where writes begin to fail; 0 = no limit
};

class Kv {
  public:
    virtual ~Kv() = default;

    [[nodiscard]] virtual Result<std::unique_ptr<KvReader>> reader() const = 0;

    // All of it, durably, or nothing. Quicker when sorted by table and key.   Errors: too_large,
    // out_of_space, io_failed: nothing has changed, and reads go on.
    [[nodiscard]] virtual Result<void> write(const KvBatch& batch, KvRoom room) = 0;

    [[nodiscard]] virtual KvStats stats() const = 0;
};

}  // namespace skerry
