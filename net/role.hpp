// net/role.hpp — what a node is to the others (docs/decisions/0016-hubs-and-edges.md).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace skerry {

// The numbers are on the wire.
enum class Role : std::uint8_t {
    core = 0,
    hub = 1,   // a core that takes edges in, and hands them all that it applies
    edge = 2,  // dials one hub, and nobody dials it
};
inline constexpr std::array<std::string_view, 3> kRoleNames{"core", "hub", "edge"};

[[nodiscard]] constexpr std::string_view name_of(Role role) {
    return kRoleNames[static_cast<std::size_t>(role)];
}
[[nodiscard]] constexpr std::optional<Role> parse_role(std::string_view text) {
    for (std::size_t i = 0; i < kRoleNames.size(); ++i)
        if (text == kRoleNames[i]) return static_cast<Role>(i);
    return std::nullopt;
}

}  // namespace skerry
