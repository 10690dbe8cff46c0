// store/lmdb_kv.hpp — the ordered key-value store over LMDB: one file, state.mdb, and room kept back for deletes.
//
// Tables   one named database each, and "chunks", which no caller sees. The unnamed one holds the format version.
// Value    0 | bytes            up to 64 KiB
//          1 | id 8 | bytes 8 | hash 8     longer ones: pieces of 65520 bytes (16 pages with their header; longer
//          runs of free pages become rare) in "chunks", under table 1 | id 8 | index 4. Integers big-endian.
// Full     writes fail and change nothing, and the room that a failed one took is given back. For a batch that may use
//          the reserve, the file `reserve` is emptied, and a map that is full grows by as much; both come back when
//          there is room.
// Refused  a file without our mark, and one that ends before its last page in use: LMDB would die of SIGBUS there.
// Thread   as store/kv.hpp. One LmdbKv a file and process (LMDB's locks): hold the DirectoryLock.
#pragma once

#include <filesystem>

#include "store/kv.hpp"

namespace skerry {

class LmdbKv final : public Kv {
  public:
    struct Options {
        std::uint64_t bytes_max = 0;  // of state.mdb; 0: as far as the disk goes
    };
    static constexpr std::uint64_t kReserveBytes = std::uint64_t{16} << 20;
    static constexpr std::size_t kInlineBytesMax = std::size_t{64} << 10;

    // Creates the directory and the file where absent.   Errors: io_failed, out_of_space, corrupt,
    // unsupported.
    [[nodiscard]] static Result<std::unique_ptr<LmdbKv>> open(
        const std::filesystem::path& directory, Options options);
    // The file for reading alone; nothing is changed or made. A process may be writing to it: then a
    // snapshot keeps that process from using freed pages again, and the file grows meanwhile. nullptr:
    // nothing has been written yet. Errors: io_failed, corrupt, unsupported.
    enum class Writer : std::uint8_t { none, another_process };
    [[nodiscard]] static Result<std::unique_ptr<const LmdbKv>> open_to_read(
        const std::filesystem::path& directory, Writer writer);
    ~LmdbKv() override;  // Requires: no reader is left.

    [[nodiscard]] Result<std::unique_ptr<KvReader>> reader() const override;
    // Errors: those of Kv, and corrupt.
    [[nodiscard]] Result<void> write(const KvBatch& batch, KvRoom room) override;
    [[nodiscard]] KvStats stats() const override;

  private:
    struct State;
    explicit LmdbKv(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace skerry
