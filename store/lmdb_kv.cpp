#include "store/lmdb_kv.hpp"

#include <lmdb.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "crdt/hash.hpp"
#include "store/posix_file.hpp"
#include "store/row.hpp"

namespace skerry {
namespace {
namespace fs = std::filesystem;

constexpr std::size_t kChunkBytes = 65520;
constexpr std::size_t kChunks = kTableCount;  // the index of the database of chunks
constexpr std::array<const char*, kTableCount + 1> kNames{"meta",      "rows",  "ix",
                                                          "deadlines", "stage", "chunks"};
constexpr std::string_view kMarkKey = "skerry.format";
constexpr std::string_view kMark = "skerry state 2";
constexpr std::string_view kNextChunkKey = "skerry.next-chunk";
constexpr std::uint64_t kMapBytes = std::uint64_t{1} << 40;
constexpr std::uint64_t kMapBytesWanted = std::uint64_t{4} << 30;
constexpr std::uint64_t kMapBytesMin = std::uint64_t{1} << 20;
constexpr unsigned kReadersMax = 510;
constexpr MDB_dbi kFreePages = 0;  // LMDB's own: transaction -> count, then page numbers
constexpr char kInline = 0;
constexpr char kInChunks = 1;
constexpr std::size_t kReferenceBytes = 25;

MDB_val val_of(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
std::string_view view_of(const MDB_val& val) {
    return {static_cast<const char*>(val.mv_data), val.mv_size};
}

std::unexpected<Error> lmdb_failure(int code, const fs::path& path, std::string_view action) {
    if (code > 0) return system_failure(code, path, action);
    Code kind = Code::io_failed;
    if (code == MDB_MAP_FULL) kind = Code::out_of_space;
    if (code == MDB_TXN_FULL) kind = Code::too_large;
    if (code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID)
        kind = Code::corrupt;
    if (code == MDB_VERSION_MISMATCH) kind = Code::unsupported;
    return fail(kind,
                path.string() + ": cannot " + std::string(action) + ": " + ::mdb_strerror(code));
}

bool is_full(int code) {
    return code == MDB_MAP_FULL || code == ENOSPC || code == EDQUOT || code == EFBIG;
}

std::unexpected<Error> was_cut(const fs::path& path, std::uint64_t bytes, std::uint64_t needed) {
    return fail(Code::corrupt, path.string() + " ends after " + std::to_string(bytes) +
                                   " bytes of " + std::to_string(needed) +
                                   ": it was cut; restore it");
}

std::uint64_t number_at(std::string_view bytes, std::size_t offset) {
    return read_u64(bytes.substr(offset, 8));
}

std::string chunk_key(std::size_t table, std::uint64_t id, std::uint32_t index) {
    std::string key(1, static_cast<char>(table));
    append_u64(key, id);
    append_u16(key, static_cast<std::uint16_t>(index >> 16));
    append_u16(key, static_cast<std::uint16_t>(index & 0xffff));
    return key;
}

struct Reference {
    std::uint64_t id;
    std::uint64_t bytes;
    std::uint64_t hash;
    [[nodiscard]] std::uint32_t chunks() const {
        return static_cast<std::uint32_t>((bytes + kChunkBytes - 1) / kChunkBytes);
    }
};

// No value: it is an inline one, or neither (then `stored` is damaged).
std::optional<Reference> reference_in(std::string_view stored) {
    if (stored.size() != kReferenceBytes || stored[0] != kInChunks) return std::nullopt;
    const Reference found{number_at(stored, 1), number_at(stored, 9), number_at(stored, 17)};
    if (found.bytes > kKvValueBytesMax) return std::nullopt;
    return found;
}

// Aborted unless committed.
class Transaction {
  public:
    Transaction() = default;
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction() {
        if (txn_ != nullptr) ::mdb_txn_abort(txn_);
    }
    int begin(MDB_env* env, unsigned flags) { return ::mdb_txn_begin(env, nullptr, flags, &txn_); }
    int commit() {
        return ::mdb_txn_commit(std::exchange(txn_, nullptr));
    }  // frees it, whatever it returns
    [[nodiscard]] MDB_txn* get() const { return txn_; }

  private:
    MDB_txn* txn_ = nullptr;
};
}  // namespace

struct LmdbKv::State {
    fs::path path;
    fs::path reserve_path;
    std::uint64_t bytes_max = 0;
    std::uint64_t map_bytes = 0;
    MDB_env* env = nullptr;
    MDB_dbi unnamed = 0;
    std::array<MDB_dbi, kTableCount + 1> tables{};
    bool reserve_held = false;
    bool map_grown = false;
    // The map may move only while nobody reads: the count and the move exclude each other.
    std::mutex mutex;
    std::size_t readers = 0;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        ASSERT(readers == 0);
        if (env != nullptr) ::mdb_env_close(env);
    }

