#include "net/address.hpp"

#include "tests/catch.hpp"

using namespace skerry;

TEST_CASE("address: names, IPv4 and bracketed IPv6 come back as written", "[net][address]") {
    for (const char* text :
         {"a.example:7401", "10.0.0.1:1", "[::1]:65535", "[fe80::1%eth0]:7401", "node_1:7401"}) {
        INFO(text);
        const auto address = parse_address(text, AddressUse::connect);
        REQUIRE(address.has_value());
        CHECK(address->text() == text);
    }
    CHECK(parse_address("[::1]:1", AddressUse::connect)->is_ipv6());
    CHECK(parse_address("10.0.0.1:1", AddressUse::connect)->is_ipv4());
    CHECK_FALSE(parse_address("ten.example:1", AddressUse::connect)->is_ipv4());
}

TEST_CASE("address: what cannot be reached is refused with a sentence", "[net][address]") {
    for (const char* text : {"", ":", "host", "host:", "host:x", "host:65536", "host:-1", "host:1 ",
                             ":7401", "::1:7401", "[::1]", "[]:1", "[abc]:1", "a b:1",
                             "tcp://host:1", "host:0", "*:7401", "host/x:1"}) {
        INFO(text);
        const auto address = parse_address(text, AddressUse::connect);
        REQUIRE_FALSE(address.has_value());
        CHECK(address.error().code == Code::refused);
        CHECK(address.error().where.size() > 20);
    }
    CHECK(parse_address("*:0", AddressUse::bind).has_value());
}
