// tests/support/reconcile_wire.hpp — a reconciliation between two stores: frames go straight from one to the other, and are counted.
#pragma once

#include "net/message.hpp"
#include "node/feed.hpp"
#include "node/reconciliation.hpp"
#include "tests/catch.hpp"

namespace skerry {

struct WireBytes {
    std::uint64_t asked = 0;
    std::uint64_t answered = 0;
    std::uint64_t requests = 0;
    std::uint64_t round_trips = 0;  // one after another
    std::uint64_t slices = 0;       // of both, what tells where to look
    [[nodiscard]] std::uint64_t all() const { return asked + answered; }
};

inline Message through_the_wire(const Message& message, std::uint64_t& bytes) {
    const std::string frame = encode(message, Compression::where_it_helps);
    bytes += frame.size();
    return *decode(frame);
}

inline Message answer_of(Store& server, const Message& request) {
    if (const auto* slices = std::get_if<SliceRequest>(&request))
        return *serve_slices(server, *slices);
    if (const auto* symbols = std::get_if<SymbolRequest>(&request))
        return *serve_symbols(server, *symbols);
    return *serve_leaves(server, std::get<LeafRequest>(request));
}

constexpr LinkId kWireLink{1};
constexpr MonoTime kWireDelay{100};  // until an answer comes

inline Reconciliation::Subject subject_of(const Store& server) {
    return {.link = kWireLink, .name = "peer", .nonce = server.options().nonce, .key = {11, 12}};
}

// Until it ends, or `cut` says so: nullopt. `between` runs before each answer, `settle` after each: what was written becomes
// durable.
template <class Between, class Settle, class Cut>
std::optional<Reconciliation::Outcome> play_until(Reconciliation& asker, Store& server,
                                                  WireBytes& bytes, Between between, Settle settle,
                                                  Cut cut) {
    for (MonoTime now = MonoTime(1000) + kWireDelay; now < MonoTime(600'000); now += kWireDelay) {
        const auto requests = asker.take_requests();
        bytes.round_trips += requests.empty() ? 0 : 1;
        for (const auto& [link, request] : requests) {
            ++bytes.requests;
            const std::uint64_t before = bytes.all();
            between();
            const Message asked = through_the_wire(request, bytes.asked);
            Message answer = through_the_wire(answer_of(server, asked), bytes.answered);
            if (std::holds_alternative<SliceReply>(answer)) bytes.slices += bytes.all() - before;
            if (auto* slices = std::get_if<SliceReply>(&answer))
                asker.on_reply(kWireLink, *slices, now);
            else if (auto* symbols = std::get_if<SymbolReply>(&answer))
                asker.on_reply(kWireLink, *symbols, now);
            else
                asker.on_reply(kWireLink, std::get<LeafReply>(answer), now);
            settle();
            if (asker.under_way() && cut()) return std::nullopt;
        }
        if (auto outcome = asker.take_outcome()) return outcome;
        asker.tick(now);
    }
    FAIL("the reconciliation does not end");
    return std::nullopt;
}

template <class Between, class Settle>
Reconciliation::Outcome play(Reconciliation& asker, Store& server, WireBytes& bytes,
                             Between between, Settle settle) {
    return *play_until(asker, server, bytes, between, settle, [] { return false; });
}

// All that a pull from this base brings, of one clock, staged at `to`. Requires: a checkpoint has all of the server.
inline ShardClocks pull_all(const Kv& server, ShardClocks base, std::uint64_t session, Store* to,
                            WireBytes& bytes) {
    PullRequest request{.request = 1,
                        .session = session,
                        .nonce = 0,
                        .base = std::move(base),
                        .target = {},
                        .cursor = {},
                        .credit_bytes = kReplyBytesAim,
                        .full = true};
    while (true) {
        ++bytes.requests;
        ++bytes.round_trips;
        const auto reader = server.reader();
        (void)through_the_wire(request, bytes.asked);
        Message answer = through_the_wire(*serve_pull(**reader, request), bytes.answered);
        auto& chunk = std::get<PullChunk>(answer);
        Stage stage{.session = session, .clocks = chunk.clocks, .leaves = {}, .cursor = {}};
        for (PulledLeaf& leaf : chunk.leaves)
            stage.leaves.push_back({std::move(leaf.key), std::move(leaf.leaf)});
        if (to != nullptr && !stage.leaves.empty()) to->stage(stage);
        if (chunk.cursor.empty()) return chunk.clocks;
        request.cursor = chunk.cursor;
    }
}

}  // namespace skerry