    int try_to_open(const fs::path& file, unsigned flags);
    Result<void> open_env(const fs::path& file, unsigned flags);
    Result<void> check_length();
    Result<void> check_length_by_copy(unsigned flags);
    Result<bool> unwritten_pages_are_free(std::uint64_t first);
    Result<bool> find_tables();
    Result<void> make_tables();
    void hold_reserve();
    void make_room();
    bool set_map(std::uint64_t bytes);
    int write_once(const KvBatch& batch);
    int try_to_write(const KvBatch& batch);
    void give_back();
    [[nodiscard]] bool has_no_room() const;
    int advance();
    [[nodiscard]] std::uint64_t bytes_in_use() const;
    [[nodiscard]] std::size_t page_bytes() const;
    int begin_read(MDB_txn*& txn);
    void end_read(MDB_txn* txn);
};

namespace {
// One batch in one transaction. `what` names the step that failed.
class BatchWriter {
  public:
    BatchWriter(MDB_txn* txn, MDB_dbi unnamed, const std::array<MDB_dbi, kTableCount + 1>& tables)
        : txn_(txn), unnamed_(unnamed), tables_(tables) {}

    int start();
    int apply(const KvChange& change);
    int finish();

  private:
    int put(std::size_t table, std::string_view key, char tag, std::string_view bytes);
    int put_chunks(std::size_t table, std::string_view key, std::string_view value);
    int drop_chunks(std::size_t table, std::string_view key);

