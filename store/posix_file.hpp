// store/posix_file.hpp — one open file, with every failure as a sentence: the few calls that the backends need.
//
// Full     ENOSPC, EDQUOT and EFBIG (a limit on file sizes) are out_of_space; the rest is io_failed.
// Thread   as the file descriptor: positional reads and writes from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "crdt/result.hpp"

namespace skerry {

// "PATH: cannot DO: what the system says", under the code that the error number stands for.
[[nodiscard]] std::unexpected<Error> system_failure(int error_number,
                                                    const std::filesystem::path& path,
                                                    std::string_view action);

class PosixFile {
  public:
    PosixFile() = default;
    PosixFile(PosixFile&& other) noexcept;
    PosixFile& operator=(PosixFile&& other) noexcept;
    ~PosixFile();

    enum class Mode : std::uint8_t { to_read, existing, existing_or_new, emptied };
    [[nodiscard]] static Result<PosixFile> open(const std::filesystem::path& path, Mode mode);

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    void set_path(std::filesystem::path path) { path_ = std::move(path); }
    [[nodiscard]] Result<std::uint64_t> bytes() const;
    // How many bytes were read: fewer than asked for only at the end of the file.
    [[nodiscard]] Result<std::size_t> read_at(char* out, std::size_t count,
                                              std::uint64_t offset) const;
    [[nodiscard]] Result<void> write_at(std::string_view bytes, std::uint64_t offset);
    [[nodiscard]] Result<void> resize(std::uint64_t bytes);
    // Takes the blocks now, as zeros; does nothing where the file system cannot.   Errors:
    // out_of_space.
    [[nodiscard]] Result<void> preallocate(std::uint64_t bytes);
    [[nodiscard]] Result<void> sync_data();
    [[nodiscard]] Result<void> sync_all();
    // True: this descriptor now holds the lock, until it is closed. False: somebody else does, in a
    // way that excludes this one.
    enum class Lock : std::uint8_t { exclusive, shared };
    [[nodiscard]] Result<bool> try_lock(Lock lock = Lock::exclusive);

  private:
    int descriptor_ = -1;
    std::filesystem::path path_;
};

// Makes created, renamed and removed names of the directory durable.
[[nodiscard]] Result<void> sync_directory(const std::filesystem::path& directory);
[[nodiscard]] Result<void> make_directory(const std::filesystem::path& directory);
[[nodiscard]] Result<void> rename_file(const std::filesystem::path& from,
                                       const std::filesystem::path& to);
// Removing what is absent is no error.
[[nodiscard]] Result<void> remove_file(const std::filesystem::path& path);

}  // namespace skerry
