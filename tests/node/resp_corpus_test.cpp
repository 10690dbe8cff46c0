// tests/node/resp_corpus_test.cpp — the corpus of requests, through the fuzz entry.
#include "tests/support/corpus.hpp"

TEST_CASE("resp_fuzz: the corpus passes", "[node][resp]") {
    CHECK(skerry::replay_corpus("tests/corpus/resp") >= 10);
}
