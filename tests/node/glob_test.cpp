// tests/node/glob_test.cpp — glob patterns match as Redis's stringmatchlen() does.
#include "node/glob.hpp"

#include <string>

#include "tests/catch.hpp"

namespace skerry {

TEST_CASE("glob: items of a pattern", "[glob]") {
    CHECK(glob_matches("", ""));
    CHECK_FALSE(glob_matches("", "a"));
    CHECK(glob_matches("*", ""));
    CHECK(glob_matches("h?llo", "hello"));
    CHECK_FALSE(glob_matches("h?llo", "hllo"));
    CHECK(glob_matches("h*llo", "heeeello"));
    CHECK(glob_matches("*a*b", "xaxbxab"));
    CHECK_FALSE(glob_matches("*a*b", "xbxa"));
    CHECK(glob_matches("h[ae]llo", "hallo"));
    CHECK_FALSE(glob_matches("h[^e]llo", "hello"));
    CHECK(glob_matches("h[a-c]llo", "hbllo"));
    CHECK(glob_matches("h[c-a]llo", "hbllo"));
    CHECK(glob_matches("a\\*", "a*"));
    CHECK_FALSE(glob_matches("a\\*", "ab"));
    CHECK(glob_matches("[\\]]", "]"));
    CHECK(glob_matches("[ab", "b"));
    CHECK(glob_matches("a\\", "a\\"));
}

TEST_CASE("glob: letters of either case when asked", "[glob]") {
    CHECK(glob_matches("HE[L-M]*", "hello", GlobCase::insensitive));
    CHECK_FALSE(glob_matches("HE*", "hello"));
}

TEST_CASE("glob: many stars take no exponential time", "[glob]") {
    std::string pattern;
    for (int i = 0; i < 200; ++i) pattern += "a*";
    CHECK_FALSE(glob_matches(pattern + "b", std::string(5000, 'a')));
}

}  // namespace skerry
