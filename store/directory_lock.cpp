#include "store/directory_lock.hpp"

#include <unistd.h>

#include <array>

namespace skerry {
namespace {

std::string holder_of(const PosixFile& file) {
    std::array<char, 20> text{};
    const auto count = file.read_at(text.data(), text.size(), 0);
    std::string holder;
    for (std::size_t i = 0; count && i < *count && text[i] >= '0' && text[i] <= '9'; ++i)
        holder += text[i];
    return holder.empty() ? "another process" : "process " + holder;
}

}  // namespace

Result<DirectoryLock> DirectoryLock::take(const std::filesystem::path& directory) {
    if (auto made = make_directory(directory); !made) return std::unexpected(made.error());
    auto file = PosixFile::open(directory / "lock", PosixFile::Mode::existing_or_new);
    if (!file) return std::unexpected(file.error());
    const auto locked = file->try_lock();
    if (!locked) return std::unexpected(locked.error());
    if (!*locked) {
        return fail(Code::refused, directory.string() + " is in use by " + holder_of(*file) +
                                       ": stop it, or choose another data directory");
    }
    // The text only serves the message above: a full disk must not keep the node from starting to
    // read.
    if (file->resize(0)) static_cast<void>(file->write_at(std::to_string(::getpid()) + "\n", 0));
    return DirectoryLock(std::move(*file));
}

Result<std::optional<DirectoryLock>> DirectoryLock::share(const std::filesystem::path& directory) {
    const auto path = directory / "lock";
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return DirectoryLock(PosixFile{});
    auto file = PosixFile::open(path, PosixFile::Mode::to_read);
    if (!file) return std::unexpected(file.error());
    const auto locked = file->try_lock(PosixFile::Lock::shared);
    if (!locked) return std::unexpected(locked.error());
    if (!*locked) return std::nullopt;
    return DirectoryLock(std::move(*file));
}

}  // namespace skerry