    MDB_txn* txn_;
    MDB_dbi unnamed_;
    const std::array<MDB_dbi, kTableCount + 1>& tables_;
    std::array<std::string, kTableCount + 1> last_;  // no key of the table is above
    std::uint64_t next_chunk_ = 0;
    bool has_chunks_ = false;
    bool added_chunks_ = false;
};

int BatchWriter::start() {
    for (std::size_t i = 0; i < tables_.size(); ++i) {
        MDB_cursor* cursor = nullptr;
        if (const int code = ::mdb_cursor_open(txn_, tables_[i], &cursor); code != 0) return code;
        MDB_val key{};
        MDB_val value{};
        const int code = ::mdb_cursor_get(cursor, &key, &value, MDB_LAST);
        if (code == 0) last_[i] = view_of(key);
        ::mdb_cursor_close(cursor);
        if (code != 0 && code != MDB_NOTFOUND) return code;
    }
    has_chunks_ = !last_[kChunks].empty();
    MDB_val key = val_of(kNextChunkKey);
    MDB_val value{};
    const int code = ::mdb_get(txn_, unnamed_, &key, &value);
    if (code != 0) return code == MDB_NOTFOUND ? MDB_CORRUPTED : code;
    if (value.mv_size != 8) return MDB_CORRUPTED;
    next_chunk_ = number_at(view_of(value), 0);
    return 0;
}

int BatchWriter::put(std::size_t table, std::string_view key, char tag, std::string_view bytes) {
    // Appending skips the search, and fills pages instead of splitting them in halves.
    const bool above = key > last_[table];
    const bool tagged = table != kChunks;
    MDB_val at = val_of(key);
    MDB_val room{bytes.size() + (tagged ? 1 : 0), nullptr};
    const int code =
        ::mdb_put(txn_, tables_[table], &at, &room, MDB_RESERVE | (above ? MDB_APPEND : 0U));
    if (code != 0) return code;
    auto* out = static_cast<char*>(room.mv_data);
    if (tagged) *out++ = tag;
    if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
    if (above) last_[table] = key;
    return 0;
}

int BatchWriter::put_chunks(std::size_t table, std::string_view key, std::string_view value) {
    const std::uint64_t id = next_chunk_++;
    added_chunks_ = true;
    has_chunks_ = true;
    for (std::uint32_t i = 0; i * kChunkBytes < value.size(); ++i) {
        const int code =
            put(kChunks, chunk_key(table, id, i), 0, value.substr(i * kChunkBytes, kChunkBytes));
        if (code != 0) return code;
    }
    std::string reference;
    append_u64(reference, id);
    append_u64(reference, value.size());
    append_u64(reference, hash64(value));
    return put(table, key, kInChunks, reference);
}

int BatchWriter::drop_chunks(std::size_t table, std::string_view key) {
    if (!has_chunks_ || key > last_[table]) return 0;
    MDB_val at = val_of(key);
    MDB_val stored{};
    const int code = ::mdb_get(txn_, tables_[table], &at, &stored);
    if (code != 0) return code == MDB_NOTFOUND ? 0 : code;
    const auto reference = reference_in(view_of(stored));
    for (std::uint32_t i = 0; reference && i < reference->chunks(); ++i) {
        const std::string chunk = chunk_key(table, reference->id, i);
        MDB_val chunk_at = val_of(chunk);
        const int dropped = ::mdb_del(txn_, tables_[kChunks], &chunk_at, nullptr);
        if (dropped != 0 && dropped != MDB_NOTFOUND) return dropped;
    }
    return 0;
}

int BatchWriter::apply(const KvChange& change) {
    const auto table = static_cast<std::size_t>(change.table);
    if (const int code = drop_chunks(table, change.key); code != 0) return code;
    if (!change.value) {
        MDB_val at = val_of(change.key);
        const int code = ::mdb_del(txn_, tables_[table], &at, nullptr);
        return code == MDB_NOTFOUND ? 0 : code;
    }
    if (change.value->size() > LmdbKv::kInlineBytesMax)
        return put_chunks(table, change.key, *change.value);
    return put(table, change.key, kInline, *change.value);
}

int BatchWriter::finish() {
    if (!added_chunks_) return 0;
    std::string next;
    append_u64(next, next_chunk_);
    MDB_val key = val_of(kNextChunkKey);
    MDB_val value = val_of(next);
    return ::mdb_put(txn_, unnamed_, &key, &value, 0);
}
}  // namespace

std::size_t LmdbKv::State::page_bytes() const {
    MDB_stat stat{};
    ::mdb_env_stat(env, &stat);
    return stat.ms_psize;
}

std::uint64_t LmdbKv::State::bytes_in_use() const {
    MDB_envinfo info{};
    ::mdb_env_info(env, &info);
    return (std::uint64_t{info.me_last_pgno} + 1) * page_bytes();
}

int LmdbKv::State::begin_read(MDB_txn*& txn) {
    const std::lock_guard lock(mutex);
    const int code = ::mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn);
    if (code == 0) ++readers;
    return code;
}

void LmdbKv::State::end_read(MDB_txn* txn) {
    const std::lock_guard lock(mutex);
    ::mdb_txn_abort(txn);
    --readers;
}

// False: somebody reads.   Requires: no transaction writes.
bool LmdbKv::State::set_map(std::uint64_t bytes) {
    const std::lock_guard lock(mutex);
    // LMDB's own lower limit leaves the last page out.
    return readers == 0 && ::mdb_env_set_mapsize(env, std::max(bytes, bytes_in_use())) == 0;
}

// Its failure is no error: the reserve is back when there is room for it.
void LmdbKv::State::hold_reserve() {
    auto file = PosixFile::open(reserve_path, PosixFile::Mode::existing_or_new);
    if (!file) return;
    reserve_held = file->preallocate(kReserveBytes).has_value();
    if (!reserve_held) static_cast<void>(file->resize(0));
}

void LmdbKv::State::make_room() {
    if (PosixFile::open(reserve_path, PosixFile::Mode::emptied)) reserve_held = false;
    map_grown = set_map(map_bytes + kReserveBytes) || map_grown;
}

