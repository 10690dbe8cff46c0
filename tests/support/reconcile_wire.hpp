// tests/support/reconcile_wire.hpp — a repair between two stores: frames go straight from one to the other.
#pragma once

#include "net/message.hpp"
#include "node/reconciliation.hpp"
#include "tests/catch.hpp"

namespace skerry {

inline Message through_the_wire(const Message& message) {
    return *decode(encode(message, Compression::where_it_helps));
}

inline Message answer_of(Store& server, const Message& request) {
    if (const auto* slices = std::get_if<SliceRequest>(&request))
        return *serve_slices(server, *slices);
    if (const auto* symbols = std::get_if<SymbolRequest>(&request))
        return *serve_symbols(server, *symbols);
    return *serve_leaves(server, std::get<LeafRequest>(request));
}

constexpr LinkId kWireLink{1};

inline Reconciliation::Subject subject_of(const Store& server) {
    return {.link = kWireLink, .name = "peer", .nonce = server.options().nonce, .key = {11, 12}};
}

// Until it ends. `between` runs before each answer, `settle` after each: what was written becomes durable.
template <class Between, class Settle>
Reconciliation::Outcome play(Reconciliation& asker, Store& server, Between between, Settle settle) {
    for (MonoTime now{1000}; now < MonoTime(600'000); now += MonoTime(20)) {
        for (const auto& [link, request] : asker.take_requests()) {
            between();
            const Message asked = through_the_wire(request);
            Message answer = through_the_wire(answer_of(server, asked));
            if (auto* slices = std::get_if<SliceReply>(&answer))
                asker.on_reply(kWireLink, *slices, now);
            else if (auto* symbols = std::get_if<SymbolReply>(&answer))
                asker.on_reply(kWireLink, *symbols, now);
            else
                asker.on_reply(kWireLink, std::get<LeafReply>(answer), now);
            settle();
        }
        if (auto outcome = asker.take_outcome()) return *outcome;
        asker.tick(now);
    }
    FAIL("the reconciliation does not end");
    return {};
}

}  // namespace skerry
