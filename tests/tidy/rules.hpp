// tests/tidy/rules.hpp — what the style demands and a program can see. tests/tidy_test.cpp says it rule by rule.
//
// Exempt   a line that ends in "// tidy: RULE, because ..." or follows such a line; a file whose first line says
//          "generated" has no limit of length.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/tidy/source.hpp"

namespace skerry::tidy {

struct Finding {
    std::string rule;
    std::string path;
    std::size_t line = 0;
    std::string what;
    [[nodiscard]] std::string text() const {
        return path + ":" + std::to_string(line) + ": [" + rule + "] " + what;
    }
};
using Findings = std::vector<Finding>;

inline constexpr std::size_t kFunctionLinesMax = 70;
inline constexpr std::size_t kFileLinesMax = 800;

Findings header_block(const Tree& tree);  // the first line of a header names it and says what it is
Findings own_header_first(const Tree& tree);  // x.cpp includes x.hpp before anything else
Findings lengths(const Tree& tree);           // functions, files
Findings using_namespace(const Tree& tree);   // nowhere but in a test's .cpp
Findings mutable_globals(
    const Tree& tree);  // at namespace scope, static members and locals; tests are free
Findings impure_cores(
    const Tree& tree);  // clocks, randomness, threads, sockets, also through a header
Findings include_directions(
    const Tree& tree);  // crdt <- store, crdt <- net, all <- node; sim uses cores only
Findings third_party(const Tree& tree);    // a library is included by one file or one folder
Findings unbuilt_tests(const Tree& tree);  // a .cpp below tests/ that no CMakeLists.txt there names
Findings unordered_in_encoded(
    const Tree& tree);  // headers in crdt/, or that encode, hash or send, hold no hash table

[[nodiscard]] Findings all_rules(const Tree& tree);

// The words that follow the name in add_library(NAME ...) or add_executable(NAME ...), for every
// NAME that `wanted` accepts, as paths from the root.
[[nodiscard]] std::vector<std::string> sources_of_targets(const Tree& tree,
                                                          bool (*wanted)(std::string_view name));

// Is it part of a core: crdt, store, net, sim and the replica, without what targets named *_io
// build?
[[nodiscard]] bool is_core(const Tree& tree, const std::string& path);

}  // namespace skerry::tidy
