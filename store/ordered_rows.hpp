// store/ordered_rows.hpp — rows in the order of their hashes: found in a few cache lines, walked in order.
//
// Shape    blocks of up to 256 slots (leading 64 bits of the order, pointer to the row), blocks and slots in order.
// Search   by interpolation: hashes are spread evenly, so where a place lies among its neighbours says where to look.
//          From there outward in doubling steps, so that a skew (many keys of one hash tag) costs O(log n), not O(n).
// Cost     find: about 2 lines of the block, then the row; an ordered tree of these rows meets 3 to 9 nodes on the way.
//          insert: O(256) pointers moved; a block splits at 256. No pause grows with the number of rows but the moving of
//          the list of blocks, 40 bytes for each, once in 128 inserts.
// Lifetime rows stay where they are until erased; iterators are valid until the next insert or erase.
// Source   interpolation search: Perl, Itai, Avni, CACM 21(7), 1978.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "crdt/assert.hpp"

namespace skerry {

// What a row costs here beside itself: a slot, blocks being two thirds full.
inline constexpr std::size_t kOrderedRowBytes = 24;

// Requires: Row::order() gives a totally ordered value whose prefix() never contradicts that order.
template <class Row>
class OrderedRows {
  public:
    using Order = std::decay_t<decltype(std::declval<const Row&>().order())>;

    class Iterator {
      public:
        [[nodiscard]] Row& operator*() const { return *rows_->blocks_[block_].slots[slot_].row; }
        [[nodiscard]] Row* operator->() const { return &**this; }
        Iterator& operator++() {
            if (++slot_ < rows_->blocks_[block_].slots.size()) return *this;
            ++block_;
            slot_ = 0;
            return *this;
        }
        friend bool operator==(const Iterator&, const Iterator&) = default;

      private:
        friend class OrderedRows;
        Iterator(const OrderedRows* rows, std::size_t block, std::size_t slot)
            : rows_(rows), block_(block), slot_(slot) {}
        const OrderedRows* rows_;
        std::size_t block_;
        std::size_t slot_;
    };

    OrderedRows() = default;
    OrderedRows(OrderedRows&& other) noexcept
        : blocks_(std::exchange(other.blocks_, {})), count_(std::exchange(other.count_, 0)) {}
    OrderedRows& operator=(OrderedRows&& other) noexcept {
        std::swap(blocks_, other.blocks_);
        std::swap(count_, other.count_);
        return *this;
    }
    ~OrderedRows() {
        for (const Block& block : blocks_)
            for (const Slot& slot : block.slots) delete slot.row;
    }

    [[nodiscard]] bool empty() const { return count_ == 0; }
    [[nodiscard]] std::size_t count() const { return count_; }
    [[nodiscard]] Iterator begin() const { return {this, 0, 0}; }
    [[nodiscard]] Iterator end() const { return {this, blocks_.size(), 0}; }

    // nullptr: there is none.
    [[nodiscard]] Row* find(const Order& order) const {
        if (blocks_.empty()) return nullptr;
        const std::uint64_t prefix = order.prefix();
        const Block& block = blocks_[block_of(prefix)];
        for (std::size_t i = first_not_before(block, prefix);
             i < block.slots.size() && block.slots[i].prefix == prefix; ++i)
            if (block.slots[i].row->order() == order) return block.slots[i].row;
        return nullptr;
    }

    // The first row at or after `order`.
    [[nodiscard]] Iterator lower_bound(const Order& order) const {
        if (blocks_.empty()) return end();
        const std::size_t block = block_of(order.prefix());
        const std::size_t slot = slot_of(blocks_[block], order);
        if (slot == blocks_[block].slots.size()) return {this, block + 1, 0};
        return {this, block, slot};
    }

    // Requires: no row of that order is there.
    Row& insert(std::unique_ptr<Row> row) {
        const Order order = row->order();
        const std::uint64_t prefix = order.prefix();
        if (blocks_.empty()) blocks_.push_back({prefix, prefix, {}});
        std::size_t at = block_of(prefix);
        if (blocks_[at].slots.size() >= kBlockRows && split(at)) at = block_of(prefix);
        Block& block = blocks_[at];
        block.first = std::min(block.first, prefix);
        block.last = std::max(block.last, prefix);
        const std::size_t slot = slot_of(block, order);
        ASSERT(slot == block.slots.size() || block.slots[slot].row->order() != order);
        block.slots.insert(block.slots.begin() + static_cast<std::ptrdiff_t>(slot),
                           Slot{prefix, row.get()});
        ++count_;
        return *row.release();
    }

