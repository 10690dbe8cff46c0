// node/sync_status.hpp — what is on its way in bulk, as an operator sees it: one row for each pull, fetched log and drain.
//
// Rate     of the time since this process began with it, waiting included: what a catch-up takes, not what the link can do.
// Server   keeps nothing of a pull that it needs; ServedPulls remembers what was sent, for the eye, and forgets it soon.
// Thread   any one: no state beyond its own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "node/mono_time.hpp"

namespace skerry {

struct SyncStatus {
    std::string peer;
    std::string direction;  // in, out, local
    std::string
        phase;  // asking, pulling, comparing, interrupted, waiting, measuring, fetching, draining, serving
    std::string reason;  // why it was begun
    std::uint64_t session = 0;
    std::uint64_t leaves = 0;       // of a fetched log: records
    std::uint64_t bytes = 0;        // as they came or went over the wire
    std::int64_t leaves_left = -1;  // about; -1: not known
    std::int64_t since_ms = 0;      // how long it has been going on here
    std::uint64_t bytes_per_second = 0;
    std::int64_t eta_ms = -1;  // about; -1: not known
};

// The pull of this node among them; nullptr: none is under way.
[[nodiscard]] const SyncStatus* pull_among(const std::vector<SyncStatus>& rows);

// One of them, while it goes on.
struct SyncProgress {
    MonoTime since{};
    std::uint64_t leaves = 0;
    std::uint64_t bytes = 0;
    std::uint64_t leaves_before = 0;  // of these: before this process, or this connection
    std::uint64_t bytes_before = 0;
    std::uint64_t spent_before_ms = 0;
    std::int64_t leaves_left = -1;
    MonoTime noted_at{};

    [[nodiscard]] std::uint64_t spent_ms(MonoTime now) const {
        return spent_before_ms + static_cast<std::uint64_t>((now - since).count());
    }
    // Fills in the numbers.
    void show(SyncStatus& row, MonoTime now) const;
};

// What is remembered of pulls that others make here.
class ServedPulls {
  public:
    static constexpr std::size_t kSessionsMax = 64;
    static constexpr MonoTime kForgottenAfter{15'000};

    struct Chunk {
        std::uint64_t leaves = 0;
        std::uint64_t bytes = 0;
        std::uint64_t leaves_left = 0;
    };
    void served(const std::string& peer, std::uint64_t session, const Chunk& chunk, MonoTime now);
    void append_to(std::vector<SyncStatus>& rows, MonoTime now) const;
    [[nodiscard]] std::size_t count(MonoTime now) const;

  private:
    struct Session {
        SyncProgress progress;
        MonoTime last{};
    };
    std::map<std::pair<std::string, std::uint64_t>, Session> sessions_;
};

}  // namespace skerry
