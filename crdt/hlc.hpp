// crdt/hlc.hpp — hybrid logical clock: wall time that never runs backwards and respects causality.
//
// Source   Kulkarni et al., "Logical Physical Clocks", OPODIS 2014. 48 bits of wall milliseconds, 16 of logic.
// Differs  a reading too far ahead of the local wall clock (kDriftMax by default) is reported and not absorbed, so
//          that one node with a wrong clock cannot drag the others along (docs/SEMANTICS.md, general rule 2).
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace skerry {

using WallTime = std::chrono::milliseconds;  // since the Unix epoch

// A reading; the replica that made it is the writer of the entry that carries it. Zero = before
// everything.
struct Hlc {
    std::uint64_t packed = 0;
    friend constexpr auto operator<=>(Hlc, Hlc) = default;
    [[nodiscard]] static constexpr Hlc at(WallTime wall, std::uint16_t logical = 0) {
        return Hlc{(static_cast<std::uint64_t>(wall.count()) << 16) | logical};
    }
    [[nodiscard]] constexpr WallTime wall() const { return WallTime(packed >> 16); }
    [[nodiscard]] constexpr std::uint16_t logical() const {
        return static_cast<std::uint16_t>(packed);
    }
};

class HlcClock {
  public:
    static constexpr std::chrono::minutes kDriftMax{5};

    explicit HlcClock(WallTime drift_max = kDriftMax) : drift_max_(drift_max) {}

    // A reading later than every one given or absorbed before.
    [[nodiscard]] Hlc next(WallTime now);

    // Takes note of a reading seen elsewhere. False: it is further ahead of `now` than the drift
    // allows; ignored.
    bool observe(Hlc seen, WallTime now);

    [[nodiscard]] Hlc last() const { return last_; }

  private:
    WallTime drift_max_;
    Hlc last_;
};

}  // namespace skerry
