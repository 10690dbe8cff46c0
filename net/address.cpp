#include "net/address.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace skerry {

namespace {
bool is_name(std::string_view host) {
    return !host.empty() && host.size() <= 255 && std::ranges::all_of(host, [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
    });
}
// Hexadecimal digits, colons, dots of an embedded IPv4 address, and a zone behind %.
bool is_ipv6_text(std::string_view host) {
    const std::string_view number = host.substr(0, host.find('%'));
    return host.size() <= 64 && std::ranges::count(number, ':') >= 2 &&
           number.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos &&
           (number.size() == host.size() || is_name(host.substr(number.size() + 1)));
}
std::unexpected<Error> refuse(std::string_view text, std::string_view why) {
    return fail(Code::refused,
                "address \"" + std::string(text.substr(0, 300)) + "\": " + std::string(why));
}
}  // namespace

std::string Address::text() const {
    return (is_ipv6() ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Address> parse_address(std::string_view text, AddressUse use) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return refuse(text, "expected host:port");
    std::string_view host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);

    Address address;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
    if (error != std::errc{} || end != digits.data() + digits.size())
        return refuse(text, "the port must be a number up to 65535");
    if (address.port == 0 && use == AddressUse::connect)
        return refuse(text, "port 0 cannot be connected to");

    if (host.starts_with('[') && host.ends_with(']')) {
        host = host.substr(1, host.size() - 2);
        if (!is_ipv6_text(host)) return refuse(text, "not an IPv6 address in the brackets");
    } else if (host.find(':') != std::string_view::npos) {
        return refuse(text, "an IPv6 host needs brackets, as in [::1]:7401");
    } else if (host == "*") {
        if (use == AddressUse::connect) return refuse(text, "host * cannot be connected to");
    } else if (!is_name(host)) {
        return refuse(text, "not a host name");
    }
    address.host = host;
    return address;
}

}  // namespace skerry
