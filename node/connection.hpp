// node/connection.hpp — one client, without its socket: bytes in, commands executed, replies held back and let go.
//
// Input    receive() executes every whole command in what has arrived; the rest is kept, bounded by kQueryBytesMax.
// Output   one byte stream. hold_until(p) marks everything written since the last end_round() and everything after it
//          as not to be sent before release(p): a reply to a write waits until the write is durable, and later replies
//          wait behind it. Holds are marks in the stream, so a client that never pauses is not held for ever.
// Bounded  execution stops while more than kOutputSoftBytes wait to be sent, and goes on when they are gone.
// Pure     no socket, clock or thread: node/server.hpp drives it, and so can a test or the simulator.
// Thread   core thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "node/resp.hpp"
#include "store/log.hpp"

namespace skerry {

class Connection;

// What the commands do, behind the protocol. It may keep a Connection& until closed() was called
// with it.
struct CommandSink {
    virtual ~CommandSink() = default;
    // Lifetime: `arguments` (never empty) until the call returns.
    virtual void execute(Connection& connection, std::span<const std::string_view> arguments) = 0;
    // Every command of this round has been executed; what was written goes out next, unless it is
    // held.
    virtual void end_of_round() = 0;
    // The last round is over. What was posted before this returns is still executed; then replies go out, and
    // all connections are closed.
    virtual void ending() {}
    virtual void closed(Connection& connection) = 0;
};

// What a sink wants to remember with a connection.
class SessionState {
  public:
    virtual ~SessionState() = default;
};

// Told once when its connection has something to do at the end of the round; until its end_round().
class ConnectionDriver {
  public:
    virtual ~ConnectionDriver() = default;
    virtual void needs_attention() = 0;
};

struct ConnectionInfo {
    std::uint64_t id = 0;
    std::string peer;  // host:port, as CLIENT LIST prints it
    std::string local;
    std::uint64_t created_mono_ms = 0;
};

enum class ReplyMode : std::uint8_t { on, off, skip_next };

// What CLIENT shows and sets; the connection itself does not act on it.
struct ClientFields {
    std::uint32_t database = 0;
    std::string name;
    std::string library_name;
    std::string library_version;
    bool no_evict = false;
    bool no_touch = false;
};

class Connection {
  public:
    static constexpr std::size_t kOutputSoftBytes = 1024 * 1024;

    explicit Connection(ConnectionInfo info, ConnectionDriver* driver = nullptr);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // --- for the sink ---

    [[nodiscard]] const ConnectionInfo& info() const { return info_; }
    [[nodiscard]] std::uint64_t id() const { return info_.id; }
    // Where replies go; also outside execute(), in answer to an earlier command or as a push. The
    // protocol is its.
    [[nodiscard]] ReplyWriter& reply() {
        attend();
        return writer_;
    }
    [[nodiscard]] ClientFields& client() { return client_; }
    [[nodiscard]] const ClientFields& client() const { return client_; }
    [[nodiscard]] std::unique_ptr<SessionState>& session() { return session_; }
    // For CLIENT LIST. Lifetime: `name` is static (the command table's).
    void set_last_command(std::string_view name) { last_command_ = name; }
    [[nodiscard]] std::string_view last_command() const { return last_command_; }
    [[nodiscard]] std::uint64_t last_command_mono_ms() const { return last_command_mono_ms_; }
    void set_reply_mode(ReplyMode mode) { reply_mode_ = mode; }
    [[nodiscard]] ReplyMode reply_mode() const { return reply_mode_; }
    // Applies, or lifts, the narrow limits of the protocol for clients that have yet to
    // authenticate.
    void set_trusted(bool trusted) { parser_.set_trusted(trusted); }

