#include "crdt/domain_rules.hpp"

#include <algorithm>
#include <charconv>

namespace skerry {

namespace {
constexpr std::string_view kForm = "NAME=NUMBER,db=N or NAME=NUMBER,prefix=TEXT";

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (text.empty() || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    return value;
}

std::unexpected<Error> refused(std::string_view text, std::string why) {
    return fail(Code::malformed, "\"" + std::string(text.substr(0, kDomainPrefixBytesMax)) +
                                     "\": " + std::move(why));
}

std::string shown(std::string_view place, const DomainRule& rule) {
    return std::string(place) + " has the domain '" + rule.name + "' as number " +
           std::to_string(rule.number) + " with " + rule.what();
}
}  // namespace

std::string DomainRule::what() const {
    return database ? "db=" + std::to_string(*database) : "prefix=" + prefix;
}

std::string DomainRule::text() const { return name + "=" + std::to_string(number) + "," + what(); }

bool DomainRule::names(DatabaseId db, std::string_view key) const {
    return database ? db == *database : db == 0 && key.starts_with(prefix);
}

bool is_domain_name(std::string_view name) {
    return !name.empty() && name.size() <= kDomainNameBytesMax && name != "main" &&
           name.find_first_of(" ,=\t\r\n") == std::string_view::npos;
}

Result<void> parse_domain_what(std::string_view text, DomainRule& rule) {
    const auto value = [&](std::string_view word) -> std::optional<std::string_view> {
        if (!text.starts_with(word)) return std::nullopt;
        return text.substr(word.size());
    };
    if (const auto prefix = value("prefix=")) {
        if (prefix->empty() || prefix->size() > kDomainPrefixBytesMax)
            return refused(text, "a prefix of 1 to " + std::to_string(kDomainPrefixBytesMax) +
                                     " bytes is wanted");
        rule.prefix = *prefix;
        return {};
    }
    if (const auto database = value("db=")) {
        const auto number = parse_number(*database);
        if (!number || *number >= kDatabaseCount)
            return refused(text, "a database of 0 to 15 is wanted");
        rule.database = static_cast<DatabaseId>(*number);
        return {};
    }
    return refused(text, "db=N or prefix=TEXT is wanted");
}

Result<DomainRule> parse_domain_rule(std::string_view text) {
    const std::size_t equals = text.find('=');
    const std::size_t comma = text.find(',');
    if (equals == std::string_view::npos || comma == std::string_view::npos || comma < equals)
        return refused(text, std::string(kForm) + " is wanted");
    DomainRule rule;
    rule.name = text.substr(0, equals);
    if (!is_domain_name(rule.name))
        return refused(text,
                       "a name of 1 to 64 bytes, without blanks, and not \"main\", is wanted");
    const auto number = parse_number(text.substr(equals + 1, comma - equals - 1));
    if (!number || *number == 0 || *number > kDomainNumberMax)
        return refused(text, "a number of 1 to " + std::to_string(kDomainNumberMax) + " is wanted");
    rule.number = static_cast<DomainNumber>(*number);
    if (auto parsed = parse_domain_what(text.substr(comma + 1), rule); !parsed)
        return std::unexpected(parsed.error());
    return rule;
}

std::optional<std::string> conflict(const DomainRule& one, std::string_view of_one,
                                    const DomainRule& other, std::string_view of_other) {
    if (one == other) return std::nullopt;
    const bool overlap =
        one.database && other.database ? *one.database == *other.database
        : one.database || other.database
            ? one.database.value_or(0) == other.database.value_or(0)
            : one.prefix.starts_with(other.prefix) || other.prefix.starts_with(one.prefix);
    std::string why;
    if (one.number == other.number)
        why = "one number has one meaning";
    else if (one.name == other.name)
        why = "one name has one meaning";
    else if (overlap)
        why = "no key can be of two domains";
    else
        return std::nullopt;
    return shown(of_one, one) + ", and " + shown(of_other, other) + ": " + why +
           ", so give both the same --domain, or others";
}

void DomainRules::add(const DomainRule& rule) {
    if (find(rule.number) != nullptr) return;
    rules_.insert(std::ranges::lower_bound(rules_, rule.number, {}, &DomainRule::number), rule);
    if (rule.database)
        databases_[*rule.database] = rule.number;
    else
        prefixes_.insert(std::ranges::upper_bound(prefixes_, rule.prefix, {},
                                                  &std::pair<std::string, DomainNumber>::first),
                         {rule.prefix, rule.number});
}

const DomainRule* DomainRules::find(DomainNumber number) const {
    const auto found = std::ranges::lower_bound(rules_, number, {}, &DomainRule::number);
    return found == rules_.end() || found->number != number ? nullptr : &*found;
}

std::optional<std::string> DomainRules::conflict_with(std::string_view of_these,
                                                      const DomainRule& rule,
                                                      std::string_view of_rule) const {
    if (const DomainRule* same = find(rule.number); same != nullptr && *same == rule)
        return std::nullopt;
    for (const DomainRule& known : rules_)
        if (auto why = conflict(known, of_these, rule, of_rule)) return why;
    return std::nullopt;
}

DatabaseId DomainRules::look_up(DatabaseId db, std::string_view key) const {
    if (databases_[db] != kMainDomain) return database_of_domain(databases_[db]);
    if (db != 0) return db;
    // Of those that are not behind the key the last one alone can be its beginning.
    const auto behind = std::ranges::upper_bound(
        prefixes_, key, [](std::string_view a, std::string_view b) { return a < b; },
        [](const auto& pair) { return std::string_view(pair.first); });
    if (behind == prefixes_.begin() || !key.starts_with(std::prev(behind)->first)) return db;
    return database_of_domain(std::prev(behind)->second);
}

std::vector<DatabaseId> DomainRules::stored_for(DatabaseId db) const {
    if (db >= kDatabaseCount) return {db};
    if (databases_[db] != kMainDomain) return {database_of_domain(databases_[db])};
    std::vector<DatabaseId> all{db};
    if (db == 0)
        for (const auto& [prefix, number] : prefixes_) all.push_back(database_of_domain(number));
    return all;
}

}  // namespace skerry
