#include "node/own_store.hpp"

#include "node/system.hpp"

namespace skerry {

std::uint64_t own_events(const Store& store) {
    std::uint64_t count = 0;
    for (const auto& [shard, clock] : store.clocks()) count += clock.at(store.self()).value;
    return count;
}

Result<std::unique_ptr<Store>> open_own_store(const std::filesystem::path& directory,
                                              Identity& identity, Log& log, const Kv& kv,
                                              StoreOptions options, WallTime now) {
    options.self = identity.writer;
    auto store = Store::open(log, kv, options, now);
    if (!store || identity.fresh_incarnation || own_events(**store) == identity.own_events)
        return store;
    const std::uint64_t held = own_events(**store);
    store->reset();
    auto renewed = renew_identity(directory, identity,
                                  "the data holds " + std::to_string(held) + " events of " +
                                      identity.writer.text() + ", the last process had " +
                                      std::to_string(identity.own_events) + ": it is an old copy",
                                  random_bits);
    if (!renewed) return std::unexpected(renewed.error());
    identity = std::move(*renewed);
    options.self = identity.writer;
    return Store::open(log, kv, options, now);
}

}  // namespace skerry