int LmdbKv::State::try_to_open(const fs::path& file, unsigned flags) {
    int code = ::mdb_env_create(&env);
    if (code == 0) code = ::mdb_env_set_maxdbs(env, static_cast<MDB_dbi>(kNames.size()));
    if (code == 0) code = ::mdb_env_set_maxreaders(env, kReadersMax);
    if (code == 0) code = ::mdb_env_set_mapsize(env, map_bytes);
    // Neither WRITEMAP (a stray write would reach the disk) nor NOSYNC (a power cut would).
    if (code == 0)
        code = ::mdb_env_open(env, file.c_str(), MDB_NOSUBDIR | MDB_NORDAHEAD | MDB_NOTLS | flags,
                              0640);
    if (code == 0) {
        int dead = 0;
        code = ::mdb_reader_check(env, &dead);
    }
    return code;
}

Result<void> LmdbKv::State::open_env(const fs::path& file, unsigned flags) {
    std::error_code error;
    const bool is_new = (flags & MDB_RDONLY) == 0 && !fs::exists(file, error);
    int code = try_to_open(file, flags);
    // Where a process may not have so much address space (ulimit -v, a sanitizer), less of it does.
    for (; code == ENOMEM && bytes_max == 0 && map_bytes > kMapBytesWanted;
         code = try_to_open(file, flags)) {
        ::mdb_env_close(std::exchange(env, nullptr));
        map_bytes /= 4;
    }
    if (code == 0) return {};
    if (is_new)
        static_cast<void>(remove_file(file));  // not half a header, which no later start could open
    if (code != MDB_INVALID) return lmdb_failure(code, path, "open");
    return fail(Code::corrupt, path.string() +
                                   " is no state file, or its first pages are damaged: "
                                   "restore it, or choose another data directory");
}

