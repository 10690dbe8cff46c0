#include "node/identity.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

namespace skerry {

namespace {

constexpr int kFormat = 1;

Result<std::string> place_of(const std::filesystem::path& directory) {
    struct stat info{};
    if (::stat(directory.c_str(), &info) != 0)
        return fail(Code::io_failed, directory.string() + ": " + std::strerror(errno));
    return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
}

Result<void> sync_path(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const bool synced = fd >= 0 && ::fsync(fd) == 0;
    const int error = errno;
    if (fd >= 0) ::close(fd);
    if (!synced) return fail(Code::io_failed, path.string() + ": " + std::strerror(error));
    return {};
}

Result<void> write_identity(const std::filesystem::path& directory, ReplicaId writer, bool clean) {
    const auto place = place_of(directory);
    if (!place) return std::unexpected(place.error());
    const std::filesystem::path path = directory / "identity";
    const std::filesystem::path fresh = directory / "identity.new";
    {
        std::ofstream out(fresh, std::ios::trunc);
        out << "skerry-identity " << kFormat << "\nwriter " << writer.value << "\nplace " << *place
            << "\nclean " << (clean ? 1 : 0) << "\n";
        out.close();
        if (!out) return fail(Code::io_failed, fresh.string() + ": cannot be written");
    }
    if (auto synced = sync_path(fresh); !synced) return synced;
    if (::rename(fresh.c_str(), path.c_str()) != 0)
        return fail(Code::io_failed, path.string() + ": " + std::strerror(errno));
    return sync_path(directory);
}

struct Stored {
    std::uint64_t writer = 0;
    std::string place;
    bool clean = false;
};

Result<std::optional<Stored>> read_identity(const std::filesystem::path& path) {
    std::error_code missing;
    if (!std::filesystem::exists(path, missing)) return std::nullopt;
    std::ifstream in(path);
    std::string magic, writer_word, place_word, clean_word;
    int format = 0;
    Stored stored;
    in >> magic >> format;
    if (!in || magic != "skerry-identity")
        return fail(Code::corrupt, path.string() + ": not an identity file");
    if (format != kFormat)
        return fail(Code::unsupported, path.string() + ": format " + std::to_string(format) +
                                           ", this build reads 1: start the version that wrote it");
    in >> writer_word >> stored.writer >> place_word >> stored.place >> clean_word >> stored.clean;
    if (!in || writer_word != "writer" || place_word != "place" || clean_word != "clean" ||
        stored.writer == 0)
        return fail(Code::corrupt,
                    path.string() + ": damaged; remove it, and the node takes a new identity");
    return stored;
}

}  // namespace

Result<Identity> open_identity(const std::filesystem::path& directory, std::uint64_t (*random)()) {
    const auto place = place_of(directory);
    if (!place) return std::unexpected(place.error());
    const auto stored = read_identity(directory / "identity");
    if (!stored) return std::unexpected(stored.error());
    Identity identity;
    if (*stored && (*stored)->place == *place && (*stored)->clean) {
        identity = {ReplicaId{(*stored)->writer}, false};
    } else {
        constexpr std::uint64_t kIncarnation = 0xffffffff;
        const bool same_place = *stored && (*stored)->place == *place;
        const std::uint64_t bits = random();
        identity.writer = ReplicaId{
            same_place ? ((*stored)->writer & ~kIncarnation) | (bits & kIncarnation) : bits};
    }
    if (auto written = write_identity(directory, identity.writer, false); !written)
        return std::unexpected(written.error());
    return identity;
}

Result<std::optional<ReplicaId>> last_writer(const std::filesystem::path& directory) {
    const auto stored = read_identity(directory / "identity");
    if (!stored) return std::unexpected(stored.error());
    if (!*stored) return std::nullopt;
    return ReplicaId{(*stored)->writer};
}

Result<void> mark_clean(const std::filesystem::path& directory, ReplicaId writer) {
    return write_identity(directory, writer, true);
}

}  // namespace skerry
