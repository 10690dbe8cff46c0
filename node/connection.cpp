// node/connection.cpp — executing what arrives and holding back what is not yet true; see the header.
#include "node/connection.hpp"

#include <algorithm>
#include <utility>

#include "crdt/assert.hpp"

namespace skerry {
namespace {

constexpr std::size_t kBufferKeptBytes =
    16 * 1024;  // an empty buffer larger than this is given back

void clear_and_trim(std::string& buffer) {
    if (buffer.capacity() > kBufferKeptBytes) {
        std::string().swap(buffer);
    } else {
        buffer.clear();
    }
}

}  // namespace

Connection::Connection(ConnectionInfo info, ConnectionDriver* driver)
    : info_(std::move(info)),
      driver_(driver),
      last_command_mono_ms_(info_.created_mono_ms),
      writer_(output_) {}

void Connection::ask_attention() {
    attended_ = true;
    if (driver_ != nullptr) driver_->needs_attention();
}

void Connection::receive(std::string_view bytes, std::uint64_t mono_ms, CommandSink& sink) {
    last_command_mono_ms_ = mono_ms;
    attend();
    stalled_ = false;
    if (pending_.empty()) {
        execute_from(bytes, sink);
        if (!bytes.empty() && !closing()) pending_.assign(bytes);
        return;
    }
    pending_.append(bytes);
    std::string_view rest = pending_;
    execute_from(rest, sink);
    if (rest.empty() || closing()) {
        clear_and_trim(pending_);
    } else {
        pending_.erase(0, pending_.size() - rest.size());
        if (pending_.size() > kQueryBytesMax) close_now("query buffer limit");
    }
}

void Connection::execute_from(std::string_view& input, CommandSink& sink) {
    while (may_execute()) {
        switch (parser_.next(input)) {
            case RequestParser::Outcome::request:
                execute_one(sink);
                break;
            case RequestParser::Outcome::incomplete:
                stalled_ = true;
                return;
            case RequestParser::Outcome::error:
                writer_.error("ERR " + parser_.error());
                close_after_reply();
                return;
        }
    }
}

void Connection::execute_one(CommandSink& sink) {
    if (reply_mode_ == ReplyMode::skip_next) {
        skipping_ = true;
        reply_mode_ = ReplyMode::on;
    }
    reply_begin_ = output_end();
    sink.execute(*this, parser_.arguments());
    if (!blocked_) finish_command();
}

// Takes back the reply of a command whose reply is not wanted.
void Connection::finish_command() {
    if (reply_mode_ == ReplyMode::off || skipping_) truncate_output(reply_begin_);
    skipping_ = false;
}

void Connection::truncate_output(std::uint64_t end) {
    const std::uint64_t sent_end = output_base_ + output_sent_;
    output_.resize(static_cast<std::size_t>(std::max(end, sent_end) - output_base_));
    for (Hold& hold : holds_) hold.begin = std::min(hold.begin, output_end());
    round_begin_ = std::min(round_begin_, output_end());
}

void Connection::hold_until(LogPosition position) {
    if (position <= released_) return;
    attend();
    if (holds_.empty() || holds_.back().begin < round_begin_) {
        if (!holds_.empty() && holds_.back().position >= position) return;
        holds_.push_back(Hold{position, round_begin_});
    } else {
        holds_.back().position = std::max(holds_.back().position, position);
    }
}

void Connection::unblock() {
    if (!blocked_) return;
    blocked_ = false;
    attend();
    finish_command();
}

void Connection::close_after_reply() {
    closing_ = true;
    attend();
}

void Connection::close_now(std::string_view reason) {
    closed_ = true;
    if (close_reason_.empty()) close_reason_ = reason;
    attend();
}

void Connection::receive_end() {
    input_ended_ = true;
    if (blocked_) closed_ = true;
    attend();
}

bool Connection::finished() const {
    if (closed_) return true;
    if (unsent_bytes() > 0) return false;
    return closing_ || (input_ended_ && !can_resume() && !blocked_);
}

std::string_view Connection::sendable() const {
    const std::uint64_t begin = output_base_ + output_sent_;
    const std::uint64_t end = holds_.empty() ? output_end() : std::max(holds_.front().begin, begin);
    return std::string_view(output_).substr(output_sent_, static_cast<std::size_t>(end - begin));
}

void Connection::sent(std::size_t bytes) {
    ASSERT(bytes <= unsent_bytes());
    output_sent_ += bytes;
    if (output_sent_ == output_.size()) {
        output_base_ += output_sent_;
        output_sent_ = 0;
        clear_and_trim(output_);
    } else if (output_sent_ > kBufferKeptBytes && output_sent_ > output_.size() / 2) {
        output_.erase(0, output_sent_);
        output_base_ += output_sent_;
        output_sent_ = 0;
    }
}

bool Connection::release(LogPosition position) {
    released_ = std::max(released_, position);
    const std::size_t before = holds_.size();
    while (!holds_.empty() && holds_.front().position <= released_) holds_.pop_front();
    if (holds_.size() == before) return false;
    attend();
    return true;
}

void Connection::fail_held_from(LogPosition position, std::string_view error) {
    const auto first = std::find_if(holds_.begin(), holds_.end(),
                                    [&](const Hold& hold) { return hold.position >= position; });
    if (first == holds_.end()) return;
    const std::uint64_t begin = first->begin;
    holds_.erase(first, holds_.end());
    truncate_output(begin);
    writer_.error(error);
    blocked_ = false;
    close_after_reply();
}

void Connection::end_round() {
    round_begin_ = output_end();
    attended_ = false;
}

}  // namespace skerry
