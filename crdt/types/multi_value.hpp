// crdt/types/multi_value.hpp — multi-value register: every write that no other has seen is a value of its own.
//
// Leaf     a live entry's payload is one value.
// Wins     nobody: concurrent values stand side by side until a write has seen them.
// Source   DeCandia et al., "Dynamo", SOSP 2007; Shapiro et al., INRIA RR-7506, section 3.2.2.
#pragma once

#include <string_view>
#include <vector>

#include "crdt/leaf.hpp"

namespace skerry::multi_value {

// Concurrent values in order of replica id. Lifetime: views into the leaf.
[[nodiscard]] std::vector<std::string_view> values(const Leaf& leaf);
[[nodiscard]] LeafDelta write(const Leaf& seen, const Dot& dot, Hlc now, std::string_view value);
[[nodiscard]] LeafDelta clear(const Leaf& seen, const Dot& dot, Hlc now);

}  // namespace skerry::multi_value
