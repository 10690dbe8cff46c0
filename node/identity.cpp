#include "node/identity.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "crdt/hash.hpp"

namespace skerry {

namespace {

constexpr int kFormat = 2;
constexpr std::uint64_t kIncarnation = 0xffffffff;

std::string failure_at(const std::filesystem::path& path) {
    return path.string() + ": " + std::strerror(errno);
}

Result<std::string> place_of(const std::filesystem::path& directory) {
    struct stat info{};
    if (::stat(directory.c_str(), &info) != 0) return fail(Code::io_failed, failure_at(directory));
    return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
}

// 0: it has no name, as in many containers.
std::uint64_t machine() {
    std::ifstream in("/etc/machine-id");
    const std::string name{std::istreambuf_iterator<char>(in), {}};
    return name.empty() ? 0 : hash64(name);
}

// Inode numbers are soon used again; a time of birth is not, and nobody can set it. A file system without one says so.
Result<std::string> birth_of(const std::filesystem::path& file) {
    struct statx info{};
    if (::statx(AT_FDCWD, file.c_str(), 0, STATX_INO | STATX_BTIME, &info) != 0)
        return fail(Code::io_failed, failure_at(file));
    const bool known = (info.stx_mask & STATX_BTIME) != 0;
    return std::to_string(info.stx_ino) + ":" +
           (known ? std::to_string(info.stx_btime.tv_sec) + "." +
                        std::to_string(info.stx_btime.tv_nsec)
                  : "unknown");
}

Result<void> sync_path(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const bool synced = fd >= 0 && ::fsync(fd) == 0;
    const int error = errno;
    if (fd >= 0) ::close(fd);
    if (!synced) return fail(Code::io_failed, path.string() + ": " + std::strerror(error));
    return {};
}

struct Stored {
    std::uint64_t writer = 0;
    std::string place;
    std::uint64_t machine = 0;
    std::string file;
    std::uint64_t own_events = 0;
    bool clean = false;
};

// Place, machine and file are those of now.
struct Token {
    ReplicaId writer;
    std::uint64_t own_events = 0;
    bool clean = false;
};
Result<void> write_identity(const std::filesystem::path& directory, const Token& token) {
    const auto place = place_of(directory);
    if (!place) return std::unexpected(place.error());
    const std::filesystem::path path = directory / "identity";
    const std::filesystem::path fresh = directory / "identity.new";
    std::error_code absent;
    std::filesystem::remove(fresh, absent);  // a file of its own, born now
    {
        std::ofstream out(fresh);
        const auto birth = birth_of(fresh);
        if (!birth) return std::unexpected(birth.error());
        out << "skerry-identity " << kFormat << "\nwriter " << token.writer.value << "\nplace "
            << *place << "\nmachine " << machine() << "\nfile " << *birth << "\nevents "
            << token.own_events << "\nclean " << (token.clean ? 1 : 0) << "\n";
        out.close();
        if (!out) return fail(Code::io_failed, fresh.string() + ": cannot be written");
    }
    if (auto synced = sync_path(fresh); !synced) return synced;
    if (::rename(fresh.c_str(), path.c_str()) != 0) return fail(Code::io_failed, failure_at(path));
    return sync_path(directory);
}

Result<std::optional<Stored>> read_identity(const std::filesystem::path& path) {
    std::error_code missing;
    if (!std::filesystem::exists(path, missing)) return std::nullopt;
    std::ifstream in(path);
    std::string magic;
    int format = 0;
    in >> magic >> format;
    if (!in || magic != "skerry-identity")
        return fail(Code::corrupt, path.string() + ": not an identity file");
    if (format != kFormat)
        return fail(Code::unsupported, path.string() + ": format " + std::to_string(format) +
                                           ", this build reads " + std::to_string(kFormat) +
                                           ": start the version that wrote it");
    Stored stored;
    const auto field = [&](std::string_view name, auto& value) {
        std::string word;
        if (in >> word >> value && word != name) in.setstate(std::ios::failbit);
    };
    field("writer", stored.writer);
    field("place", stored.place);
    field("machine", stored.machine);
    field("file", stored.file);
    field("events", stored.own_events);
    field("clean", stored.clean);
    if (!in || stored.writer == 0)
        return fail(Code::corrupt,
                    path.string() + ": damaged; remove it, and the node takes a new identity");
    return stored;
}

// Why the id that stands there may not be used as it is, and how much of it must be new.
enum class Keep : std::uint8_t { id, lineage, nothing };
struct Judgement {
    Keep keep;
    const char* why;
};
Judgement judge(const std::optional<Stored>& stored, const std::string& place,
                const std::string& birth) {
    if (!stored) return {Keep::nothing, "there was none in this directory"};
    if (stored->place != place) return {Keep::nothing, "the directory is a copy, or was moved"};
    if (stored->machine != machine()) return {Keep::nothing, "it is from another machine"};
    if (stored->file != birth)
        return {Keep::lineage, "the file identity was put back: the directory may be an old copy"};
    if (!stored->clean) return {Keep::lineage, "the last process did not end cleanly"};
    return {Keep::id, "the last process ended cleanly"};
}

}  // namespace

Result<Identity> open_identity(const std::filesystem::path& directory, std::uint64_t (*random)()) {
    const auto place = place_of(directory);
    if (!place) return std::unexpected(place.error());
    const auto stored = read_identity(directory / "identity");
    if (!stored) return std::unexpected(stored.error());
    const auto birth = *stored ? birth_of(directory / "identity") : Result<std::string>("");
    if (!birth) return std::unexpected(birth.error());
    const auto [keep, why] = judge(*stored, *place, *birth);
    Identity identity{.writer = {}, .fresh_incarnation = keep != Keep::id, .why = why};
    if (keep == Keep::id) {
        identity.writer = ReplicaId{(*stored)->writer};
        identity.own_events = (*stored)->own_events;
    } else {
        const std::uint64_t bits = random();
        identity.writer = ReplicaId{keep == Keep::lineage ? ((*stored)->writer & ~kIncarnation) |
                                                                (bits & kIncarnation)
                                                          : bits};
    }
    if (auto written = write_identity(directory, {.writer = identity.writer}); !written)
        return std::unexpected(written.error());
    return identity;
}

Result<Identity> renew_identity(const std::filesystem::path& directory, const Identity& kept,
                                std::string why, std::uint64_t (*random)()) {
    const ReplicaId writer{(kept.writer.value & ~kIncarnation) | (random() & kIncarnation)};
    if (auto written = write_identity(directory, {.writer = writer}); !written)
        return std::unexpected(written.error());
    return Identity{.writer = writer, .fresh_incarnation = true, .why = std::move(why)};
}

Result<std::optional<ReplicaId>> last_writer(const std::filesystem::path& directory) {
    const auto stored = read_identity(directory / "identity");
    if (!stored) return std::unexpected(stored.error());
    if (!*stored) return std::nullopt;
    return ReplicaId{(*stored)->writer};
}

Result<void> mark_clean(const std::filesystem::path& directory, ReplicaId writer,
                        std::uint64_t own_events) {
    return write_identity(directory, {.writer = writer, .own_events = own_events, .clean = true});
}

}  // namespace skerry
