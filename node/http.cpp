// node/http.cpp — the one file that knows cpp-httplib; see the header.
#include "node/http.hpp"

#include <httplib.h>

#include <atomic>
#include <thread>
#include <utility>

namespace skerry {
namespace {

constexpr std::size_t kWorkers = 2;
constexpr time_t kTimeoutSeconds = 5;

}  // namespace

struct HttpServer::Impl {
    httplib::Server server;
    std::thread thread;
    std::uint16_t port = 0;
    std::atomic<bool> ended{false};

    ~Impl() {
        if (!thread.joinable()) return;
        server.stop();
        thread.join();
    }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::HttpServer(HttpServer&&) noexcept = default;
HttpServer& HttpServer::operator=(HttpServer&&) noexcept = default;
HttpServer::~HttpServer() = default;

std::uint16_t HttpServer::port() const { return impl_->port; }

Result<HttpServer> HttpServer::start(const std::string& host, std::uint16_t port, HttpPages pages) {
    auto impl = std::make_unique<Impl>();
    httplib::Server& server = impl->server;
    server.new_task_queue = [] { return new httplib::ThreadPool(kWorkers); };
    server.set_read_timeout(kTimeoutSeconds);
    server.set_write_timeout(kTimeoutSeconds);
    server.set_keep_alive_timeout(kTimeoutSeconds);
    server.set_payload_max_length(64 * 1024);
    server.Get("/metrics", [metrics = std::move(pages.metrics)](const httplib::Request&,
                                                                httplib::Response& reply) {
        reply.set_content(metrics(), "text/plain; version=0.0.4; charset=utf-8");
    });
    server.Get("/health", [health = std::move(pages.health)](const httplib::Request&,
                                                             httplib::Response& reply) {
        const Health now = health();
        reply.status = now.healthy ? 200 : 503;
        reply.set_content(now.text, "application/json");
    });
    const std::string& address = host.empty() ? std::string("0.0.0.0") : host;
    const int bound = port == 0 ? server.bind_to_any_port(address.c_str())
                      : server.bind_to_port(address.c_str(), port) ? port
                                                                   : -1;
    if (bound <= 0)
        return fail(Code::refused,
                    "cannot listen on " + address + ":" + std::to_string(port) + " for http");
    impl->port = static_cast<std::uint16_t>(bound);
    impl->thread = std::thread([&server, &ended = impl->ended] {
        server.listen_after_bind();
        ended.store(true);
    });
    // stop() before the loop has begun would be lost.
    while (!server.is_running() && !impl->ended.load()) std::this_thread::yield();
    return HttpServer(std::move(impl));
}

}  // namespace skerry
