// node/domain_table.hpp — the domains of the cluster, as data of the configuration domain: who knows a rule keeps to it.
//
// Row      one hash per domain in kConfigurationDatabase, "domain:NUMBER", with one field, the rule as it is declared. Whoever
//          holds main and declares a domain writes it; every node reads it, so that a key which it names is of no node's main.
// Fixed    a row is never written over: another meaning of the number is refused, at the start and at the handshake. Two that
//          were declared on both sides of a cut meet, the last writer wins, and the other's node says so.
// Weight   none for what is stored: see crdt/domain_rules.hpp.
// Thread   core thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crdt/domain_rules.hpp"
#include "node/database.hpp"

namespace skerry {

class DomainTable {
  public:
    explicit DomainTable(Store& store) : store_(store), data_(store) {}

    // By number. Lifetime: until the next call.
    [[nodiscard]] const std::vector<DomainRule>& rows();
    void write(const DomainRule& rule);

  private:
    Store& store_;
    Database data_;
    std::optional<VersionVector> read_at_;
    std::vector<DomainRule> rows_;
};

// Looks for a key of main that a rule names, `keys` at a time.
class ShadowSearch {
  public:
    explicit ShadowSearch(DomainRule rule) : rule_(std::move(rule)) {}

    [[nodiscard]] const DomainRule& rule() const { return rule_; }
    // True: it has come to the end, or found one.
    [[nodiscard]] bool step(Store& store, std::size_t keys);
    [[nodiscard]] const std::optional<std::string>& found() const { return found_; }
    // Why the rule cannot be declared. Requires: found().
    [[nodiscard]] std::string sentence() const;

  private:
    DomainRule rule_;
    std::uint64_t from_ = 0;
    std::optional<std::string> found_;
};

// Why a directory cannot be started with these domains: the cluster's table has another meaning of one, or main has keys that
// one of them, which the table does not have, would take. nullopt: it can.
[[nodiscard]] std::optional<std::string> refusal_of(Store& store,
                                                    const std::vector<DomainRule>& declared);

}  // namespace skerry
