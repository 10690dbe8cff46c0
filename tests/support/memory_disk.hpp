// tests/support/memory_disk.hpp — a log and an ordered store in memory, for tests of what lies above them.
//
// Differs  nothing fails here, and sync() is immediate; faults are the simulator's business.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crdt/assert.hpp"
#include "store/kv.hpp"
#include "store/log_frame.hpp"

namespace skerry {

class MemoryLog final : public Log {
  public:
    [[nodiscard]] LogPosition first() const override { return LogPosition{1}; }
    [[nodiscard]] LogPosition last() const override { return LogPosition{bodies_.size()}; }
    [[nodiscard]] LogPosition durable() const override { return LogPosition{durable_count_}; }
    [[nodiscard]] std::uint64_t bytes_kept() const override { return bytes_; }

    [[nodiscard]] Result<void> append(std::string_view frames, LogPosition last_position) override {
        while (!frames.empty()) {
            const auto frame = parse_frame(frames);
            ASSERT(frame.has_value());
            ASSERT(frame->position == last().next());
            bodies_.emplace_back(frame->body);
            bytes_ += frame->frame_bytes;
            frames.remove_prefix(frame->frame_bytes);
        }
        ASSERT(last() == last_position);
        return {};
    }
    [[nodiscard]] Result<void> sync() override {
        durable_count_ = bodies_.size();
        return {};
    }
    [[nodiscard]] Result<void> truncate_to_durable() override {
        bodies_.resize(durable_count_);
        return {};
    }
    [[nodiscard]] Result<void> read(LogPosition from, Visit visit) const override {
        ASSERT(from.value >= 1);
        for (std::size_t i = from.value - 1; i < bodies_.size(); ++i)
            if (!visit(LogPosition{i + 1}, bodies_[i])) break;
        return {};
    }
    Result<void> drop_before(LogPosition) override { return {}; }

  private:
    std::vector<std::string> bodies_;
    std::size_t durable_count_ = 0;
    std::uint64_t bytes_ = 0;
};

class MemoryKv final : public Kv {
  public:
    [[nodiscard]] Result<std::unique_ptr<KvReader>> reader() const override {
        return std::make_unique<Reader>(rows_);
    }
    [[nodiscard]] Result<void> write(const KvBatch& batch, KvRoom) override {
        if (rows_.use_count() > 1) rows_ = std::make_shared<Rows>(*rows_);  // somebody reads them
        for (const KvChange& change : batch) {
            if (change.value) {
                (*rows_)[{change.table, change.key}] = *change.value;
            } else {
                rows_->erase({change.table, change.key});
            }
        }
        return {};
    }
    [[nodiscard]] KvStats stats() const override { return {}; }

  private:
    using Rows = std::map<std::pair<Table, std::string>, std::string>;

    class Reader final : public KvReader {
      public:
        explicit Reader(std::shared_ptr<const Rows> rows) : rows_(std::move(rows)) {}
        [[nodiscard]] Result<std::optional<std::string_view>> get(Table table,
                                                                  std::string_view key) override {
            const auto found = rows_->find({table, std::string(key)});
            if (found == rows_->end()) return std::nullopt;
            return found->second;
        }
        [[nodiscard]] Result<void> scan(Table table, std::string_view from, std::string_view to,
                                        Visit visit) override {
            for (auto row = rows_->lower_bound({table, std::string(from)}); row != rows_->end();
                 ++row) {
                if (row->first.first != table || (!to.empty() && row->first.second >= to)) break;
                if (!visit(row->first.second, row->second)) break;
            }
            return {};
        }

      private:
        std::shared_ptr<const Rows> rows_;
    };

    std::shared_ptr<Rows> rows_ = std::make_shared<Rows>();
};

}  // namespace skerry