// Pages that are freed by the transaction which took them may never be written: only then is a
// short file sound.
Result<bool> LmdbKv::State::unwritten_pages_are_free(std::uint64_t first) {
    const std::uint64_t end = bytes_in_use() / page_bytes();
    Transaction txn;
    MDB_cursor* cursor = nullptr;
    int code = txn.begin(env, MDB_RDONLY);
    if (code == 0) code = ::mdb_cursor_open(txn.get(), kFreePages, &cursor);
    if (code != 0) return lmdb_failure(code, path, "read the list of free pages");
    std::uint64_t free_count = 0;
    MDB_val key{};
    MDB_val value{};
    while ((code = ::mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        for (std::size_t at = sizeof(std::size_t); at + sizeof(std::size_t) <= value.mv_size;
             at += sizeof(std::size_t)) {
            std::size_t page = 0;
            std::memcpy(&page, static_cast<const char*>(value.mv_data) + at, sizeof page);
            if (page >= first && page < end) ++free_count;
        }
    }
    ::mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND && free_count == end - first;
}

Result<void> LmdbKv::State::check_length() {
    auto file = PosixFile::open(path, PosixFile::Mode::existing);
    if (!file) return std::unexpected(file.error());
    const auto bytes = file->bytes();
    if (!bytes) return std::unexpected(bytes.error());
    const std::uint64_t needed = bytes_in_use();
    if (*bytes >= needed) return {};
    // Zeros behind the end, so that reading the list of free pages cannot kill us.
    if (auto longer = file->resize(needed); !longer) return longer;
    const auto sound = unwritten_pages_are_free(*bytes / page_bytes());
    if (sound && *sound) return {};
    static_cast<void>(file->resize(*bytes));
    if (!sound) return std::unexpected(sound.error());
    return was_cut(path, *bytes, needed);
}

// The same for whoever may not make the file longer: a short one is read from a copy without a name.
Result<void> LmdbKv::State::check_length_by_copy(unsigned flags) {
    std::error_code error;
    const std::uint64_t bytes = fs::file_size(path, error);
    const std::uint64_t needed = bytes_in_use();
    if (error) return system_failure(error.value(), path, "stat");
    if (bytes >= needed) return {};
    ::mdb_env_close(std::exchange(env, nullptr));
    const fs::path copy = fs::temp_directory_path(error) /
                          ("skerry-" + std::to_string(::getpid()) + "-" + std::to_string(bytes));
    if (!error) fs::copy_file(path, copy, error);
    if (!error) fs::resize_file(copy, needed, error);
    Result<void> opened;
    if (error) opened = system_failure(error.value(), copy, "write a copy to be read");
    if (opened) opened = open_env(copy, flags);
    if (auto removed = remove_file(copy); opened && !removed) opened = removed;
    if (!opened) return opened;
    const auto sound = unwritten_pages_are_free(bytes / page_bytes());
    if (!sound) return std::unexpected(sound.error());
    if (!*sound) return was_cut(path, bytes, needed);
    return {};
}

// False: the file is new.
Result<bool> LmdbKv::State::find_tables() {
    Transaction txn;
    int code = txn.begin(env, MDB_RDONLY);
    if (code == 0) code = ::mdb_dbi_open(txn.get(), nullptr, 0, &unnamed);
    if (code != 0) return lmdb_failure(code, path, "read");
    MDB_stat stat{};
    MDB_val key = val_of(kMarkKey);
    MDB_val mark{};
    code = ::mdb_stat(txn.get(), unnamed, &stat);
    if (code == 0 && stat.ms_entries == 0) return false;
    if (code == 0) code = ::mdb_get(txn.get(), unnamed, &key, &mark);
    if (code == MDB_NOTFOUND || (code == 0 && view_of(mark) != kMark)) {
        return fail(Code::unsupported, path.string() +
                                           " was written by another program or another version: "
                                           "start that one, or choose another data directory");
    }
    for (std::size_t i = 0; code == 0 && i < kNames.size(); ++i) {
        code = ::mdb_dbi_open(txn.get(), kNames[i], 0, &tables[i]);
        if (code == MDB_NOTFOUND) code = MDB_CORRUPTED;
    }
    if (code == 0) code = txn.commit();
    if (code != 0) return lmdb_failure(code, path, "read");
    return true;
}

Result<void> LmdbKv::State::make_tables() {
    Transaction txn;
    int code = txn.begin(env, 0);
    const std::string zero(8, '\0');
    for (const auto& [name, bytes] :
         {std::pair{kMarkKey, kMark}, std::pair{kNextChunkKey, std::string_view(zero)}}) {
        MDB_val key = val_of(name);
        MDB_val value = val_of(bytes);
        if (code == 0) code = ::mdb_put(txn.get(), unnamed, &key, &value, 0);
    }
    for (std::size_t i = 0; code == 0 && i < kNames.size(); ++i) {
        code = ::mdb_dbi_open(txn.get(), kNames[i], MDB_CREATE, &tables[i]);
    }
    if (code == 0) code = txn.commit();
    if (code != 0) return lmdb_failure(code, path, "create tables");
    return sync_directory(path.parent_path());
}

int LmdbKv::State::write_once(const KvBatch& batch) {
    const int code = try_to_write(batch);
    if (is_full(code)) give_back();
    return code;
}

// A commit that found no room has made the file longer all the same, by as much as there was: nobody
// else could write then, the log neither. What is committed never reads those pages.
void LmdbKv::State::give_back() {
    auto file = PosixFile::open(path, PosixFile::Mode::existing);
    if (!file) return;
    const auto bytes = file->bytes();
    if (bytes && *bytes > bytes_in_use()) static_cast<void>(file->resize(bytes_in_use()));
}

int LmdbKv::State::try_to_write(const KvBatch& batch) {
    Transaction txn;
    if (const int code = txn.begin(env, 0); code != 0) return code;
    BatchWriter writer(txn.get(), unnamed, tables);
    int code = writer.start();
    for (auto change = batch.begin(); code == 0 && change != batch.end(); ++change)
        code = writer.apply(*change);
    if (code == 0) code = writer.finish();
    if (code != 0) return code;
    code = txn.commit();
    if (code != EIO) return code;
    // LMDB calls a write that was cut short EIO.
    return has_no_room() ? ENOSPC : code;
}

// Asks the system itself, by a write behind the end: free space says nothing of quotas and limits.
bool LmdbKv::State::has_no_room() const {
    auto file = PosixFile::open(path, PosixFile::Mode::existing);
    if (!file) return false;
    const auto bytes = file->bytes();
    if (!bytes) return false;
    const auto probed = file->write_at(std::string(kChunkBytes, '\0'), *bytes);
    static_cast<void>(file->resize(*bytes));
    return !probed && probed.error().code == Code::out_of_space;
}

// An empty transaction with a number of its own: pages that the one before freed can be taken after
// it.
int LmdbKv::State::advance() {
    Transaction txn;
    if (const int code = txn.begin(env, 0); code != 0) return code;
    MDB_val key = val_of(kNextChunkKey);
    MDB_val value{};
    if (const int code = ::mdb_get(txn.get(), unnamed, &key, &value); code != 0) return code;
    const std::string same(view_of(value));
    value = val_of(same);
    if (const int code = ::mdb_put(txn.get(), unnamed, &key, &value, 0); code != 0) return code;
    return txn.commit();
}

namespace {
template <class State>
class LmdbReader final : public KvReader {
  public:
    LmdbReader(State& state, MDB_txn* txn) : state_(state), txn_(txn) {}
    LmdbReader(const LmdbReader&) = delete;
    LmdbReader& operator=(const LmdbReader&) = delete;
    ~LmdbReader() override { state_.end_read(txn_); }

    Result<std::optional<std::string_view>> get(Table table, std::string_view key) override {
        if (key.empty()) return std::nullopt;
        MDB_val at = val_of(key);
        MDB_val stored{};
        const int code =
            ::mdb_get(txn_, state_.tables[static_cast<std::size_t>(table)], &at, &stored);
        if (code == MDB_NOTFOUND) return std::nullopt;
        if (code != 0) return lmdb_failure(code, state_.path, "read");
        auto value = value_of(table, view_of(stored));
        if (!value) return std::unexpected(value.error());
        return *value;
    }

    Result<void> scan(Table table, std::string_view from, std::string_view to,
                      Visit visit) override {
        MDB_cursor* cursor = nullptr;
        int code = ::mdb_cursor_open(txn_, state_.tables[static_cast<std::size_t>(table)], &cursor);
        if (code != 0) return lmdb_failure(code, state_.path, "read");
        Result<void> outcome;
        MDB_val key = val_of(from);
        MDB_val stored{};
        code = ::mdb_cursor_get(cursor, &key, &stored, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
        while (code == 0 && (to.empty() || view_of(key) < to)) {
            const auto value = value_of(table, view_of(stored));
            if (!value) outcome = std::unexpected(value.error());
            if (!value || !visit(view_of(key), *value)) break;
            code = ::mdb_cursor_get(cursor, &key, &stored, MDB_NEXT);
        }
        ::mdb_cursor_close(cursor);
        if (code != 0 && code != MDB_NOTFOUND) return lmdb_failure(code, state_.path, "read");
        return outcome;
    }

  private:
    Result<std::string_view> value_of(Table table, std::string_view stored) {
        if (!stored.empty() && stored[0] == kInline) return stored.substr(1);
        const auto reference = reference_in(stored);
        if (!reference) return damaged("a row of no known form");
        long_value_.clear();
        for (std::uint32_t i = 0; i < reference->chunks(); ++i) {
            const std::string key = chunk_key(static_cast<std::size_t>(table), reference->id, i);
            MDB_val at = val_of(key);
            MDB_val chunk{};
            const int code = ::mdb_get(txn_, state_.tables[kChunks], &at, &chunk);
            if (code == MDB_NOTFOUND) return damaged("a long value lacks a piece");
            if (code != 0) return lmdb_failure(code, state_.path, "read");
            long_value_.append(view_of(chunk));
        }
        if (long_value_.size() != reference->bytes || hash64(long_value_) != reference->hash) {
            return damaged("a long value fails its checksum");
        }
        return std::string_view(long_value_);
    }
    std::unexpected<Error> damaged(std::string_view what) const {
        return fail(Code::corrupt, state_.path.string() + ": " + std::string(what));
    }

    State& state_;
    MDB_txn* txn_;
    std::string long_value_;
};
}  // namespace

LmdbKv::LmdbKv(std::unique_ptr<State> state) : state_(std::move(state)) {}
LmdbKv::~LmdbKv() = default;

Result<std::unique_ptr<LmdbKv>> LmdbKv::open(const fs::path& directory, Options options) {
    if (auto made = make_directory(directory); !made) return std::unexpected(made.error());
    auto state = std::make_unique<State>();
    state->path = directory / "state.mdb";
    state->reserve_path = directory / "reserve";
    state->bytes_max = options.bytes_max;
    state->map_bytes =
        options.bytes_max == 0 ? kMapBytes : std::max(options.bytes_max, kMapBytesMin);
    state->map_bytes -= state->map_bytes % 65536;  // whole pages, whatever their length
    if (auto opened = state->open_env(state->path, 0); !opened)
        return std::unexpected(opened.error());
    if (auto sound = state->check_length(); !sound) return std::unexpected(sound.error());
    const auto found = state->find_tables();
    if (!found) return std::unexpected(found.error());
    if (!*found) {
        if (auto made = state->make_tables(); !made) return std::unexpected(made.error());
    }
    state->hold_reserve();
    return std::unique_ptr<LmdbKv>(new LmdbKv(std::move(state)));
}

Result<std::unique_ptr<const LmdbKv>> LmdbKv::open_to_read(const fs::path& directory,
                                                           Writer writer) {
    auto state = std::make_unique<State>();
    state->path = directory / "state.mdb";
    state->map_bytes = kMapBytes;
    std::error_code error;
    if (!fs::exists(state->path, error) || fs::file_size(state->path, error) == 0) return nullptr;
    const bool alone = writer == Writer::none;
    const unsigned flags = MDB_RDONLY | (alone ? MDB_NOLOCK : 0U);
    if (auto opened = state->open_env(state->path, flags); !opened)
        return std::unexpected(opened.error());
    // Beside a process the file may be short at any moment, by pages that nobody reads.
    if (alone)
        if (auto sound = state->check_length_by_copy(flags); !sound)
            return std::unexpected(sound.error());
    const auto found = state->find_tables();
    if (!found) return std::unexpected(found.error());
    if (!*found) return nullptr;
    return std::unique_ptr<const LmdbKv>(new LmdbKv(std::move(state)));
}

Result<std::unique_ptr<KvReader>> LmdbKv::reader() const {
    MDB_txn* txn = nullptr;
    if (const int code = state_->begin_read(txn); code != 0)
        return lmdb_failure(code, state_->path, "read");
    return std::make_unique<LmdbReader<State>>(*state_, txn);
}

Result<void> LmdbKv::write(const KvBatch& batch, KvRoom room) {
    if (auto fits = check_limits(batch); !fits) return fits;
    if (batch.empty()) return {};
    if (state_->map_grown) state_->map_grown = !state_->set_map(state_->map_bytes);
    // A tool that was killed while it read would keep pages from being used again for ever.
    int dead = 0;
    if (const int code = ::mdb_reader_check(state_->env, &dead); code != 0)
        return lmdb_failure(code, state_->path, "look after its readers");
    int code = state_->write_once(batch);
    if (is_full(code) && state_->advance() == 0) code = state_->write_once(batch);
    if (is_full(code) && room == KvRoom::with_reserve) {
        state_->make_room();
        code = state_->write_once(batch);
    }
    if (!state_->reserve_held) state_->hold_reserve();
    if (code != 0) return lmdb_failure(code, state_->path, "write");
    return {};
}

KvStats LmdbKv::stats() const {
    KvStats stats{.bytes_max = state_->bytes_max};
    std::error_code error;
    const auto bytes = fs::file_size(state_->path, error);
    if (!error) stats.bytes_on_disk = bytes;
    MDB_txn* txn = nullptr;
    if (state_->begin_read(txn) != 0) return stats;
    const auto add = [&](MDB_dbi table) {
        MDB_stat stat{};
        if (::mdb_stat(txn, table, &stat) != 0) return;
        stats.bytes_used += std::uint64_t{stat.ms_psize} *
                            (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages);
    };
    add(kFreePages);
    add(state_->unnamed);
    for (const MDB_dbi table : state_->tables) add(table);
    state_->end_read(txn);
    return stats;
}

}  // namespace skerry
