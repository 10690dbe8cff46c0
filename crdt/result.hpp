// crdt/result.hpp — the error type of every fallible call: the world's fault, never ours.
//
// A failed call changes nothing. A code exists once per different reaction of a caller; the detail is in `where`.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "crdt/assert.hpp"

namespace skerry {

enum class Code : std::uint8_t {
    malformed,     // bytes that nobody of ours has written: drop them, count them
    unsupported,   // a version or kind that this build does not know: refuse, say what to do
    too_large,     // beyond a documented limit
    out_of_range,  // a number outside what the type can hold
    wrong_type,    // the leaf or key holds another type
    not_a_number,  // a numeric operation on something else
    io_failed,     // the disk or the network said no
    out_of_space,  // the disk or the map is full: writes stop, reads and deletes go on
    corrupt,       // stored data that fails its checksum or invariants: an operator must act
    truncated,     // what is asked for is no longer kept
    refused,       // a peer or a lock turned us away
};

[[nodiscard]] std::string_view name_of(Code code);

struct Error {
    Code code;
    std::string where;
    [[nodiscard]] std::string text() const { return std::string(name_of(code)) + ": " + where; }
};

template <class T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(Code code, std::string where) {
    return std::unexpected(Error{code, std::move(where)});
}

}  // namespace skerry
