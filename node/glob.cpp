// node/glob.cpp — matching with one remembered star; see the header.
#include "node/glob.hpp"

#include <algorithm>
#include <cstddef>

namespace skerry {
namespace {

[[nodiscard]] unsigned char fold(char c, GlobCase letters) {
    if (letters == GlobCase::insensitive && c >= 'A' && c <= 'Z')
        c = static_cast<char>(c + ('a' - 'A'));
    return static_cast<unsigned char>(c);
}

// Is `c` in the class that begins at pattern[at] ('[')? Moves `at` behind the class.
[[nodiscard]] bool class_matches(std::string_view pattern, std::size_t& at, char c,
                                 GlobCase letters) {
    const unsigned char wanted = fold(c, letters);
    ++at;
    const bool negated = at < pattern.size() && pattern[at] == '^';
    if (negated) ++at;
    bool found = false;
    while (at < pattern.size() && pattern[at] != ']') {
        if (pattern[at] == '\\' && at + 1 < pattern.size()) {
            found = found || fold(pattern[at + 1], letters) == wanted;
            at += 2;
        } else if (at + 2 < pattern.size() && pattern[at + 1] == '-') {
            const unsigned char a = fold(pattern[at], letters);
            const unsigned char b = fold(pattern[at + 2], letters);
            found = found || (std::min(a, b) <= wanted && wanted <= std::max(a, b));
            at += 3;
        } else {
            found = found || fold(pattern[at], letters) == wanted;
            ++at;
        }
    }
    if (at < pattern.size()) ++at;  // the closing bracket; a class may also end with the pattern
    return found != negated;
}

// Does the one item at pattern[at] match `c`? Moves `at` behind the item. Requires: it is no star.
[[nodiscard]] bool item_matches(std::string_view pattern, std::size_t& at, char c,
                                GlobCase letters) {
    if (pattern[at] == '[') return class_matches(pattern, at, c, letters);
    if (pattern[at] == '?') {
        ++at;
        return true;
    }
    if (pattern[at] == '\\' && at + 1 < pattern.size()) ++at;
    return fold(pattern[at++], letters) == fold(c, letters);
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text, GlobCase letters) {
    std::size_t p = 0;
    std::size_t t = 0;
    bool starred = false;
    std::size_t star_p = 0;  // behind the last star
    std::size_t star_t = 0;  // where the text behind it is taken to begin
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star_p = ++p;
            star_t = t;
            starred = true;
            continue;
        }
        if (p < pattern.size() && item_matches(pattern, p, text[t], letters)) {
            ++t;
            continue;
        }
        if (!starred) return false;
        p = star_p;
        t = ++star_t;
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

}  // namespace skerry
