// tests/tidy/source.hpp — a C++ source as tidy rules see it: text, code without comments, includes, functions.
//
// Parsing  by braces, not by grammar: good enough for code that clang-format has laid out, and quick. Preprocessor
//          lines, comments and the inside of literals count as blanks.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace skerry::tidy {

struct Include {
    std::size_t line = 0;
    std::string name;
    bool angled = false;
};

enum class Scope { name_space, type, function, other };

// A brace-enclosed body of a function, with its signature.
struct Function {
    std::size_t first_line = 0;
    std::size_t last_line = 0;
};

// What ends in a semicolon, white space squeezed.
struct Statement {
    std::size_t line = 0;
    Scope scope = Scope::name_space;
    std::string text;
};

struct Source {
    std::string path;  // relative to the root of the repository, with /
    std::string text;
    std::string code;                // as long as text
    std::vector<std::string> lines;  // of text; line n is lines[n - 1]
    std::vector<Include> includes;
    std::vector<Function> functions;
    std::vector<Statement> statements;

    [[nodiscard]] bool in(std::string_view folder) const;  // "crdt/"
    [[nodiscard]] bool is_header() const { return path.ends_with(".hpp"); }
    [[nodiscard]] std::string stem() const { return path.substr(0, path.rfind('.')); }
    [[nodiscard]] std::size_t line_at(std::size_t offset) const;
};

[[nodiscard]] Source parse(std::string path, std::string text);

// Sources by path, and the CMakeLists.txt files as they are.
struct Tree {
    std::map<std::string, Source> sources;
    std::map<std::string, std::string> cmake;

    void add(std::string path, std::string text);
    [[nodiscard]] const Source* find(const std::string& path) const;
};

// Everything below `root` but build directories, dot directories and node_modules.
[[nodiscard]] Tree read_tree(const std::string& root);

}  // namespace skerry::tidy
