// node/identity.hpp — who writes in a data directory, and when a new writer id must be taken.
//
// Id       upper 32 random bits for the life of the directory, lower 32 random bits for one incarnation.
// Rule     an id is kept only over a clean shutdown in the same place: the file says "clean", names the machine, the device
//          and inode of the directory, and its own inode and time of birth, which a file that is put back does not have; and
//          the store holds as many own events as it says. Every other start takes a new incarnation, since a killed process
//          and a restored snapshot look alike from inside; a copied directory takes a whole new id.
// Unseen   a volume or a machine set back as a whole, after a clean end: every number is as it was. Peers find it.
// File     identity: text lines; replaced atomically and synced before anything is written under the id.
// Source   DESIGN section 6. Differs: random incarnations, so that a restored old copy cannot count to a used one; the birth
//          of the file stands for a nonce beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "crdt/ids.hpp"
#include "crdt/result.hpp"

namespace skerry {

struct Identity {
    ReplicaId writer;
    bool fresh_incarnation = true;
    std::string why;               // it was kept or not: a sentence for the operator
    std::uint64_t own_events = 0;  // kept: what the store must hold of this writer
};

// `random` gives 64 random bits.   Errors: io_failed, corrupt, unsupported.
[[nodiscard]] Result<Identity> open_identity(const std::filesystem::path& directory,
                                             std::uint64_t (*random)());
// Who wrote there last; nothing is changed. nullopt: nobody yet.   Errors: io_failed, corrupt,
// unsupported.
[[nodiscard]] Result<std::optional<ReplicaId>> last_writer(const std::filesystem::path& directory);
// An id that was kept turns out to be one that must not be: the next incarnation.   Errors: io_failed.
[[nodiscard]] Result<Identity> renew_identity(const std::filesystem::path& directory,
                                              const Identity& kept, std::string why,
                                              std::uint64_t (*random)());
// Only once nothing more is written under the id, and `own_events` of it are on the disk.
[[nodiscard]] Result<void> mark_clean(const std::filesystem::path& directory, ReplicaId writer,
                                      std::uint64_t own_events);

}  // namespace skerry
