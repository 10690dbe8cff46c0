#include "node/members.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace skerry {

namespace {
constexpr std::size_t kIdDigits = 8;

constexpr auto kStateNames = std::to_array<std::string_view>(
    {"joining", "active", "evicted", "replaced", "left", "forgotten"});

struct TextField {
    std::string_view name;
    std::string Member::* text;
};
constexpr auto kTextFields = std::to_array<TextField>({
    {"name", &Member::name},
    {"region", &Member::region},
    {"gossip", &Member::gossip_address},
    {"publish", &Member::publish_address},
    {"client", &Member::client_address},
});
constexpr std::string_view kRoleField = "role";
constexpr std::string_view kStateField = "state";
constexpr std::string_view kGoneField = "gone";
constexpr std::string_view kHoldsField = "holds";
constexpr std::string_view kSilentField = "silent";  // ms since the Unix epoch

// "main 17 204"
std::string text_of(const Holdings& holds) {
    std::string text = holds.main ? "main" : "";
    for (const DomainNumber domain : holds.domains)
        text += (text.empty() ? "" : " ") + std::to_string(domain);
    return text;
}

Holdings parse_holdings(std::string_view text) {
    Holdings holds{.main = false, .domains = {}};
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        DomainNumber domain = 0;
        const auto parsed = std::from_chars(word.data(), word.data() + word.size(), domain);
        if (word == "main")
            holds.main = true;
        else if (parsed.ec == std::errc() && domain > 0 && domain <= kDomainNumberMax)
            holds.domains.push_back(domain);
    }
    std::ranges::sort(holds.domains);
    return holds;
}

WallTime parse_silent(std::string_view text) {
    std::int64_t since = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), since);
    return WallTime(parsed.ec == std::errc() ? since : 0);
}

// What a later version may have written shows as one that is not there.
std::optional<MemberState> parse_state(std::string_view text) {
    const auto found = std::ranges::find(kStateNames, text);
    if (found == kStateNames.end()) return std::nullopt;
    return static_cast<MemberState>(found - kStateNames.begin());
}
}  // namespace

std::string MemberId::text() const {
    char hex[kIdDigits + 1];
    std::snprintf(hex, sizeof hex, "%08x", value);
    return hex;
}

std::optional<MemberId> parse_member_id(std::string_view text) {
    MemberId id;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, id.value, 16);
    if (text.size() != kIdDigits || parsed.ec != std::errc() || parsed.ptr != end)
        return std::nullopt;
    return id;
}

std::string_view name_of(MemberState state) { return kStateNames[static_cast<std::size_t>(state)]; }

const std::vector<Member>& MemberTable::rows() {
    const VersionVector& now = store_.shard(store_.configuration_shard()).clock;
    const std::uint64_t repaired = store_.stats().repaired_leaves;
    if (read_at_ == now && repaired_ == repaired) return rows_;
    read_at_ = now;
    repaired_ = repaired;
    rows_.clear();
    std::vector<std::string> keys;
    data_.for_each_key(kConfigurationDatabase, 0, [&](const KeyRecord& record) {
        keys.emplace_back(record.key);
        return true;
    });
    for (const std::string& key : keys) {
        const auto id = parse_member_id(key);
        if (!id || data_.type(kConfigurationDatabase, key) != KeyType::hash) continue;
        Member& row = rows_.emplace_back();
        row.id = *id;
        const auto text = [&](std::string_view field) {
            return data_.hash_get(kConfigurationDatabase, key, field).value_or("");
        };
        for (const TextField& field : kTextFields) row.*field.text = text(field.name);
        row.role = parse_role(text(kRoleField)).value_or(Role::core);
        row.holds = parse_holdings(text(kHoldsField));
        row.silent_since = parse_silent(text(kSilentField));
        row.state = parse_state(text(kStateField)).value_or(MemberState::active);
        if (const auto gone = parse_state(text(kGoneField))) row.state = *gone;
    }
    std::ranges::sort(rows_, {}, &Member::id);
    return rows_;
}

const Member* MemberTable::find(MemberId id) {
    const auto& all = rows();
    const auto found = std::ranges::lower_bound(all, id, {}, &Member::id);
    return found == all.end() || found->id != id ? nullptr : &*found;
}

void MemberTable::set(MemberId id, std::string_view field, std::string_view text) {
    const std::string key = id.text();
    if (data_.hash_get(kConfigurationDatabase, key, field).value_or("") == text) return;
    (void)data_.hash_set(kConfigurationDatabase, key, field, text);
}

void MemberTable::write(const Member& member) {
    ASSERT(member.state != MemberState::joining);
    for (const TextField& field : kTextFields) set(member.id, field.name, member.*field.text);
    set(member.id, kRoleField, name_of(member.role));
    set(member.id, kHoldsField, text_of(member.holds));
    set(member.id, kSilentField,
        member.silent_since == WallTime{} ? "" : std::to_string(member.silent_since.count()));
    set(member.id, member.gone() ? kGoneField : kStateField, name_of(member.state));
    store_.end_command();
}

}  // namespace skerry
