// node/replica.hpp — a replica inside a program: the library.
//
// Start    here to embed Skerry; docs/examples/two_replicas.cpp is a whole program.
// Place    one directory, one process at a time; the layout is skerryd's, so either opens what the
//          other has left.
// Writing  changes memory at once and the disk at commit(), or before it when some MiB have
//          gathered; after a crash what is there is the state after some call, none left out. The
//          destructor commits, too.
// Exchange bytes, over whatever the program likes: request() says what is here, changes_for() at
//          another replica answers it, receive() here joins the answer. Lost, repeated, late and
//          reordered bytes do no harm; whoever has received from all others holds what they hold.
//          Replicas of one cluster name and shard count understand each other.
// Errors   wrong_type, too_large, not_a_number, out_of_range, malformed and refused change nothing,
//          and the replica goes on. After a failure to write the log or to read the directory every
//          call fails alike: open it again.
// Cost     an answer is proportional to what the asking replica lacks; it is one string in memory.
// Thread   one at a time; no thread of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/result.hpp"

namespace skerry {

struct ReplicaOptions {
    std::string cluster = "skerry";
    std::uint16_t shard_count = 256;  // both are fixed once the directory is made
    std::size_t memory_bytes = std::size_t{256}
                               << 20;  // for data; the rest is read from disk as needed
};

class Replica {
  public:
    // Makes the directory when it is missing.   Errors: refused (in use, or made with other
    // options), io_failed, corrupt, unsupported.
    [[nodiscard]] static Result<Replica> open(const std::filesystem::path& directory,
                                              ReplicaOptions options = {});
    Replica(Replica&&) noexcept;
    Replica& operator=(Replica&&) noexcept;
    ~Replica();

    // ---- keys
    [[nodiscard]] Result<bool> exists(std::string_view key);
    Result<bool> remove(std::string_view key);  // false: there was none
    // False: there is no such key. nullopt: it stays until removed.
    Result<bool> expire_in(std::string_view key, std::optional<std::chrono::milliseconds> after);

    // ---- strings and counters: concurrent set() keeps the later one, concurrent add() the sum.
    [[nodiscard]] Result<std::optional<std::string>> get(std::string_view key);
    Result<void> set(std::string_view key, std::string_view value);  // replaces a key of any type
    Result<std::int64_t> add(std::string_view key, std::int64_t increment);

    // ---- sets: a concurrent add wins against a remove.
    Result<bool> set_add(std::string_view key, std::string_view member);     // true: it was absent
    Result<bool> set_remove(std::string_view key, std::string_view member);  // true: it was present
    [[nodiscard]] Result<bool> set_contains(std::string_view key, std::string_view member);
    [[nodiscard]] Result<std::vector<std::string>> set_members(
        std::string_view key);  // in no meaningful order, but in the same one everywhere

    // ---- hashes: every field is a string or counter of its own.
    Result<bool> hash_set(std::string_view key, std::string_view field,
                          std::string_view value);  // true: it was absent
    Result<bool> hash_remove(std::string_view key, std::string_view field);
    [[nodiscard]] Result<std::optional<std::string>> hash_get(std::string_view key,
                                                              std::string_view field);
    Result<std::int64_t> hash_add(std::string_view key, std::string_view field,
                                  std::int64_t increment);
    using Fields = std::vector<std::pair<std::string, std::string>>;
    [[nodiscard]] Result<Fields> hash_fields(std::string_view key);

    // ---- durability and exchange
    // Makes all that was written durable.
    Result<void> commit();
    // What is durable here, for changes_for() at another replica.
    [[nodiscard]] Result<std::string> request();
    // What the replica that wrote `request` lacked then of what is here now; commits first. Errors:
    // malformed, unsupported, refused (another cluster).
    [[nodiscard]] Result<std::string> changes_for(std::string_view request);
    // Joins, and commits. Errors: malformed, unsupported, too_large, refused (another cluster, or
    // an answer to a request of a replica that knew more than this one).
    Result<void> receive(std::string_view changes);

  private:
    struct State;
    explicit Replica(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace skerry
