// node/command_table.hpp — the one table of commands: who handles what, which arguments are keys, what COMMAND says.
//
// Arity    as in Redis: the command's name counts; negative = at least that many.
// Keys     first, last (negative: counted from the end), step; none: first 0. `numkeys`: a count stands before the keys.
// Lookup   O(1), letters of either case.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace skerry {

struct CommandContext;

// What a command is and may do. Those named in Redis go into COMMAND's reply.
namespace flag {
inline constexpr std::uint32_t kWrite = 1U << 0;
inline constexpr std::uint32_t kReadonly = 1U << 1;
inline constexpr std::uint32_t kGrows =
    1U << 2;  // needs room on the disk: refused when it is full ("denyoom")
inline constexpr std::uint32_t kFast = 1U << 3;
inline constexpr std::uint32_t kAdmin = 1U << 4;
inline constexpr std::uint32_t kNoAuth = 1U << 5;  // before AUTH
inline constexpr std::uint32_t kNumkeys =
    1U << 6;  // keys are args[2..], args[1] of them ("movablekeys")
inline constexpr std::uint32_t kLoading =
    1U << 7;  // touches no data: goes on when the store has halted
inline constexpr std::uint32_t kBlocking = 1U << 8;
inline constexpr std::uint32_t kReadiness =
    1U << 9;  // asks whether the node serves: refused as data is, though it touches none
inline constexpr std::uint32_t kWholeDatabase =
    1U << 10;  // names no key, and is about those of the selected database
}  // namespace flag

struct KeySpec {
    std::int8_t first = 0;
    std::int8_t last = 0;
    std::int8_t step = 0;
};

struct Command {
    std::string_view name;  // lower case
    std::int16_t arity = 0;
    std::uint32_t flags = 0;
    KeySpec keys;
    std::string_view group;
    std::string_view since;
    std::string_view summary;
    void (*handler)(CommandContext& context) = nullptr;

    [[nodiscard]] bool has(std::uint32_t wanted) const { return (flags & wanted) != 0; }
    [[nodiscard]] bool takes(std::size_t argument_count) const {
        const auto count = static_cast<std::int64_t>(argument_count);
        return arity >= 0 ? count == arity : count >= -arity;
    }
};

class CommandTable {
  public:
    CommandTable();

    // nullptr: unknown.
    [[nodiscard]] const Command* find(std::string_view name) const;
    [[nodiscard]] std::span<const Command> all() const;
    [[nodiscard]] std::size_t index_of(const Command& command) const;

  private:
    absl::flat_hash_map<std::string_view, const Command*> by_name_;
};

// Where the keys are among the arguments, first and one behind the last; the keys stand `step`
// apart. Empty: no keys.
struct KeyRange {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t step = 1;
};
[[nodiscard]] KeyRange keys_of(const Command& command, std::span<const std::string_view> arguments);

}  // namespace skerry
