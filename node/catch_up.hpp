// node/catch_up.hpp — has this node, since its start, got what the peers that it can reach had then?
//
// Target   what each peer says first that it holds durably. What it writes later is the ordinary lag.
// Met      all known peers have spoken, or kMeetWithin has passed: who is not there by then is not waited for.
// Over     the target is covered; or for kAloneMax nobody was heard who has more than this node: then it serves what it has, for
//          a node alone in the world must not stay shut for ever. It is over once, and stays so.
// Thread   core thread.
#pragma once

#include <map>
#include <set>

#include "crdt/version_vector.hpp"
#include "node/mono_time.hpp"

namespace skerry {

class CatchUp {
  public:
    static constexpr MonoTime kMeetWithin{10'000};
    static constexpr MonoTime kAloneMax{10'000};

    enum class Stage : std::uint8_t { meeting, lacking, done, given_up };

    // What is seen of the peers now.
    struct View {
        bool any_known = false;
        bool all_reported = false;
        bool target_covered = false;  // durably, here
        bool any_ahead = false;       // some peer that is heard has more than this node
    };

    void begin(MonoTime now) { began_ = last_ahead_ = now; }
    // Nobody can be met: there is nothing to wait for.
    void skip() { stage_ = Stage::done; }
    // The first report of each counts.
    void reported(std::uint64_t peer, const ShardClocks& durable);
    // True: it is over just now.
    bool step(const View& view, MonoTime now);

    [[nodiscard]] Stage stage() const { return stage_; }
    [[nodiscard]] bool over() const { return stage_ == Stage::done || stage_ == Stage::given_up; }
    [[nodiscard]] const std::map<ShardId, VersionVector>& target() const { return target_; }
    [[nodiscard]] MonoTime began() const { return began_; }

  private:
    Stage stage_ = Stage::meeting;
    MonoTime began_{};
    MonoTime last_ahead_{};
    std::set<std::uint64_t> heard_;
    std::map<ShardId, VersionVector> target_;
};

}  // namespace skerry
