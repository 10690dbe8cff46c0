#include "node/committer.hpp"

#include <memory>
#include <utility>

namespace skerry {

Committer::Committer(Log& log, Durability durability, Hooks hooks)
    : log_(log), durability_(durability), hooks_(std::move(hooks)) {}

Committer::Attempt Committer::write(const Commit& commit) {
    Attempt attempt{.outcome = log_.append(commit.frames, commit.last)};
    if (!attempt.outcome || durability_ != Durability::always) return attempt;
    const auto begin = std::chrono::steady_clock::now();
    attempt.outcome = log_.sync();
    attempt.sync_time = std::chrono::steady_clock::now() - begin;
    return attempt;
}

void Committer::finish(const Commit& commit, const Attempt& attempt) {
    constexpr int kWeight = 8;
    if (durability_ == Durability::always) sync_time_ += (attempt.sync_time - sync_time_) / kWeight;
    hooks_.done(commit, attempt.outcome);
}

void Committer::commit(Commit commit) {
    const bool quick = durability_ != Durability::always || sync_time_ < kQuickSync;
    if (quick && !busy()) return finish(commit, write(commit));
    ++under_way_;
    worker_->post([this, commit = std::make_shared<Commit>(std::move(commit))] {
        hooks_.post([this, commit, attempt = write(*commit)] {
            --under_way_;
            finish(*commit, attempt);
        });
    });
}

void Committer::sync(std::function<void(const Outcome& outcome)> done) {
    worker_->post([this, done = std::move(done)] {
        hooks_.post([done, outcome = log_.sync()] { done(outcome); });
    });
}

}  // namespace skerry
