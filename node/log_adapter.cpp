// node/log_adapter.cpp — the one file that knows spdlog; see the header.
#include "node/log_adapter.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace skerry {
namespace {

[[nodiscard]] spdlog::level::level_enum level_of(NoteLevel level) {
    switch (level) {
        case NoteLevel::error:
            return spdlog::level::err;
        case NoteLevel::warn:
            return spdlog::level::warn;
        case NoteLevel::info:
            return spdlog::level::info;
        case NoteLevel::debug:
            return spdlog::level::debug;
    }
    return spdlog::level::info;
}

[[nodiscard]] bool is_plain(char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

void append_value(std::string& out, const std::string& value) {
    if (!value.empty() && std::all_of(value.begin(), value.end(), is_plain)) {
        out.append(value);
        return;
    }
    out.push_back('"');
    for (const char c : value) {
        if (is_plain(c) || c == ' ' || c == '=') {
            out.push_back(c);
        } else if (c == '"' || c == '\\') {
            out.append(1, '\\').append(1, c);
        } else {
            std::array<char, 8> hex{};
            std::snprintf(hex.data(), hex.size(), "\\x%02x",
                          static_cast<unsigned>(static_cast<unsigned char>(c)));
            out.append(hex.data());
        }
    }
    out.push_back('"');
}

}  // namespace

std::string note_text(const Note& note) {
    std::string out = note.event;
    for (const auto& [key, value] : note.fields) {
        out.append(1, ' ').append(key).append(1, '=');
        append_value(out, value);
    }
    return out;
}

struct LogAdapter::Impl {
    spdlog::logger logger{"skerry", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
};

LogAdapter::LogAdapter(NoteLevel level) : impl_(std::make_unique<Impl>()) {
    impl_->logger.set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
    impl_->logger.flush_on(spdlog::level::debug);
    set_level(level);
}

LogAdapter::LogAdapter(LogAdapter&&) noexcept = default;
LogAdapter& LogAdapter::operator=(LogAdapter&&) noexcept = default;
LogAdapter::~LogAdapter() = default;

void LogAdapter::set_level(NoteLevel level) { impl_->logger.set_level(level_of(level)); }

void LogAdapter::take(const Note& note) {
    const auto level = level_of(note.level);
    if (!impl_->logger.should_log(level)) return;
    impl_->logger.log(level, spdlog::string_view_t(note_text(note)));
}

}  // namespace skerry
