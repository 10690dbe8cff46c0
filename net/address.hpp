// net/address.hpp — host:port as people write it: a name, an IPv4 address, or an IPv6 address in brackets.
//
// Pure     nothing is resolved here; names are looked up when a connection is made, each time anew.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "crdt/result.hpp"

namespace skerry {

struct Address {
    std::string host;  // without brackets; "*" = every interface, for binding only
    std::uint16_t port = 0;
    [[nodiscard]] bool is_ipv6() const { return host.find(':') != std::string::npos; }
    [[nodiscard]] bool is_ipv4() const {
        return host.find_first_not_of("0123456789.") == std::string::npos;
    }
    [[nodiscard]] std::string text() const;  // the brackets are back
    friend bool operator==(const Address&, const Address&) = default;
};

enum class AddressUse : std::uint8_t { connect, bind };

// Port 0 and host * are for binding only.   Errors: refused, with a sentence that quotes the
// address.
[[nodiscard]] Result<Address> parse_address(std::string_view text, AddressUse use);

}  // namespace skerry
