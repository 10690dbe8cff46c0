// node/committer.hpp — makes commits durable: on the core thread while the disk is quick, on one of its own otherwise.
//
// Always   append and sync, then done(). A sync that takes less than a few thread switches is waited for on the spot:
//          clients gather in the meantime, and one round serves them all. A slower one runs beside the next round.
// Interval appended on the spot, which is a copy to the page cache; sync() runs beside. None: the same, never synced.
// Thread   everything from the core thread; `log` is appended to nowhere else while this lives.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "node/worker.hpp"
#include "store/log.hpp"
#include "store/store.hpp"

namespace skerry {

class Committer {
  public:
    static constexpr std::chrono::microseconds kQuickSync{500};

    using Outcome = Result<void>;
    struct Hooks {
        // Executes a task on the core thread, soon. Called from the committer's own.
        std::function<void(std::function<void()>)> post;
        // The commit is as durable as asked, or is not and never will be. Core thread, in order.
        std::function<void(const Commit& commit, const Outcome& outcome)> done;
    };
    // Lifetime: `log` outlives this. Destruction waits for what is under way; its outcome is posted.
    Committer(Log& log, Durability durability, Hooks hooks);

    // Calls done(), now or later.
    void commit(Commit commit);
    // Is a commit not done yet?
    [[nodiscard]] bool busy() const { return under_way_ > 0; }
    // Makes durable what commits have appended, beside, and gives the outcome on the core thread.
    void sync(std::function<void(const Outcome& outcome)> done);
    // Waits for what is under way; its outcome is posted. Nothing is committed or synced after this.
    void end() { worker_.reset(); }

  private:
    struct Attempt {
        Outcome outcome;
        std::chrono::nanoseconds sync_time{};
    };
    [[nodiscard]] Attempt write(const Commit& commit);
    void finish(const Commit& commit, const Attempt& attempt);

    Log& log_;
    const Durability durability_;
    const Hooks hooks_;
    std::size_t under_way_ = 0;
    std::chrono::nanoseconds sync_time_{kQuickSync};  // moving average; the first one runs beside
    std::optional<Worker> worker_{std::in_place};     // last, so that it ends first
};

}  // namespace skerry
