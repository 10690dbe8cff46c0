// node/tool/terminal.hpp — what a tool says: findings and results to stdout, progress and failures to stderr.
//
// Form     a finding is one line: where, what, what to do. Progress is shown on a terminal only, in one line that goes
//          away again.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace skerry {

class Terminal {
  public:
    Terminal();

    void finding(const std::string& sentence);
    [[nodiscard]] std::uint64_t findings() const { return findings_; }
    void line(const std::string& text);
    // Ends the tool's work; the exit code.
    int failed(const std::string& why);
    void progress(std::string_view step, std::uint64_t done, std::uint64_t total);

  private:
    void clear_progress();

    const bool is_terminal_;
    std::uint64_t findings_ = 0;
    bool shown_ = false;
    std::chrono::steady_clock::time_point next_;
};

// "12.3 MB"; "3 hours".
[[nodiscard]] std::string text_of_bytes(std::uint64_t bytes);
[[nodiscard]] std::string text_of_age(std::chrono::milliseconds age);
// "2026-01-31 23:59:59 UTC"
[[nodiscard]] std::string text_of_time(std::chrono::milliseconds since_epoch);

}  // namespace skerry
