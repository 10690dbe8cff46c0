// tests/store/record_corpus_test.cpp — the corpus of records, through the fuzz entry.
#include "tests/support/corpus.hpp"

TEST_CASE("record_fuzz: the corpus passes", "[store][record]") {
    CHECK(skerry::replay_corpus("tests/corpus/record") >= 5);
}
