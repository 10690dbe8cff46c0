// tests/node/metrics_test.cpp — what was counted is what a scraper reads; the pages; the lines of the log.
#include "node/metrics.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "node/http.hpp"
#include "node/log_adapter.hpp"
#include "tests/catch.hpp"

namespace skerry {
namespace {

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

std::string http_get(std::uint16_t port, const std::string& path) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    REQUIRE(::send(fd, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()));
    std::string reply;
    std::array<char, 4096> piece;
    for (ssize_t count; (count = ::recv(fd, piece.data(), piece.size(), 0)) > 0;) {
        reply.append(piece.data(), static_cast<std::size_t>(count));
    }
    ::close(fd);
    return reply;
}

}  // namespace

TEST_CASE("metrics: text shows the published values, not later ones", "[node][metrics]") {
    Metrics metrics;
    const auto reads = metrics.counter("skerry_commands_total", "Commands", {{"command", "get"}});
    const auto writes = metrics.counter("skerry_commands_total", "Commands", {{"command", "set"}});
    const auto clients = metrics.gauge("skerry_clients", "Clients");
    CHECK(metrics.text().empty());
    metrics.add(reads, 3);
    metrics.add(writes);
    metrics.set(clients, 2.5);
    metrics.publish();
    metrics.add(reads, 100);
    const std::string text = metrics.text();
    CHECK(has(text, "# TYPE skerry_commands_total counter\n"));
    CHECK(has(text, "skerry_commands_total{command=\"get\"} 3\n"));
    CHECK(has(text, "skerry_commands_total{command=\"set\"} 1\n"));
    CHECK(has(text, "skerry_clients 2.5\n"));
    CHECK(metrics.value(reads) == 103);
}

TEST_CASE("metrics: an amount is at most the bound of its bucket", "[node][metrics]") {
    for (const std::uint64_t amount :
         {0ULL, 1ULL, 1023ULL, 1024ULL, 1025ULL, 2048ULL, 2049ULL, 1'000'000ULL, ~0ULL}) {
        Histogram recorded;
        recorded.record(amount);
        std::size_t bucket = 0;
        while (recorded.buckets()[bucket] == 0) ++bucket;
        INFO(amount);
        if (bucket + 1 < Histogram::kBuckets) CHECK(amount <= Histogram::bound(bucket));
        if (bucket > 0) CHECK(amount > Histogram::bound(bucket - 1));
    }
    Metrics metrics;
    constexpr auto kSeconds = Metrics::Unit::nanoseconds_as_seconds;
    const auto used =
        metrics.histogram("skerry_latency_seconds", "Latency", kSeconds, {{"command", "get"}});
    (void)metrics.histogram("skerry_latency_seconds", "Latency", kSeconds, {{"command", "never"}});
    metrics.record(used, 500);
    metrics.record(used, 1500);
    metrics.record(used, 60'000'000'000);
    metrics.publish();
    const std::string text = metrics.text();
    CHECK(has(text, "skerry_latency_seconds_count{command=\"get\"} 3\n"));
    CHECK(has(text, "skerry_latency_seconds_bucket{command=\"get\",le=\"1.024e-06\"} 1\n"));
    CHECK(has(text, "le=\"+Inf\"} 3\n"));
    CHECK_FALSE(has(text, "never"));
}

TEST_CASE("http: metrics and health are served, other pages are not", "[node][http]") {
    bool healthy = true;
    auto server = HttpServer::start(
        "127.0.0.1", 0,
        HttpPages{.metrics = [] { return std::string("skerry_up 1\n"); },
                  .health = [&] { return Health{healthy, "{\"state\":\"x\"}"}; }});
    REQUIRE(server.has_value());
    CHECK(has(http_get(server->port(), "/metrics"), "skerry_up 1\n"));
    CHECK(http_get(server->port(), "/health").starts_with("HTTP/1.1 200"));
    healthy = false;
    CHECK(http_get(server->port(), "/health").starts_with("HTTP/1.1 503"));
    CHECK(http_get(server->port(), "/etc/passwd").starts_with("HTTP/1.1 404"));
    CHECK_FALSE(HttpServer::start("192.0.2.1", 1, HttpPages{}).has_value());
}

TEST_CASE("log_adapter: a note is one line, whatever its values hold", "[node][log_adapter]") {
    const Note note{
        NoteLevel::warn, "peer_lost", {{"peer", "r7:42"}, {"why", "a \"b\"\n\\"}, {"empty", ""}}};
    CHECK(note_text(note) == "peer_lost peer=r7:42 why=\"a \\\"b\\\"\\x0a\\\\\" empty=\"\"");
}

}  // namespace skerry
