// tests/node/front_bench.cpp — the client port alone: GET and SET on an unordered_map, to be measured with
// redis-benchmark beside a redis-server. Usage: front_bench PORT [held]
//
// held     replies to SET wait for a release() that comes at the end of the round, as with a log that is always durable.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>

#include "node/server.hpp"

namespace skerry {
namespace {

class MapSink final : public CommandSink {
  public:
    explicit MapSink(bool held) : held_(held) {}

    void execute(Connection& connection, std::span<const std::string_view> arguments) override {
        const std::string_view name = arguments[0];
        if (name == "GET" && arguments.size() == 2) {
            const auto at = values_.find(std::string(arguments[1]));
            if (at == values_.end()) {
                connection.reply().null();
            } else {
                connection.reply().bulk(at->second);
            }
        } else if (name == "SET" && arguments.size() == 3) {
            values_[std::string(arguments[1])] = arguments[2];
            connection.reply().ok();
            if (held_) connection.hold_until(position_.next());
        } else if (name == "PING") {
            connection.reply().simple("PONG");
        } else {
            connection.reply().error("ERR unknown command");
        }
    }
    void end_of_round() override {
        position_ = position_.next();
        server->release(position_);
    }
    void closed(Connection&) override {}

    Server* server = nullptr;

  private:
    bool held_;
    LogPosition position_;
    std::unordered_map<std::string, std::string> values_;
};

int run(int argc, char** argv) {
    if (argc < 2) return std::fputs("usage: front_bench PORT [held]\n", stderr), 2;
    MapSink sink(argc > 2);
    auto server = Server::create(ServerOptions{}, sink, [](const Note& note) {
        std::fprintf(stderr, "%s\n", note.event.c_str());
    });
    if (!server) return 1;
    sink.server = server->get();
    const auto port =
        (*server)->listen("127.0.0.1", static_cast<std::uint16_t>(std::atoi(argv[1])));
    if (!port) return std::fprintf(stderr, "%s\n", port.error().where.c_str()), 1;
    (*server)->run();
    return 0;
}

}  // namespace
}  // namespace skerry

int main(int argc, char** argv) { return skerry::run(argc, argv); }
