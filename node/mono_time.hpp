// node/mono_time.hpp — the time that only runs forward, as cores are given it.
#pragma once

#include <chrono>

namespace skerry {

using MonoTime = std::chrono::milliseconds;  // since any fixed moment; never goes back

}  // namespace skerry