    // What was written since the last round ended, and everything after it, waits for release() of
    // `position`.
    void hold_until(LogPosition position);
    // No further command is executed until unblock(): its reply is still to come.
    void block() { blocked_ = true; }
    // Writes nothing: reply first. The commands behind are executed in this round or the next.
    // Nothing happens if the connection is not blocked any more, as after fail_held_from().
    void unblock();
    [[nodiscard]] bool blocked() const { return blocked_; }
    // Executes nothing more; sends what is written, then closes.
    void close_after_reply();
    // Closes at the end of this round; what is unsent is lost. Lifetime: `reason`, for the log, is
    // static.
    void close_now(std::string_view reason = {});
    [[nodiscard]] std::string_view close_reason() const { return close_reason_; }
    [[nodiscard]] bool closing() const { return closing_ || closed_; }

    // --- for its driver ---

    // Executes the whole commands in what was left over and in `bytes`, as long as it may.
    void receive(std::string_view bytes, std::uint64_t mono_ms, CommandSink& sink);
    // The peer will send no more: what is complete is executed and answered, then the connection
    // closes. A blocked one closes at once, since its command may wait for ever.
    void receive_end();
    // Is there reason to call receive() with nothing, since a pause has ended?
    [[nodiscard]] bool can_resume() const {
        return !pending_.empty() && !stalled_ && may_execute();
    }
    // May more be read from the peer now?
    [[nodiscard]] bool wants_input() const {
        return !input_ended_ && may_execute() && !can_resume();
    }
    // Bytes known to be lacking to an argument, for choosing how much to read.
    [[nodiscard]] std::size_t input_bytes_missing() const { return parser_.bytes_missing(); }
    [[nodiscard]] std::size_t pending_bytes() const { return pending_.size(); }

    // What may be sent now. Lifetime: until the connection is used otherwise.
    [[nodiscard]] std::string_view sendable() const;
    void sent(std::size_t bytes);
    [[nodiscard]] std::size_t unsent_bytes() const { return output_.size() - output_sent_; }
    [[nodiscard]] bool has_held() const { return !holds_.empty(); }
    // Lets go what waits for positions up to `position`; true = something became sendable.
    bool release(LogPosition position);
    // What is held for `position` or later will never be true: it is dropped, the error takes its
    // place, and the connection closes behind it (the client cannot know which of its writes
    // happened).
    void fail_held_from(LogPosition position, std::string_view error);
    // Has it looked at after this round's commands, as if it had something new.
    void attend() {
        if (!attended_) ask_attention();
    }
    void end_round();
    // Has it nothing more to do, so that the driver closes it?
    [[nodiscard]] bool finished() const;

  private:
    struct Hold {
        LogPosition position;
        std::uint64_t begin;  // in the stream of all output
    };

    [[nodiscard]] bool may_execute() const {
        return !blocked_ && !closing_ && !closed_ && unsent_bytes() <= kOutputSoftBytes;
    }
    void execute_from(std::string_view& input, CommandSink& sink);
    void execute_one(CommandSink& sink);
    void finish_command();
    void ask_attention();
    [[nodiscard]] std::uint64_t output_end() const { return output_base_ + output_.size(); }
    void truncate_output(std::uint64_t end);

    ConnectionInfo info_;
    ConnectionDriver* driver_;
    ClientFields client_;
    std::unique_ptr<SessionState> session_;
    std::string_view last_command_;
    std::uint64_t last_command_mono_ms_ = 0;

    RequestParser parser_;
    std::string pending_;   // input from the first byte of the first unexecuted request
    bool stalled_ = false;  // pending_ holds no whole request

    std::string output_;
    std::size_t output_sent_ = 0;
    std::uint64_t output_base_ = 0;  // stream offset of output_[0]
    std::uint64_t round_begin_ = 0;  // stream offset at the last end_round()
    std::uint64_t reply_begin_ = 0;  // stream offset where the current command's reply began
    std::deque<Hold> holds_;         // positions and offsets ascending
    LogPosition released_;
    ReplyWriter writer_;

    ReplyMode reply_mode_ = ReplyMode::on;
    bool skipping_ = false;  // the current command's reply is not wanted
    bool attended_ = false;
    bool blocked_ = false;
    bool input_ended_ = false;
    bool closing_ = false;
    bool closed_ = false;
    std::string_view close_reason_;
};

}  // namespace skerry
