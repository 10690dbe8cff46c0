// node/tool/commands.hpp — the tool `skerry`: check, backup and restore data directories.
//
// Exit     0 done and sound; 1 damage was found, or it could not be done; 2 (main's) bad arguments.
// Beside   check and backup work beside a running node. Neither changes the directory that it reads: only LMDB's table of
//          readers, state.mdb-lock, notes that somebody reads, and only while a node runs.
// Partly   what backup and restore make grows under a name that ends in .unfinished, and is renamed when it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "node/tool/terminal.hpp"
#include "store/check.hpp"
#include "store/data_view.hpp"

namespace skerry {

struct CheckOutcome {
    CheckedState state;
    CheckedLog log;
    std::optional<std::uint64_t> keys;  // after a replay; none where damage or choice forbade it
};
// Says what it finds, each once. `replay` takes the memory of a node's start.
[[nodiscard]] CheckOutcome check_view(DataView& view, const std::filesystem::path& directory,
                                      bool replay, Terminal& terminal);
// Says what a whole directory holds.
void say_what_is_there(const CheckOutcome& outcome, const DataView& view, Terminal& terminal);
// Compares the files of a backup with its list; a directory that is none passes.
[[nodiscard]] Result<void> check_backup_list(const std::filesystem::path& directory,
                                             Terminal& terminal);

int check_command(const std::filesystem::path& directory, bool replay, Terminal& terminal);
int backup_command(const std::filesystem::path& directory, const std::filesystem::path& destination,
                   Terminal& terminal);
int restore_command(const std::filesystem::path& backup, const std::filesystem::path& directory,
                    Terminal& terminal);

}  // namespace skerry