    // The iterator behind it.
    Iterator erase(Iterator place) {
        auto& slots = blocks_[place.block_].slots;
        delete slots[place.slot_].row;
        slots.erase(slots.begin() + static_cast<std::ptrdiff_t>(place.slot_));
        --count_;
        if (slots.empty()) {
            blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(place.block_));
            return {this, place.block_, 0};
        }
        if (place.slot_ < slots.size()) return place;
        return {this, place.block_ + 1, 0};
    }

  private:
    static constexpr std::size_t kBlockRows = 256;

    struct Slot {
        std::uint64_t prefix;
        Row* row;  // owned
    };
    // Rows of equal prefix are in one block, however many.
    struct Block {
        std::uint64_t first;  // no row of the block is before, every one of the blocks before is
        std::uint64_t last;   // no row of the block is behind
        std::vector<Slot> slots;
    };

    // The first index at which `before` is false, looked for outward from `guess`.
    template <class Before>
    [[nodiscard]] static std::size_t search(std::size_t count, std::size_t guess, Before before) {
        std::size_t low = 0;
        std::size_t high = count;
        std::size_t step = 2;
        if (guess < count && before(guess)) {
            low = guess + 1;
            for (; low + step < high; step *= 2) {
                if (!before(low + step)) {
                    high = low + step;
                    break;
                }
                low += step + 1;
            }
        } else {
            high = std::min(guess, count);
            for (; high > step; step *= 2) {
                if (before(high - step)) {
                    low = high - step + 1;
                    break;
                }
                high -= step;
            }
        }
        while (low < high) {
            const std::size_t middle = low + (high - low) / 2;
            if (before(middle))
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

    // Where `prefix` lies among `count` places spread evenly over [first, last].
    [[nodiscard]] static std::size_t guess(std::uint64_t prefix, std::uint64_t first,
                                           std::uint64_t last, std::size_t count) {
        if (prefix <= first) return 0;
        if (prefix >= last) return count - 1;
        return static_cast<std::size_t>(static_cast<double>(prefix - first) /
                                        static_cast<double>(last - first) *
                                        static_cast<double>(count - 1));
    }

    // The last block that does not begin behind `prefix`, else the first one.
    [[nodiscard]] std::size_t block_of(std::uint64_t prefix) const {
        const std::size_t count = blocks_.size();
        if (count == 1) return 0;
        const std::size_t behind =
            search(count, guess(prefix, blocks_.front().first, blocks_.back().last, count),
                   [&](std::size_t i) { return blocks_[i].first <= prefix; });
        return behind == 0 ? 0 : behind - 1;
    }

    [[nodiscard]] static std::size_t first_not_before(const Block& block, std::uint64_t prefix) {
        const std::size_t count = block.slots.size();
        return search(count, guess(prefix, block.first, block.last, count),
                      [&](std::size_t i) { return block.slots[i].prefix < prefix; });
    }

    [[nodiscard]] static std::size_t slot_of(const Block& block, const Order& order) {
        const std::uint64_t prefix = order.prefix();
        if (block.slots.empty()) return 0;
        std::size_t slot = first_not_before(block, prefix);
        while (slot < block.slots.size() && block.slots[slot].prefix == prefix &&
               block.slots[slot].row->order() < order)
            ++slot;
        return slot;
    }

    // False: all its rows have one prefix.
    bool split(std::size_t at) {
        auto& slots = blocks_[at].slots;
        std::size_t middle = slots.size() / 2;
        while (middle < slots.size() && slots[middle].prefix == slots[middle - 1].prefix) ++middle;
        if (middle == slots.size()) {
            middle = slots.size() / 2;
            while (middle > 0 && slots[middle].prefix == slots[middle - 1].prefix) --middle;
            if (middle == 0) return false;
        }
        const auto from = slots.begin() + static_cast<std::ptrdiff_t>(middle);
        Block upper{from->prefix, blocks_[at].last, {from, slots.end()}};
        slots.erase(from, slots.end());
        blocks_[at].last = slots.back().prefix;
        blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(at) + 1, std::move(upper));
        return true;
    }

    std::vector<Block> blocks_;  // by place, none empty
    std::size_t count_ = 0;
};

}  // namespace skerry
