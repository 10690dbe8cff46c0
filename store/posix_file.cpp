#include "store/posix_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace skerry {
namespace {
constexpr mode_t kPermissions = 0640;
}  // namespace

std::unexpected<Error> system_failure(int error_number, const std::filesystem::path& path,
                                      std::string_view action) {
    const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
    return fail(full ? Code::out_of_space : Code::io_failed,
                path.string() + ": cannot " + std::string(action) + ": " +
                    std::generic_category().message(error_number));
}

PosixFile::PosixFile(PosixFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

PosixFile& PosixFile::operator=(PosixFile&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(path_, other.path_);
    return *this;
}

PosixFile::~PosixFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

Result<PosixFile> PosixFile::open(const std::filesystem::path& path, Mode mode) {
    int flags = (mode == Mode::to_read ? O_RDONLY : O_RDWR) | O_CLOEXEC;
    if (mode == Mode::existing_or_new || mode == Mode::emptied) flags |= O_CREAT;
    if (mode == Mode::emptied) flags |= O_TRUNC;
    PosixFile file;
    file.path_ = path;
    do {
        file.descriptor_ = ::open(path.c_str(), flags, kPermissions);
    } while (file.descriptor_ < 0 && errno == EINTR);
    if (file.descriptor_ < 0) return system_failure(errno, path, "open");
    return file;
}

Result<std::uint64_t> PosixFile::bytes() const {
    struct stat status{};
    if (::fstat(descriptor_, &status) != 0) return system_failure(errno, path_, "stat");
    return static_cast<std::uint64_t>(status.st_size);
}

Result<std::size_t> PosixFile::read_at(char* out, std::size_t count, std::uint64_t offset) const {
    std::size_t done = 0;
    while (done < count) {
        const ssize_t got =
            ::pread(descriptor_, out + done, count - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_failure(errno, path_, "read");
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    return done;
}

Result<void> PosixFile::write_at(std::string_view bytes, std::uint64_t offset) {
    while (!bytes.empty()) {
        const ssize_t put =
            ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return system_failure(errno, path_, "write");
        bytes.remove_prefix(static_cast<std::size_t>(put));
        offset += static_cast<std::uint64_t>(put);
    }
    return {};
}

Result<void> PosixFile::resize(std::uint64_t bytes) {
    if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0)
        return system_failure(errno, path_, "resize");
    return {};
}

Result<void> PosixFile::preallocate(std::uint64_t bytes) {
    if (bytes == 0) return {};
    int outcome = 0;
    do {
        outcome = ::fallocate(descriptor_, 0, 0, static_cast<off_t>(bytes));
    } while (outcome != 0 && errno == EINTR);
    // Not posix_fallocate: where the file system cannot, that one writes to every block.
    if (outcome == 0 || errno == EOPNOTSUPP || errno == ENOSYS) return {};
    return system_failure(errno, path_, "reserve space");
}

Result<void> PosixFile::sync_data() {
    if (::fdatasync(descriptor_) != 0) return system_failure(errno, path_, "sync");
    return {};
}

Result<void> PosixFile::sync_all() {
    if (::fsync(descriptor_) != 0) return system_failure(errno, path_, "sync");
    return {};
}

Result<bool> PosixFile::try_lock(Lock lock) {
    const int kind = lock == Lock::exclusive ? LOCK_EX : LOCK_SH;
    while (::flock(descriptor_, kind | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) return false;
        if (errno != EINTR) return system_failure(errno, path_, "lock");
    }
    return true;
}

Result<void> sync_directory(const std::filesystem::path& directory) {
    const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return system_failure(errno, directory, "open");
    const int outcome = ::fsync(descriptor);
    const int error_number = errno;
    ::close(descriptor);
    if (outcome != 0) return system_failure(error_number, directory, "sync");
    return {};
}

Result<void> make_directory(const std::filesystem::path& directory) {
    std::error_code error;
    const bool made = std::filesystem::create_directories(directory, error);
    if (error) return system_failure(error.value(), directory, "create the directory");
    if (!made) return {};
    const auto parent = std::filesystem::absolute(directory, error).parent_path();
    return sync_directory(error ? directory : parent);
}

Result<void> rename_file(const std::filesystem::path& from, const std::filesystem::path& to) {
    if (::rename(from.c_str(), to.c_str()) != 0) return system_failure(errno, from, "rename");
    return {};
}

Result<void> remove_file(const std::filesystem::path& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        return system_failure(errno, path, "remove");
    return {};
}

}  // namespace skerry
