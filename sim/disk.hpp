// sim/disk.hpp — a disk in memory that outlives the process using it: a log and an ordered store with honest syncs.
//
// Crash    what was synced stays; of what was only appended a random prefix of the bytes stays, torn anywhere.
// Kv       a write is atomic and durable when it returns; a reader is a snapshot.
// Thread   one.
#pragma once

#include <array>
#include <map>

#include "sim/random.hpp"
#include "store/kv.hpp"
#include "store/log.hpp"

namespace skerry::sim {

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

    // The machine stops and starts again: the log is as a reopened one.   Errors: corrupt.
    [[nodiscard]] Result<void> crash(Random& random);

  private:
    // Finds the frames behind `from`; true: nothing that had been durable is missing.
    bool index(std::size_t from);

    std::string bytes_;
    std::vector<std::size_t> offsets_;  // of the frames in bytes_, from first_ on
    LogPosition first_{1};
    LogPosition durable_;
    std::size_t durable_bytes_ = 0;
};

class SimKv final : public Kv {
  public:
    using Rows = std::array<std::map<std::string, std::string, std::less<>>, kTableCount>;

    [[nodiscard]] Result<std::unique_ptr<KvReader>> reader() const override;
    [[nodiscard]] Result<void> write(const KvBatch& batch) override;
    [[nodiscard]] KvStats stats() const override { return {}; }

    // Damage, for tests: one row of keys and elements is gone.
    void lose_row(Random& random);

  private:
    std::shared_ptr<const Rows> rows_ = std::make_shared<Rows>();
};

struct SimDisk {
    SimLog log;
    SimKv kv;
};

}  // namespace skerry::sim
