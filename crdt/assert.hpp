// crdt/assert.hpp — assertions that stay on in release, and expensive ones for tests and the simulator.
//
// Never on bytes from outside: those get a Result. A failed assertion ends the process: better a restart from the
// log than a state that other replicas would copy.
#pragma once

namespace skerry {
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line) noexcept;
}  // namespace skerry

#define ASSERT(condition)                   \
    (static_cast<bool>(condition) ? void(0) \
                                  : ::skerry::assertion_failed(#condition, __FILE__, __LINE__))

#ifdef SKERRY_SLOW_ASSERTIONS
#define ASSERT_SLOW(condition) ASSERT(condition)
#else
#define ASSERT_SLOW(condition) void(0)
#endif
