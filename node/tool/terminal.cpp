#include "node/tool/terminal.hpp"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace skerry {
namespace {
constexpr std::uint64_t kFindingsShown = 200;
constexpr std::chrono::milliseconds kProgressEvery{200};
}  // namespace

Terminal::Terminal()
    : is_terminal_(::isatty(STDERR_FILENO) == 1),
      next_(std::chrono::steady_clock::now() + kProgressEvery) {}

void Terminal::clear_progress() {
    if (shown_) std::fputs("\r\033[K", stderr);
    shown_ = false;
}

void Terminal::line(const std::string& text) {
    clear_progress();
    std::fputs((text + "\n").c_str(), stdout);
    std::fflush(stdout);
}

void Terminal::finding(const std::string& sentence) {
    ++findings_;
    if (findings_ <= kFindingsShown) line("found: " + sentence);
    if (findings_ == kFindingsShown + 1) line("found: more; they are counted and not shown");
}

int Terminal::failed(const std::string& why) {
    clear_progress();
    std::fputs(("skerry: " + why + "\n").c_str(), stderr);
    return 1;
}

void Terminal::progress(std::string_view step, std::uint64_t done, std::uint64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (!is_terminal_ || now < next_ || total == 0) return;
    next_ = now + kProgressEvery;
    shown_ = true;
    std::fprintf(stderr, "\r\033[K%.*s: %d%%", static_cast<int>(step.size()), step.data(),
                 static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total)));
}

std::string text_of_bytes(std::uint64_t bytes) {
    constexpr std::array kUnits{"bytes", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
    return text.data();
}

std::string text_of_age(std::chrono::milliseconds age) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(age).count();
    if (seconds < 120) return std::to_string(seconds) + " seconds";
    if (seconds < 7200) return std::to_string(seconds / 60) + " minutes";
    if (seconds < 172800) return std::to_string(seconds / 3600) + " hours";
    return std::to_string(seconds / 86400) + " days";
}

std::string text_of_time(std::chrono::milliseconds since_epoch) {
    const std::time_t seconds =
        std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count();
    std::tm parts{};
    if (::gmtime_r(&seconds, &parts) == nullptr) return "an unknown time";
    std::array<char, 32> text{};
    (void)std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
    return text.data();
}

}  // namespace skerry
