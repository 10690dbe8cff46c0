// crdt/codec.hpp — canonical MessagePack for everything that is stored, hashed or sent.
//
// Form     unsigned integers, byte strings, nil and arrays only; shortest encodings; equal values encode equally.
// Writers  a message names each writer once, in a table, and refers to it by index; without a table the id is spelled.
// Hostile  decoding is total: any byte string yields a value or an Error, and counts are checked before allocation.
// Source   https://github.com/msgpack/msgpack/blob/master/spec.md. Written by msgpack-c, included by codec.cpp alone; read
//          here, since its parser has no way to stop between two elements: a record of millions of them would be in
//          memory twice.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/domain.hpp"
#include "crdt/leaf.hpp"
#include "crdt/result.hpp"
#include "crdt/version_vector.hpp"

namespace skerry {

// Replica ids of one message, each once, in order of first use.
class WriterTable {
  public:
    static constexpr std::size_t kWritersMax = 4096;

    [[nodiscard]] std::size_t index_of(ReplicaId id);
    [[nodiscard]] const std::vector<ReplicaId>& ids() const { return ids_; }
    void clear() { ids_.clear(); }

  private:
    friend class Unpacker;
    std::vector<ReplicaId> ids_;
};

// Appends to a buffer of the caller's. Lifetime: buffer and table outlive the packer.
class Packer {
  public:
    explicit Packer(std::string& out, WriterTable* table = nullptr) : out_(out), table_(table) {}

    void number(std::uint64_t value);
    void bytes(std::string_view value);
    void nil() { out_.push_back(static_cast<char>(0xc0)); }
    void array(std::size_t count);
    void replica(ReplicaId id);

    void put(const VersionVector& clock);
    void put(const Entry& entry);
    void put(const Leaf& leaf);
    void put(const LeafKey& key);
    void put(const LeafDelta& delta);
    void put(const WriterTable& table);
    void put(const ShardClocks& clocks);

  private:
    std::string& out_;
    WriterTable* table_;
};

// Reads one MessagePack value, an array as a rule, front to back, straight from the bytes: what is
// read takes no memory of its own, however long it is. The first error sticks: read what you
// expect, then ask done(). Lifetime: views into the bytes given to the constructor.
class Unpacker {
  public:
    // `elements_max`: more of them, arrays' own included, are refused.
    explicit Unpacker(std::string_view bytes,
                      std::uint64_t elements_max = std::numeric_limits<std::uint64_t>::max())
        : bytes_(bytes), elements_left_(elements_max) {}

    [[nodiscard]] std::uint64_t number();
    // A number no greater than `max`.
    [[nodiscard]] std::uint64_t number_up_to(std::uint64_t max);
    [[nodiscard]] std::string_view bytes(std::size_t bytes_max = kValueBytesMax);
    [[nodiscard]] bool take_nil();
    [[nodiscard]] bool next_is_array() const;
    [[nodiscard]] std::size_t array();
    void array_of(std::size_t count);
    [[nodiscard]] ReplicaId replica();

    [[nodiscard]] VersionVector clock();
    [[nodiscard]] Entry entry();
    [[nodiscard]] Leaf leaf();
    [[nodiscard]] LeafKey leaf_key();
    [[nodiscard]] LeafDelta leaf_delta();
    [[nodiscard]] ShardId shard();
    [[nodiscard]] ShardClocks shard_clocks();
    void writer_table();  // read, and used for every replica() from here on

    // For a check that the caller makes itself.
    void reject(std::string_view why);
    [[nodiscard]] bool failed() const { return !error_.empty(); }
    // What is behind the value. nullopt: it was not read whole, or not rightly.
    [[nodiscard]] std::optional<std::string_view> behind() const;
    // Has the whole value been read, and rightly, and is nothing behind it? Errors: malformed, with
    // `what` in front.
    [[nodiscard]] Result<void> done(std::string_view what) const;

  private:
    enum class Kind : std::uint8_t { number, bytes, nil, array };

    // Reads the head of the next element if it is of that kind, and gives its number: the value, the
    // bytes' length, the array's count.
    [[nodiscard]] std::uint64_t take(Kind kind);
    [[nodiscard]] bool next_is(Kind kind) const;

    std::string_view bytes_;
    std::size_t consumed_ = 0;
    std::uint64_t elements_left_;
    std::uint64_t elements_open_ = 1;  // that the arrays read so far still promise
    WriterTable table_;
    bool has_table_ = false;
    std::string error_;
};

}  // namespace skerry
