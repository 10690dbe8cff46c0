// store/backup.hpp — a backup: a data directory without an identity, and the list of its files.
//
// Holds    state.mdb, one snapshot copied row by row; log/, from the first record that a start from it needs; backup.
// Lacks    identity: whoever starts from it takes a new writer id, so no dot is issued twice (docs/decisions/0006).
// backup   text:  skerry-backup 1            the format
//                 made 1760000000000         wall clock, milliseconds
//                 records 17 4711            the first and the last in log/
//                 file BYTES HASH NAME       of each other file: XXH3-64, chained over MiBs, 16 hexadecimal digits
//                 check HASH                 XXH3-64 over all lines above
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "crdt/hlc.hpp"
#include "store/check.hpp"
#include "store/log_view.hpp"

namespace skerry {

struct BackupFile {
    std::string name;  // relative, with a slash
    std::uint64_t bytes = 0;
    std::uint64_t hash = 0;
    friend bool operator==(const BackupFile&, const BackupFile&) = default;
};

struct BackupList {
    WallTime made{};
    LogPosition first;
    LogPosition last;
    std::vector<BackupFile> files;  // by name
};

// nullopt: there is none, so this is no backup.   Errors: corrupt, unsupported, io_failed.
[[nodiscard]] Result<std::optional<BackupList>> read_backup_list(
    const std::filesystem::path& directory);
[[nodiscard]] Result<void> write_backup_list(const std::filesystem::path& directory,
                                             const BackupList& list);

// What is there now under a name of the list.   Errors: io_failed.
[[nodiscard]] Result<BackupFile> measure_file(const std::filesystem::path& directory,
                                              const std::string& name);
// Copies durably; the result is what has been read.   Errors: io_failed, out_of_space.
[[nodiscard]] Result<BackupFile> copy_file(const std::filesystem::path& from,
                                           const std::filesystem::path& to,
                                           const std::string& name);

// Makes state.mdb there from the snapshot.   Errors: corrupt, io_failed, out_of_space.
[[nodiscard]] Result<void> copy_state(KvReader& stored, const std::filesystem::path& directory,
                                      CheckProgress progress);
// Makes log/ there from the segment that holds `from` on. The first record of it. Requires: the log
// has no problems.   Errors: corrupt, io_failed, out_of_space.
[[nodiscard]] Result<LogPosition> copy_log(const LogView& log, LogPosition from,
                                           const std::filesystem::path& directory,
                                           CheckProgress progress);

}  // namespace skerry
