#include "net/rateless_iblt.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>

namespace skerry {

namespace {
std::uint64_t check_of(const SipKey& key, std::uint64_t item) {
    return sip_hash(key, {reinterpret_cast<const char*>(&item), sizeof item});
}
static_assert(std::endian::native == std::endian::little, "an item is hashed as it lies in memory");
}  // namespace

CodedItem::CodedItem(const SipKey& key, std::uint64_t item)
    : symbol_{item, check_of(key, item)}, random_(symbol_.check) {}

// An item in symbol i is in none of the next g with probability ((i + 1.5) / (i + g + 1.5))^2, about: the inverse of that,
// at a random number. IEEE arithmetic without a fused step: the same at every node.
void CodedItem::advance() {
    random_ = random_ * 0xd1342543de82ef95 + 1;
    const double uniform = (static_cast<double>(random_ >> 11) + 1) * 0x1p-53;  // in (0, 1]
    const double gap = (static_cast<double>(index_) + 1.5) * (1 / std::sqrt(uniform) - 1);
    index_ +=
        std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::min(std::ceil(gap), 0x1p62)));
}

void encode_item(const SipKey& key, std::uint64_t item, std::uint64_t first,
                 std::span<CodedSymbol> symbols) {
    CodedItem coded(key, item);
    while (coded.index() < first) coded.advance();
    for (; coded.index() - first < symbols.size(); coded.advance())
        symbols[coded.index() - first] ^= coded.symbol();
}

DifferenceDecoder::DifferenceDecoder(const SipKey& key, std::vector<std::uint64_t> own)
    : key_(key), own_(std::move(own)) {
    std::ranges::sort(own_);
    own_items_.reserve(own_.size());
    for (const std::uint64_t item : own_) own_items_.emplace_back(key_, item);
}

// Into the symbols that have come since.
void DifferenceDecoder::extend(std::vector<CodedItem>& items) {
    for (CodedItem& item : items)
        for (; item.index() < symbols_.size(); item.advance())
            symbols_[item.index()] ^= item.symbol();
}

bool DifferenceDecoder::single(const CodedSymbol& symbol) const {
    return !symbol.empty() && symbol.check == check_of(key_, symbol.sum);
}

Result<bool> DifferenceDecoder::take(std::span<const CodedSymbol> theirs) {
    const std::size_t before = symbols_.size();
    symbols_.insert(symbols_.end(), theirs.begin(), theirs.end());
    extend(own_items_);
    extend(recovered_);
    std::vector<std::uint64_t> candidates;
    for (std::size_t i = before; i < symbols_.size(); ++i)
        if (single(symbols_[i])) candidates.push_back(i);
    if (auto peeled = peel(std::move(candidates)); !peeled) return std::unexpected(peeled.error());
    return !symbols_.empty() && std::ranges::all_of(symbols_, &CodedSymbol::empty);
}

Result<void> DifferenceDecoder::peel(std::vector<std::uint64_t> candidates) {
    while (!candidates.empty()) {
        const std::uint64_t found = candidates.back();
        candidates.pop_back();
        if (!single(symbols_[found])) continue;  // another one has emptied it
        CodedItem item(key_, symbols_[found].sum);
        if (recovered_.size() == symbols_.size() || !known_.insert(item.symbol().sum).second)
            return fail(Code::malformed, "symbols: an item twice");
        bool holds = false;
        for (; item.index() < symbols_.size(); item.advance()) {
            CodedSymbol& symbol = symbols_[item.index()];
            symbol ^= item.symbol();
            holds = holds || item.index() == found;
            if (single(symbol)) candidates.push_back(item.index());
        }
        if (!holds) return fail(Code::malformed, "symbols: an item where it is not");
        const bool mine = std::ranges::binary_search(own_, item.symbol().sum);
        (mine ? mine_only_ : theirs_only_).push_back(item.symbol().sum);
        recovered_.push_back(item);
    }
    return {};
}

}  // namespace skerry
