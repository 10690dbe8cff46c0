// node/socket.hpp — the TCP sockets of the client port: listening, accepting, addresses as text.
//
// Options   SO_REUSEADDR; IPv6 sockets are v6 only, so that v4 and v6 of a port are two listeners; non-blocking;
//           clients get TCP_NODELAY and keepalive.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crdt/result.hpp"

namespace skerry {

// Owns a descriptor.
class Fd {
  public:
    Fd() = default;
    explicit Fd(int number) : number_(number) {}
    Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Fd& operator=(Fd&& other) noexcept;
    ~Fd();
    [[nodiscard]] int number() const { return number_; }
    [[nodiscard]] bool valid() const { return number_ >= 0; }

  private:
    int number_ = -1;
};

// Binds and listens on every address of `host`.   Errors: malformed (no such host), unsupported
// (this machine has no such address family or address), refused (the port is taken or not allowed),
// io_failed.
[[nodiscard]] Result<std::vector<Fd>> listen_on(const std::string& host, std::uint16_t port);
[[nodiscard]] std::uint16_t local_port(const Fd& socket);

struct Accepted {
    Fd socket;
    std::string peer;
    std::string local;
};
// The next waiting client; nothing when none is waiting.   Errors: out_of_space (no descriptors
// left), io_failed.
[[nodiscard]] Result<std::optional<Accepted>> accept_one(const Fd& listener,
                                                         std::chrono::seconds keepalive);

// Lets the process have `wanted` descriptors if the system allows it; what it has then.
std::size_t raise_descriptor_limit(std::size_t wanted);

[[nodiscard]] std::string system_error_text(int number);

}  // namespace skerry
