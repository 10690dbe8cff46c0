// node/pacing.hpp — how much is asked for at once, and how long the answer is waited for before the question is put again.
//
// Turn     from a question to the moment at which what it brought is durable here: link, server and own disk are all in it.
// Credit   twice as much after a turn below kTurnShort, half after one above kTurnLong: neither a slow link nor a slow disk
//          has more on its way than it deals with in some seconds.
// Patience twice as long after each question without an answer: a link that is slower than was thought is not filled with
//          copies of what is already on it. An answer that comes late is an answer.
// Thread   any one: no state beyond its own.
#pragma once

#include <cstdint>

#include "node/mono_time.hpp"

namespace skerry {

class Pacing {
  public:
    static constexpr std::uint64_t kCreditMin = std::uint64_t{16} << 10;
    static constexpr std::uint64_t kCreditFirst = std::uint64_t{128} << 10;
    static constexpr MonoTime kTurnShort{1500};
    static constexpr MonoTime kTurnLong{4000};
    static constexpr MonoTime kPatienceMin{3000};
    static constexpr MonoTime kPatienceMax{12'000};

    // A greatest credit below kCreditMin is the only one.
    explicit Pacing(std::uint64_t credit_max);

    [[nodiscard]] std::uint64_t credit() const { return credit_; }
    [[nodiscard]] MonoTime patience() const { return patience_; }
    void answered(MonoTime turn);
    void unanswered();

  private:
    std::uint64_t credit_min_;
    std::uint64_t credit_max_;
    std::uint64_t credit_;
    MonoTime patience_ = kPatienceMin;
};

}  // namespace skerry
