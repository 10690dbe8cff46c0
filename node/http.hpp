// node/http.hpp — GET /metrics and GET /health for machines that watch this one.
//
// Library  cpp-httplib, included by http.cpp alone.
// Thread   its own; the functions given to it are called there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "crdt/result.hpp"

namespace skerry {

struct Health {
    bool healthy = true;  // false = 503
    std::string text;     // the body, JSON
};

struct HttpPages {
    std::function<std::string()> metrics;
    std::function<Health()> health;
};

class HttpServer {
  public:
    // Port 0 = any free one.   Errors: refused (the address cannot be bound).
    [[nodiscard]] static Result<HttpServer> start(const std::string& host, std::uint16_t port,
                                                  HttpPages pages);
    HttpServer(HttpServer&&) noexcept;
    HttpServer& operator=(HttpServer&&) noexcept;
    ~HttpServer();  // stops and joins

    [[nodiscard]] std::uint16_t port() const;

  private:
    struct Impl;
    explicit HttpServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace skerry
