// node/system.hpp — the wall clock and chance, which a core is given and only a process may ask for.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

#include "crdt/hlc.hpp"

namespace skerry {

[[nodiscard]] inline WallTime wall_now() {
    return std::chrono::duration_cast<WallTime>(
        std::chrono::system_clock::now().time_since_epoch());
}

[[nodiscard]] inline std::uint64_t random_bits() {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

}  // namespace skerry
