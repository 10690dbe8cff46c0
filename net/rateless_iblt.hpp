// net/rateless_iblt.hpp — rateless set reconciliation: from a stream of coded symbols of another set, what two sets differ in.
//
// Symbol   the XOR of some of a set's items, and of their checks. An item, 64 bits, is in symbol 0 and then in ever fewer:
//          in symbol i with probability 1 / (1 + i/2), the same ones at both sides.
// Decode   symbols of the difference are the XOR of both sides' symbols. One that holds a single item gives it away; the
//          item is taken out of all others. About 1.35 d symbols are enough for d differences, 1.7 d for few; a prefix of
//          one stream serves any d, so nobody has to know d beforehand.
// Key      of the session, random: items are keyed hashes (net/sip_hash.hpp), and so are checks and the choice of symbols.
// Total    any symbols are taken: no more is recovered than there are symbols, each item once, in symbols that it maps to;
//          else they are no symbols of a set. Memory: own items, symbols, and what was recovered.
// Source   Yang, Gilad, Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM 2024, arXiv:2402.02668.
// Differs  no count in a symbol: its check is 64 bits, and which side has an item is known from the own set.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "crdt/result.hpp"
#include "net/sip_hash.hpp"

namespace skerry {

struct CodedSymbol {
    std::uint64_t sum = 0;
    std::uint64_t check = 0;

    [[nodiscard]] bool empty() const { return sum == 0 && check == 0; }
    CodedSymbol& operator^=(const CodedSymbol& other) {
        sum ^= other.sum;
        check ^= other.check;
        return *this;
    }
    friend bool operator==(const CodedSymbol&, const CodedSymbol&) = default;
};

// An item on its way through the indices of its symbols, ascending from 0.
class CodedItem {
  public:
    CodedItem(const SipKey& key, std::uint64_t item);
    [[nodiscard]] const CodedSymbol& symbol() const { return symbol_; }
    [[nodiscard]] std::uint64_t index() const { return index_; }  // of the next symbol it is in
    void advance();

  private:
    CodedSymbol symbol_;  // as it would be with this item alone
    std::uint64_t random_;
    std::uint64_t index_ = 0;
};

// Puts the item into those of the symbols first, first + 1, ... that it is in.
void encode_item(const SipKey& key, std::uint64_t item, std::uint64_t first,
                 std::span<CodedSymbol> symbols);

// What the other side's set and this one's differ in.
class DifferenceDecoder {
  public:
    // `own`: this side's items, each once.
    DifferenceDecoder(const SipKey& key, std::vector<std::uint64_t> own);

    // Takes the next symbols of the other side. True: all is decoded. False: go on.
    // Errors: malformed (no two sets have these symbols).
    [[nodiscard]] Result<bool> take(std::span<const CodedSymbol> theirs);

    [[nodiscard]] std::size_t own_count() const { return own_.size(); }
    [[nodiscard]] std::size_t symbol_count() const { return symbols_.size(); }
    // Once all is decoded.
    [[nodiscard]] const std::vector<std::uint64_t>& mine_only() const { return mine_only_; }
    [[nodiscard]] const std::vector<std::uint64_t>& theirs_only() const { return theirs_only_; }

  private:
    void extend(std::vector<CodedItem>& items);
    [[nodiscard]] Result<void> peel(std::vector<std::uint64_t> candidates);
    [[nodiscard]] bool single(const CodedSymbol& symbol) const;

    SipKey key_;
    std::vector<std::uint64_t> own_;    // sorted
    std::vector<CodedItem> own_items_;  // each at its first index beyond the symbols
    std::vector<CodedItem> recovered_;  // the same
    std::unordered_set<std::uint64_t> known_;
    std::vector<CodedSymbol> symbols_;  // of the difference, without what was recovered
    std::vector<std::uint64_t> mine_only_, theirs_only_;
};

}  // namespace skerry
