#include "node/domain_table.hpp"

#include <algorithm>

namespace skerry {

namespace {
constexpr std::string_view kKeyPrefix = "domain:";
constexpr std::string_view kRuleField = "rule";
}  // namespace

const std::vector<DomainRule>& DomainTable::rows() {
    const VersionVector& now = store_.shard(store_.configuration_shard()).clock;
    if (read_at_ == now) return rows_;
    read_at_ = now;
    rows_.clear();
    std::vector<std::string> keys;
    data_.for_each_key(kConfigurationDatabase, 0, [&](const KeyRecord& record) {
        if (record.key.view().starts_with(kKeyPrefix)) keys.emplace_back(record.key);
        return true;
    });
    for (const std::string& key : keys) {
        if (data_.type(kConfigurationDatabase, key) != KeyType::hash) continue;
        const auto text = data_.hash_get(kConfigurationDatabase, key, kRuleField);
        const auto rule = parse_domain_rule(text.value_or(""));
        // What a later version may have written is no rule of this one.
        if (rule && key == std::string(kKeyPrefix) + std::to_string(rule->number))
            rows_.push_back(*rule);
    }
    std::ranges::sort(rows_, {}, &DomainRule::number);
    return rows_;
}

void DomainTable::write(const DomainRule& rule) {
    (void)data_.hash_set(kConfigurationDatabase,
                         std::string(kKeyPrefix) + std::to_string(rule.number), kRuleField,
                         rule.text());
    store_.end_command();
}

bool ShadowSearch::step(Store& store, std::size_t keys) {
    std::size_t looked_at = 0;
    std::optional<std::uint64_t> next;
    store.for_each_key(rule_.database.value_or(0), from_, [&](const KeyRecord& record) {
        const std::uint64_t order = record.address.order.order;
        if (looked_at >= keys && order != from_) {
            next = order;
            return false;
        }
        from_ = order;
        ++looked_at;
        if (record.exists() && rule_.names(rule_.database.value_or(0), record.key.view()))
            found_ = record.key;
        return !found_;
    });
    if (next) from_ = *next;
    return found_ || !next;
}

std::string ShadowSearch::sentence() const {
    constexpr std::size_t kShownMax = 64;
    return "main has keys that the domain '" + rule_.name + "' (" + rule_.what() +
           ") would hide, '" + found_->substr(0, kShownMax) +
           "' for one: rename or delete them first, or declare another domain";
}

std::optional<std::string> refusal_of(Store& store, const std::vector<DomainRule>& declared) {
    DomainTable table(store);
    for (const DomainRule& rule : declared) {
        bool known = false;
        for (const DomainRule& row : table.rows()) {
            if (const auto why = conflict(rule, "this start", row, "the cluster")) return why;
            known = known || row == rule;
        }
        if (known || !store.options().holds.main) continue;
        ShadowSearch search(rule);
        (void)search.step(store, ~std::size_t{0});  // all at once
        if (search.found()) return search.sentence();
    }
    return std::nullopt;
}

}  // namespace skerry
