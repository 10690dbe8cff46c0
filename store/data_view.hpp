// store/data_view.hpp — a whole data directory for reading alone: a snapshot of the state, and the log that goes with it.
//
// Beside   a node may be running: the snapshot is taken first, then the log is opened; if the node has meanwhile dropped
//          what the snapshot needs, both are taken again. Else the directory's lock is shared, and keeps nodes out.
// Damage   a state file that cannot be opened and a log with problems are results, not errors: the rest is there.
#pragma once

#include <memory>
#include <optional>

#include "store/directory_lock.hpp"
#include "store/lmdb_kv.hpp"
#include "store/log_view.hpp"

namespace skerry {

struct DataView {
    std::optional<DirectoryLock> lock;  // nullopt: a process uses the directory
    std::unique_ptr<const LmdbKv> kv;
    std::unique_ptr<KvReader> stored;  // nullptr: no state yet, or see below
    std::optional<Error> state_error;
    std::unique_ptr<LogView> log;

    [[nodiscard]] bool in_use() const { return !lock; }

    // Errors: refused (no data directory), io_failed.
    [[nodiscard]] static Result<DataView> open(const std::filesystem::path& directory,
                                               LogView::Progress progress);
};

}  // namespace skerry
