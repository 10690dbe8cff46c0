// tests/store/file_limit.hpp — a full disk for this process: no file may grow beyond a length.
#pragma once

#include <sys/resource.h>

#include <csignal>
#include <cstdint>

#include "tests/catch.hpp"

namespace skerry {

// Lifted at the end of the scope, and by lift(). Writes beyond the limit fail with EFBIG, which the
// backends take for a full disk; the signal that goes with it is ignored from then on.
class FileLimit {
  public:
    FileLimit() = default;
    FileLimit(const FileLimit&) = delete;
    FileLimit& operator=(const FileLimit&) = delete;
    ~FileLimit() { lift(); }

    void set(std::uint64_t bytes) {
        std::signal(SIGXFSZ, SIG_IGN);
        set_limit(bytes);
    }
    void lift() { set_limit(RLIM_INFINITY); }

  private:
    static void set_limit(rlim_t bytes) {
        rlimit limit{};
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
        limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    }
};

}  // namespace skerry
