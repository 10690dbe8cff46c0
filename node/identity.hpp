// node/identity.hpp — who writes in a data directory, and when a new writer id must be taken.
//
// Id       upper 32 random bits for the life of the directory, lower 32 random bits for one incarnation.
// Rule     an id is kept only over a clean shutdown in the same place: the file says "clean", and names the device and
//          inode of the directory. Every other start takes a new incarnation, since a killed process and a restored
//          snapshot look alike from inside; a copied directory takes a whole new id.
// File     identity: text lines; replaced atomically and synced before anything is written under the id.
// Source   DESIGN section 6. Differs: random incarnations, so that a restored old copy cannot count to a used one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "crdt/ids.hpp"
#include "crdt/result.hpp"

namespace skerry {

struct Identity {
    ReplicaId writer;
    bool fresh_incarnation = true;
};

// `random` gives 64 random bits.   Errors: io_failed, corrupt, unsupported.
[[nodiscard]] Result<Identity> open_identity(const std::filesystem::path& directory,
                                             std::uint64_t (*random)());
// Who wrote there last; nothing is changed. nullopt: nobody yet.   Errors: io_failed, corrupt,
// unsupported.
[[nodiscard]] Result<std::optional<ReplicaId>> last_writer(const std::filesystem::path& directory);
// Only once nothing more is written under the id.
[[nodiscard]] Result<void> mark_clean(const std::filesystem::path& directory, ReplicaId writer);

}  // namespace skerry
