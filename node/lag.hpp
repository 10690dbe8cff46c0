// node/lag.hpp — how far a peer is behind this node's own writes: in bytes of log, and in time.
//
// Marks    the commits of this process: how many own events there are with each, how many bytes were logged, and when.
//          What a peer reports as durable names a number of own events; what lies behind it is what it lacks.
// Bounded  kMarksMax; then the two oldest become one, as old as the older. Bytes and times from before this process began
//          are not known: a peer that lacks those is shown as if they had been written at its start.
// Pure     time comes in.   Thread: core thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

namespace skerry {

struct Lag {
    std::uint64_t bytes = 0;
    std::int64_t ms = 0;
};

class LagMeter {
  public:
    static constexpr std::size_t kMarksMax = 4096;

    // A commit is durable. Requires: `events`, of all own ones so far, never falls.
    void committed(std::uint64_t events, std::uint64_t bytes, std::int64_t now_ms);
    // Of a peer that has `events` of them.
    [[nodiscard]] Lag behind(std::uint64_t events, std::int64_t now_ms) const;
    // Every peer has so many: marks up to there are needed no more.
    void forget(std::uint64_t events);
    [[nodiscard]] std::size_t mark_count() const { return marks_.size(); }

  private:
    struct Mark {
        std::uint64_t events;  // with this commit
        std::uint64_t bytes;
        std::int64_t at_ms;
    };
    std::deque<Mark> marks_;  // events ascending
};

}  // namespace skerry
