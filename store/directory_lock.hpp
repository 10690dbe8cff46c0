// store/directory_lock.hpp — one process at a time uses a data directory: an exclusive flock on its file "lock".
//
// Reading  others may look at the directory under a shared lock; they keep a process from starting meanwhile.
// Text     the file holds the number of the process that took the lock last, for the message; the lock itself is the
//          kernel's and goes with the process, so a file left by a crash keeps nobody out.
#pragma once

#include <optional>

#include "store/posix_file.hpp"

namespace skerry {

class DirectoryLock {
  public:
    // Makes the directory when it is missing.   Errors: refused (in use), io_failed.
    [[nodiscard]] static Result<DirectoryLock> take(const std::filesystem::path& directory);

    // For whoever only reads: keeps take() out and changes nothing. nullopt: a process has taken the
    // directory. Where nobody ever took it there is nothing to lock, and the result holds nothing.
    // Errors: io_failed.
    [[nodiscard]] static Result<std::optional<DirectoryLock>> share(
        const std::filesystem::path& directory);

  private:
    explicit DirectoryLock(PosixFile file) : file_(std::move(file)) {}
    PosixFile file_;
};

}  // namespace skerry
