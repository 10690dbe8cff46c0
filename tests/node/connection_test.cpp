// tests/node/connection_test.cpp — a client without a socket: order, holds, pauses, reply modes.
#include "node/connection.hpp"

#include <string>
#include <vector>

#include "tests/catch.hpp"

namespace skerry {
namespace {

// Commands: ECHO x; WRITE p (a reply held until p); BIG n; BLOCK; OFF, ON, SKIP; QUIT.
struct ScriptSink final : CommandSink {
    void execute(Connection& connection, std::span<const std::string_view> arguments) override {
        const std::string_view name = arguments[0];
        log.emplace_back(name);
        if (name == "ECHO") connection.reply().simple(arguments[1]);
        if (name == "WRITE") {
            connection.reply().ok();
            connection.hold_until(LogPosition{std::stoull(std::string(arguments[1]))});
        }
        if (name == "BIG")
            connection.reply().bulk(std::string(std::stoull(std::string(arguments[1])), 'x'));
        if (name == "BLOCK") connection.block();
        if (name == "OFF") connection.set_reply_mode(ReplyMode::off);
        if (name == "SKIP") connection.set_reply_mode(ReplyMode::skip_next);
        if (name == "ON") {
            connection.set_reply_mode(ReplyMode::on);
            connection.reply().ok();
        }
        if (name == "QUIT") {
            connection.reply().ok();
            connection.close_after_reply();
        }
    }
    void end_of_round() override {}
    void closed(Connection&) override {}
    std::vector<std::string> log;
};

struct Client {
    ScriptSink sink;
    Connection connection{ConnectionInfo{.id = 1, .peer = {}, .local = {}, .created_mono_ms = 0}};

