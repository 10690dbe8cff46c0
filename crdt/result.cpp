#include "crdt/result.hpp"

#include <cstdio>
#include <cstdlib>

namespace skerry {

void assertion_failed(const char* condition, const char* file, int line) noexcept {
    std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    std::abort();
}

std::string_view name_of(Code code) {
    switch (code) {
        case Code::malformed:
            return "malformed";
        case Code::unsupported:
            return "unsupported";
        case Code::too_large:
            return "too large";
        case Code::out_of_range:
            return "out of range";
        case Code::wrong_type:
            return "wrong type";
        case Code::not_a_number:
            return "not a number";
        case Code::io_failed:
            return "i/o failed";
        case Code::out_of_space:
            return "out of space";
        case Code::corrupt:
            return "corrupt";
        case Code::truncated:
            return "truncated";
        case Code::refused:
            return "refused";
    }
    return "unknown";
}

}  // namespace skerry
