// node/own_store.hpp — a store opened under the identity of its directory; if the two do not belong together, under a new one.
//
// Why      a file `identity` that says "clean" beside a log or an ordered store from a backup: the id would be used for numbers
//          that it has given already. The file says how many there were.
// Thread   core thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "node/identity.hpp"
#include "store/store.hpp"

namespace skerry {

// How many events of this store's writer it holds, durable or not.
[[nodiscard]] std::uint64_t own_events(const Store& store);

// `options.self` is the identity's. May renew the identity; then nothing had been written under the one before.
// Errors: those of Store::open and renew_identity.
[[nodiscard]] Result<std::unique_ptr<Store>> open_own_store(const std::filesystem::path& directory,
                                                            Identity& identity, Log& log,
                                                            const Kv& kv, StoreOptions options,
                                                            WallTime now);

}  // namespace skerry
