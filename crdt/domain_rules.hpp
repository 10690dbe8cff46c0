// crdt/domain_rules.hpp — which keys of clients belong to which domain: rules that operators declare, and what they agree on.
//
// Rule     a whole database of SELECT, or a prefix of the keys of database 0. What no rule names is of main.
// Apart    two rules never name the same key: whoever knows some rules and whoever knows more of them agree on every key
//          that both know to be of a domain. So rules that overlap are refused, rather than ranked.
// Weight   rules lead commands to keys, nothing else: where a key is stored, and how it is joined, depends on none of them.
// Cost     of a key without any rule: one comparison. Else a binary search among the prefixes.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/codec.hpp"
#include "crdt/domain.hpp"

namespace skerry {

inline constexpr std::size_t kDomainNameBytesMax = 64;
inline constexpr std::size_t kDomainPrefixBytesMax = 256;
inline constexpr std::size_t kDomainTextBytesMax = 400;
static_assert(kDomainNameBytesMax + kDomainPrefixBytesMax + 20 < kDomainTextBytesMax);

struct DomainRule {
    DomainNumber number = 0;
    std::string name;
    std::optional<DatabaseId> database;  // else the prefix, which is not empty
    std::string prefix;
    friend bool operator==(const DomainRule&, const DomainRule&) = default;

    // "db=3", "prefix=site-17:"
    [[nodiscard]] std::string what() const;
    // "site-17=17,prefix=site-17:", as it is declared
    [[nodiscard]] std::string text() const;
    // Is the key of that database of SELECT named by it?
    [[nodiscard]] bool names(DatabaseId db, std::string_view key) const;
};

// NAME=NUMBER,db=N or NAME=NUMBER,prefix=P, where P is all of the rest.   Errors: malformed.
[[nodiscard]] Result<DomainRule> parse_domain_rule(std::string_view text);
// As what() has it, into a rule with number and name.   Errors: malformed.
[[nodiscard]] Result<void> parse_domain_what(std::string_view text, DomainRule& rule);
[[nodiscard]] bool is_domain_name(std::string_view name);
// Why the two cannot both be, with the words to call their places by; nullopt: they can, or are the same.
[[nodiscard]] std::optional<std::string> conflict(const DomainRule& one, std::string_view of_one,
                                                  const DomainRule& other,
                                                  std::string_view of_other);

class DomainRules {
  public:
    DomainRules() { databases_.fill(0); }

    // Requires: no conflict with those that are there. One that is there already changes nothing.
    void add(const DomainRule& rule);
    [[nodiscard]] const std::vector<DomainRule>& all() const { return rules_; }  // by number
    // nullptr: not known.
    [[nodiscard]] const DomainRule* find(DomainNumber number) const;
    // Why the rule cannot be beside those that are there, as conflict(); nullopt: it can, or is one of them.
    [[nodiscard]] std::optional<std::string> conflict_with(std::string_view of_these,
                                                           const DomainRule& rule,
                                                           std::string_view of_rule) const;

    // Where the key of a database of SELECT is stored. Others are stored where they say.
    [[nodiscard]] DatabaseId stored_in(DatabaseId db, std::string_view key) const {
        if (rules_.empty() || db >= kDatabaseCount) [[likely]]
            return db;
        return look_up(db, key);
    }
    // Every stored database that a database of SELECT has keys in: its own first, unless a domain has all of it.
    [[nodiscard]] std::vector<DatabaseId> stored_for(DatabaseId db) const;

  private:
    [[nodiscard]] DatabaseId look_up(DatabaseId db, std::string_view key) const;

    std::vector<DomainRule> rules_;
    std::array<DomainNumber, kDatabaseCount> databases_{};
    std::vector<std::pair<std::string, DomainNumber>>
        prefixes_;  // sorted; none begins with another
};

}  // namespace skerry
