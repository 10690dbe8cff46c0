// node/log_adapter.hpp — Notes to stderr, one line each: time, level, `event key=value`.
//
// Library  spdlog, included by log_adapter.cpp alone.
// Thread   any.
#pragma once

#include <memory>
#include <string>

#include "node/note.hpp"

namespace skerry {

// `event key=value`; a value with blanks, quotes or control bytes is quoted and escaped, so that a
// line stays a line.
[[nodiscard]] std::string note_text(const Note& note);

class LogAdapter {
  public:
    explicit LogAdapter(NoteLevel level);
    LogAdapter(LogAdapter&&) noexcept;
    LogAdapter& operator=(LogAdapter&&) noexcept;
    ~LogAdapter();

    void take(const Note& note);
    void set_level(NoteLevel level);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace skerry
