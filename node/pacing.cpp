#include "node/pacing.hpp"

#include <algorithm>

namespace skerry {

Pacing::Pacing(std::uint64_t credit_max)
    : credit_min_(std::min(kCreditMin, credit_max)),
      credit_max_(credit_max),
      credit_(std::min(kCreditFirst, credit_max)) {}

void Pacing::answered(MonoTime turn) {
    if (turn < kTurnShort) credit_ = std::min(credit_ * 2, credit_max_);
    if (turn > kTurnLong) credit_ = std::max(credit_ / 2, credit_min_);
    // A turn that took long by itself is no reason to ask twice.
    patience_ = std::clamp(turn * 2, kPatienceMin, kPatienceMax);
}

void Pacing::unanswered() {
    credit_ = std::max(credit_ / 2, credit_min_);
    patience_ = std::min(patience_ * 2, kPatienceMax);
}

}  // namespace skerry
