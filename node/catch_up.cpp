#include "node/catch_up.hpp"

namespace skerry {

void CatchUp::reported(std::uint64_t peer, const ShardClocks& durable) {
    if (stage_ != Stage::meeting || !heard_.insert(peer).second) return;
    for (const auto& [shard, clock] : durable) target_[shard].join(clock);
}

bool CatchUp::step(const View& view, MonoTime now) {
    if (over()) return false;
    if (view.any_ahead) last_ahead_ = now;
    if (stage_ == Stage::meeting) {
        const bool met = view.any_known && view.all_reported;
        if (!met && now < began_ + kMeetWithin) return false;
        stage_ = Stage::lacking;
        last_ahead_ = now;
    }
    if (view.target_covered)
        stage_ = Stage::done;
    else if (now >= last_ahead_ + kAloneMax)
        stage_ = Stage::given_up;
    return over();
}

}  // namespace skerry
