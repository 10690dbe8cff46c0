// sim/disk.hpp — a disk in memory that outlives the process using it: a log and an ordered store with honest syncs.
//
// Crash    what was synced stays; of what was only appended a random prefix of the bytes stays, torn anywhere.
//          A log that ignores syncs, as under --durability none, keeps for certain only what was there when it was opened.
// Kv       a write is atomic and durable when it returns; a reader is a snapshot.
// Room     `reserve`: the ordered store takes only what may use the reserve, the log still has what the node keeps back;
//          `none`: both refuse, and an append leaves half of its bytes.
// Copy     a copy of a disk is a snapshot of it.
// Contract tests/store/log_conformance_test.cpp and kv_conformance_test.cpp: the real backends keep to the same.
// Thread   one.
#pragma once

#include <array>
#include <map>
#include <optional>

#include "sim/random.hpp"
#include "store/kv.hpp"
#include "store/log.hpp"

namespace skerry::sim {

enum class Room : std::uint8_t { plenty, reserve, none };

class SimLog final : public Log {
  public:
    [[nodiscard]] LogPosition first() const override { return first_; }
    [[nodiscard]] LogPosition last() const override {
        return LogPosition{first_.value + offsets_.size() - 1};
    }
    [[nodiscard]] LogPosition durable() const override { return durable_; }
    [[nodiscard]] std::uint64_t bytes_kept() const override { return bytes_.size(); }
    [[nodiscard]] Result<void> append(std::string_view frames, LogPosition last_position) override;
    [[nodiscard]] Result<void> sync() override;
    [[nodiscard]] Result<void> truncate_to_durable() override;
    [[nodiscard]] Result<void> read(LogPosition from, Visit visit) const override;
    Result<void> drop_before(LogPosition position) override;

    // The machine stops; what is left is read by reopen(). True: something is lost.
    bool crash(Random& random);
    // The same, when the first bytes of what was not synced stay.
    void crash(std::size_t unsynced_bytes_kept);
    // As FileLog::open: from the bytes alone. A torn tail is cut.   Errors: corrupt: what had been durable is gone;
    // nothing is changed.
    [[nodiscard]] Result<void> reopen();

    // ---- what goes wrong
    void set_room(Room room) { room_ = room; }
    void fail_next_sync() { sync_fails_ = true; }
    void ignore_syncs() { ignores_syncs_ = true; }
    void mend() { sync_fails_ = false; }
    // One bit of what is durable turns. nullopt: there was nothing; true: a later frame proves that the frame it is in
    // had been durable, so that reopen() has to report it.
    [[nodiscard]] std::optional<bool> rot(Random& random);
    // One bit of the record's body turns. Requires: it is kept, and has a body.
    void rot(LogPosition position);

  private:
    // Finds the frames behind `from`; false: something proves that more had been durable.
    bool index(std::size_t from);

    std::string bytes_;
    std::vector<std::size_t> offsets_;  // of the frames in bytes_, from first_ on
    LogPosition first_{1};
    LogPosition durable_;
    std::size_t durable_bytes_ = 0;
    LogPosition on_disk_;  // as durable, if syncs are ignored: what a crash leaves
    std::size_t on_disk_bytes_ = 0;
    std::size_t whole_bytes_ = 0;  // behind them: what an append that failed has left
    Room room_ = Room::plenty;
    bool ignores_syncs_ = false;
    bool sync_fails_ = false;
    bool sync_failed_ = false;
    bool tail_undefined_ = false;
};

class SimKv final : public Kv {
  public:
    using Rows = std::array<std::map<std::string, std::string, std::less<>>, kTableCount>;

    [[nodiscard]] Result<std::unique_ptr<KvReader>> reader() const override;
    [[nodiscard]] Result<void> write(const KvBatch& batch, KvRoom room) override;
    [[nodiscard]] KvStats stats() const override;

    // ---- what goes wrong
    void set_room(Room room) { room_ = room; }
    void fail_next_write() { write_fails_ = true; }
    void mend() { write_fails_ = false; }
    // One row of keys and elements is gone: its key and value. nullopt: it had no live entry, and is still there.
    std::optional<std::pair<std::string, std::string>> lose_row(Random& random);
    // One row of them is no longer what was written, but can be read: a live entry is gone, or older than it was. False: there
    // was none to change.
    bool change_row(Random& random);
    // From now on a write is no transaction: one half is there at once, the other with finish(), or never.
    enum class Halves : std::uint8_t { together, clocks_first, leaves_first };
    void write_in(Halves halves) { halves_ = halves; }
    void finish();
    void crash() { second_half_.clear(); }

  private:
    void apply(const KvBatch& batch);

    std::shared_ptr<const Rows> rows_ = std::make_shared<Rows>();
    KvBatch second_half_;
    Halves halves_ = Halves::together;
    Room room_ = Room::plenty;
    bool write_fails_ = false;
};

struct SimDisk {
    SimLog log;
    SimKv kv;
    Room room = Room::plenty;

    void set_room(Room now) {
        room = now;
        log.set_room(now);
        kv.set_room(now);
    }
    void mend() {
        set_room(Room::plenty);
        log.mend();
        kv.mend();
    }
};

}  // namespace skerry::sim