    void give(std::string_view bytes) { connection.receive(bytes, 1, sink); }
    // One round's end: everything that may go out goes.
    std::string take() {
        std::string bytes(connection.sendable());
        connection.sent(bytes.size());
        connection.end_round();
        return bytes;
    }
    std::string round(std::string_view bytes) {
        give(bytes);
        return take();
    }
};

}  // namespace

TEST_CASE("connection: a pipeline is answered in order, a torn command when it is whole",
          "[node][connection]") {
    Client c;
    CHECK(c.round("ECHO a\r\nECHO b\r\nEC") == "+a\r\n+b\r\n");
    CHECK(c.connection.pending_bytes() == 2);
    CHECK(c.round("HO c\r\n") == "+c\r\n");
    CHECK(c.connection.pending_bytes() == 0);
}

TEST_CASE("connection: a held reply and all behind it wait for their position",
          "[node][connection]") {
    Client c;
    CHECK(c.round("ECHO a\r\n") == "+a\r\n");
    CHECK(c.round("WRITE 5\r\nECHO b\r\n").empty());
    CHECK(c.round("ECHO c\r\n").empty());
    CHECK(c.round("WRITE 9\r\n").empty());
    CHECK_FALSE(c.connection.release(LogPosition{4}));
    CHECK(c.take().empty());
    CHECK(c.connection.release(LogPosition{5}));
    CHECK(c.take() == "+OK\r\n+b\r\n+c\r\n");
    CHECK(c.connection.release(LogPosition{20}));
    CHECK(c.take() == "+OK\r\n");
    CHECK(c.round("WRITE 20\r\n") == "+OK\r\n");
    CHECK_FALSE(c.connection.has_held());
}

TEST_CASE("connection: a hold at the end of the round covers the whole round",
          "[node][connection]") {
    Client c;
    c.give("ECHO a\r\n");
    c.give("ECHO b\r\n");
    c.connection.hold_until(LogPosition{3});
    CHECK(c.take().empty());
    (void)c.connection.release(LogPosition{3});
    CHECK(c.take() == "+a\r\n+b\r\n");
}

TEST_CASE("connection: what failed is replaced by an error, what came before is kept",
          "[node][connection]") {
    Client c;
    (void)c.round("WRITE 5\r\n");
    (void)c.round("WRITE 6\r\nECHO b\r\n");
    c.connection.fail_held_from(LogPosition{6}, "MISCONF no space");
    CHECK(c.take().empty());
    (void)c.connection.release(LogPosition{5});
    CHECK(c.take() == "+OK\r\n-MISCONF no space\r\n");
    CHECK(c.connection.finished());
    CHECK(c.round("ECHO c\r\n").empty());
    CHECK(c.sink.log.back() == "ECHO");
    CHECK(c.sink.log.size() == 3);
}

TEST_CASE("connection: a blocked one executes nothing until it is unblocked",
          "[node][connection]") {
    Client c;
    CHECK(c.round("BLOCK\r\nECHO a\r\n").empty());
    CHECK_FALSE(c.connection.wants_input());
    CHECK_FALSE(c.connection.can_resume());
    c.connection.reply().integer(2);
    c.connection.unblock();
    CHECK(c.connection.can_resume());
    CHECK(c.round("") == ":2\r\n+a\r\n");
    CHECK(c.connection.wants_input());
}

TEST_CASE("connection: a peer that hangs up is answered first, unless its command waits",
          "[node][connection]") {
    Client c;
    c.give("WRITE 5\r\n");
    c.connection.receive_end();
    CHECK(c.take().empty());
    CHECK_FALSE(c.connection.finished());
    (void)c.connection.release(LogPosition{5});
    CHECK(c.take() == "+OK\r\n");
    CHECK(c.connection.finished());
    Client blocked;
    blocked.give("BLOCK\r\n");
    blocked.connection.receive_end();
    CHECK(blocked.connection.finished());
}

TEST_CASE("connection: execution pauses while much output waits", "[node][connection]") {
    Client c;
    std::string pipeline;
    for (int i = 0; i < 100; ++i) pipeline += "BIG 400000\r\n";
    c.give(pipeline);
    CHECK(c.sink.log.size() == 3);
    CHECK(c.connection.unsent_bytes() < Connection::kOutputSoftBytes + 400'100);
    CHECK_FALSE(c.connection.wants_input());
    while (!c.take().empty()) c.give("");
    CHECK(c.sink.log.size() == 100);
    CHECK(c.connection.wants_input());
}

TEST_CASE("connection: output that is taken in pieces arrives whole", "[node][connection]") {
    Client c;
    c.give("BIG 100000\r\n");
    std::string all;
    while (c.connection.unsent_bytes() > 0) {
        const std::string piece(c.connection.sendable().substr(0, 777));
        c.connection.sent(piece.size());
        all += piece;
    }
    CHECK(all == "$100000\r\n" + std::string(100000, 'x') + "\r\n");
}

TEST_CASE("connection: replies that are not wanted are not sent", "[node][connection]") {
    Client c;
    CHECK(c.round("SKIP\r\nECHO a\r\nECHO b\r\n") == "+b\r\n");
    CHECK(c.round("OFF\r\nECHO a\r\nWRITE 4\r\n").empty());
    CHECK(c.round("ON\r\nECHO b\r\n").empty());  // behind the hold
    (void)c.connection.release(LogPosition{4});
    CHECK(c.take() == "+OK\r\n+b\r\n");
    CHECK(c.round("OFF\r\nBLOCK\r\nECHO c\r\n").empty());
    c.connection.reply().integer(1);
    c.connection.unblock();
    CHECK(c.round("ON\r\n") == "+OK\r\n");
}

TEST_CASE("connection: after QUIT or a protocol error nothing is executed", "[node][connection]") {
    Client c;
    CHECK(c.round("QUIT\r\nECHO a\r\n") == "+OK\r\n");
    CHECK(c.connection.finished());
    Client d;
    CHECK(d.round("ECHO a\r\n*x\r\nECHO b\r\n") ==
          "+a\r\n-ERR Protocol error: invalid multibulk length\r\n");
    CHECK(d.connection.finished());
}

}  // namespace skerry
