// node/socket.cpp — listening and accepting; see the header.
#include "node/socket.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

namespace skerry {
namespace {

constexpr int kBacklog = 511;  // as Redis

void set_option(int socket, int level, int name, int value) {
    // A socket without one of these options still works: the result is not worth a refusal.
    (void)::setsockopt(socket, level, name, &value, sizeof value);
}

[[nodiscard]] Code code_of(int number) {
    if (number == EAFNOSUPPORT || number == EADDRNOTAVAIL) return Code::unsupported;
    if (number == EADDRINUSE || number == EACCES) return Code::refused;
    return Code::io_failed;
}

[[nodiscard]] std::string address_text(const sockaddr_storage& address) {
    std::array<char, INET6_ADDRSTRLEN> host{};
    if (address.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
        ::inet_ntop(AF_INET6, &v6.sin6_addr, host.data(), host.size());
        std::string text = "[";  // not in one expression: g++ 12 warns about its own operator+
        text.append(host.data()).append("]:").append(std::to_string(ntohs(v6.sin6_port)));
        return text;
    }
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, host.data(), host.size());
    return std::string(host.data()) + ":" + std::to_string(ntohs(v4.sin_port));
}

[[nodiscard]] Result<Fd> listen_at(const addrinfo& info, const std::string& text) {
    Fd fd(::socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!fd.valid()) return fail(code_of(errno), text + ": " + system_error_text(errno));
    set_option(fd.number(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (info.ai_family == AF_INET6) set_option(fd.number(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (::bind(fd.number(), info.ai_addr, info.ai_addrlen) != 0 ||
        ::listen(fd.number(), kBacklog) != 0) {
        return fail(code_of(errno), "cannot listen on " + text + ": " + system_error_text(errno));
    }
    return fd;
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
}

Fd::~Fd() {
    if (number_ >= 0) ::close(number_);
}

std::string system_error_text(int number) { return std::generic_category().message(number); }

Result<std::vector<Fd>> listen_on(const std::string& host, std::uint16_t port) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const std::string text = host + ":" + std::to_string(port);
    const int failure = ::getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                      std::to_string(port).c_str(), &hints, &found);
    if (failure != 0)
        return fail(Code::malformed, "cannot listen on " + text + ": " + ::gai_strerror(failure));
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    std::vector<Fd> listeners;
    for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
        auto listener = listen_at(*info, text);
        if (!listener) return std::unexpected(listener.error());
        listeners.push_back(std::move(*listener));
    }
    return listeners;
}

std::uint16_t local_port(const Fd& socket) {
    sockaddr_storage address{};
    socklen_t bytes = sizeof address;
    if (::getsockname(socket.number(), reinterpret_cast<sockaddr*>(&address), &bytes) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(reinterpret_cast<sockaddr_in6&>(address).sin6_port);
    return ntohs(reinterpret_cast<sockaddr_in&>(address).sin_port);
}

Result<std::optional<Accepted>> accept_one(const Fd& listener, std::chrono::seconds keepalive) {
    sockaddr_storage peer{};
    socklen_t bytes = sizeof peer;
    Fd fd(::accept4(listener.number(), reinterpret_cast<sockaddr*>(&peer), &bytes,
                    SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
        const int why = errno;
        if (why == EAGAIN || why == ECONNABORTED || why == EINTR || why == EPROTO)
            return std::nullopt;
        const bool full = why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM;
        return fail(full ? Code::out_of_space : Code::io_failed,
                    "accept: " + system_error_text(why));
    }
    set_option(fd.number(), IPPROTO_TCP, TCP_NODELAY, 1);
    if (keepalive.count() > 0) {
        const int seconds = static_cast<int>(std::min<std::int64_t>(keepalive.count(), 32767));
        set_option(fd.number(), SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd.number(), IPPROTO_TCP, TCP_KEEPIDLE, seconds);
        set_option(fd.number(), IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / 3));
        set_option(fd.number(), IPPROTO_TCP, TCP_KEEPCNT, 3);
    }
    sockaddr_storage local{};
    bytes = sizeof local;
    (void)::getsockname(fd.number(), reinterpret_cast<sockaddr*>(&local), &bytes);
    return Accepted{std::move(fd), address_text(peer), address_text(local)};
}

std::size_t raise_descriptor_limit(std::size_t wanted) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
        (void)::setrlimit(RLIMIT_NOFILE, &limit);
        (void)::getrlimit(RLIMIT_NOFILE, &limit);
    }
    return static_cast<std::size_t>(limit.rlim_cur);
}

}  // namespace skerry
