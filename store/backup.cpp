#include "store/backup.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>

#include "crdt/hash.hpp"
#include "store/lmdb_kv.hpp"
#include "store/posix_file.hpp"

namespace skerry {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kListName = "backup";
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
constexpr std::size_t kBatchBytes = std::size_t{16} << 20;

std::string digits_of(std::uint64_t value) {
    std::array<char, 17> text{};
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
    return text.data();
}

std::string text_of(const BackupList& list) {
    std::ostringstream out;
    out << "skerry-backup 1\nmade " << list.made.count() << "\nrecords " << list.first.value << " "
        << list.last.value << "\n";
    for (const BackupFile& file : list.files)
        out << "file " << file.bytes << " " << digits_of(file.hash) << " " << file.name << "\n";
    return out.str();
}

// Nothing else may be named: what a list says is copied.
bool is_name_of_ours(const std::string& name) {
    if (name == "state.mdb") return true;
    constexpr std::string_view kLog = "log/";
    if (!name.starts_with(kLog) || !name.ends_with(".log") || name.size() != 28) return false;
    return std::all_of(name.begin() + 4, name.end() - 4,
                       [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<BackupList> parse(std::istream& in) {
    BackupList list;
    std::string made_word, records_word, word;
    std::int64_t made = 0;
    in >> made_word >> made >> records_word >> list.first.value >> list.last.value;
    list.made = WallTime(made);
    if (!in || made_word != "made" || records_word != "records") return std::nullopt;
    while (in >> word && word == "file") {
        BackupFile file;
        std::string hash;
        in >> file.bytes >> hash >> file.name;
        const auto [end, failure] =
            std::from_chars(hash.data(), hash.data() + hash.size(), file.hash, 16);
        if (!in || failure != std::errc{} || end != hash.data() + hash.size()) return std::nullopt;
        if (!is_name_of_ours(file.name)) return std::nullopt;
        list.files.push_back(std::move(file));
    }
    if (word != "check") return std::nullopt;
    return list;
}

}  // namespace

Result<std::optional<BackupList>> read_backup_list(const fs::path& directory) {
    const fs::path path = directory / kListName;
    std::error_code error;
    if (!fs::exists(path, error)) return std::nullopt;
    std::ifstream file(path);
    std::stringstream bytes;
    bytes << file.rdbuf();
    if (!file) return fail(Code::io_failed, path.string() + ": cannot be read");
    const std::string text = bytes.str();
    std::string magic;
    int format = 0;
    bytes >> magic >> format;
    if (!bytes || magic != "skerry-backup")
        return fail(Code::corrupt, path.string() + ": not the list of a backup");
    if (format != 1)
        return fail(Code::unsupported, path.string() + ": format " + std::to_string(format) +
                                           ", this build reads 1: use the version that wrote it");
    auto list = parse(bytes);
    const bool whole =
        list && text == text_of(*list) + "check " + digits_of(hash64(text_of(*list))) + "\n";
    if (!whole) return fail(Code::corrupt, path.string() + ": damaged");
    return list;
}

Result<void> write_backup_list(const fs::path& directory, const BackupList& list) {
    auto file = PosixFile::open(directory / kListName, PosixFile::Mode::emptied);
    if (!file) return std::unexpected(file.error());
    const std::string text = text_of(list);
    auto done = file->write_at(text + "check " + digits_of(hash64(text)) + "\n", 0);
    if (done) done = file->sync_all();
    if (done) done = sync_directory(directory);
    return done;
}

namespace {
// Calls `visit` with the pieces of a file; each piece but the last is one MiB.
Result<BackupFile> read_pieces(const fs::path& path, const std::string& name,
                               absl::FunctionRef<Result<void>(std::string_view piece)> visit) {
    const auto file = PosixFile::open(path, PosixFile::Mode::to_read);
    if (!file) return std::unexpected(file.error());
    BackupFile read{.name = name, .bytes = 0, .hash = 0};
    std::string piece(kPieceBytes, '\0');
    for (std::size_t got = kPieceBytes; got == kPieceBytes;) {
        const auto count = file->read_at(piece.data(), piece.size(), read.bytes);
        if (!count) return std::unexpected(count.error());
        got = *count;
        if (got == 0) break;
        const std::string_view bytes = std::string_view(piece).substr(0, got);
        if (auto done = visit(bytes); !done) return std::unexpected(done.error());
        read.hash = hash64(bytes, read.hash);
        read.bytes += got;
    }
    return read;
}
}  // namespace

Result<BackupFile> measure_file(const fs::path& directory, const std::string& name) {
    return read_pieces(directory / name, name, [](std::string_view) { return Result<void>(); });
}

Result<BackupFile> copy_file(const fs::path& from, const fs::path& to, const std::string& name) {
    auto file = PosixFile::open(to / name, PosixFile::Mode::emptied);
    if (!file) return std::unexpected(file.error());
    std::uint64_t at = 0;
    auto read = read_pieces(from / name, name, [&](std::string_view piece) {
        auto written = file->write_at(piece, at);
        at += piece.size();
        return written;
    });
    if (!read) return read;
    if (auto synced = file->sync_all(); !synced) return std::unexpected(synced.error());
    return read;
}

Result<void> copy_state(KvReader& stored, const fs::path& directory, CheckProgress progress) {
    auto kv = LmdbKv::open(directory, {});
    if (!kv) return std::unexpected(kv.error());
    for (std::size_t i = 0; i < kTableCount; ++i) {
        const auto table = static_cast<Table>(i);
        std::string from;
        for (bool more = true; std::exchange(more, false);) {
            KvBatch batch;
            std::size_t bytes = 0;
            const auto scanned =
                stored.scan(table, from, {}, [&](std::string_view key, std::string_view value) {
                    batch.push_back({table, std::string(key), std::string(value)});
                    bytes += key.size() + value.size() + sizeof(KvChange);
                    more = bytes >= kBatchBytes;
                    return !more;
                });
            if (!scanned) return scanned;
            if (more) from = batch.back().key + '\0';
            if (auto written = (*kv)->write(batch, KvRoom::ordinary); !written) return written;
            progress("tables", i, kTableCount);
        }
    }
    kv->reset();
    // What a node makes for itself.
    auto done = remove_file(directory / "reserve");
    if (done) done = remove_file(directory / "state.mdb-lock");
    if (done) done = sync_directory(directory);
    return done;
}

Result<LogPosition> copy_log(const LogView& log, LogPosition from, const fs::path& directory,
                             CheckProgress progress) {
    const fs::path to = directory / "log";
    if (auto made = make_directory(to); !made) return std::unexpected(made.error());
    const auto& segments = log.segments();
    LogPosition first = log.last().next();
    for (std::size_t i = 0; i < segments.size(); ++i) {
        progress("segments", i, segments.size());
        const bool behind = i + 1 < segments.size() && segments[i + 1].first <= from;
        if (behind) continue;
        first = std::min(first, segments[i].first);
        const auto bytes = LogView::content(segments[i]);
        if (!bytes) return std::unexpected(bytes.error());
        auto file =
            PosixFile::open(to / segments[i].file.path().filename(), PosixFile::Mode::emptied);
        if (!file) return std::unexpected(file.error());
        auto done = file->write_at(*bytes, 0);
        if (done) done = file->sync_all();
        if (!done) return std::unexpected(done.error());
    }
    if (auto synced = sync_directory(to); !synced) return std::unexpected(synced.error());
    return first;
}

}  // namespace skerry
