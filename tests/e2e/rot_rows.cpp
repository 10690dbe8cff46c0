// tests/e2e/rot_rows.cpp — takes rows of keys and elements out of a stopped node's ordered store, behind the node's back.
//
// Usage    rot_rows DIR EACH: one row of EACH. Prints how many are gone.
#include <cstdlib>
#include <iostream>

#include "store/lmdb_kv.hpp"

int main(int count, char** arguments) {
    if (count != 3) return 2;
    const std::uint64_t each = std::strtoull(arguments[2], nullptr, 10);
    auto kv = skerry::LmdbKv::open(arguments[1], {});
    if (!kv || each == 0) return 2;
    skerry::KvBatch gone;
    std::uint64_t seen = 0;
    const auto read = [&](skerry::KvReader& stored) {
        return stored.scan(skerry::Table::rows, {}, {},
                           [&](std::string_view key, std::string_view) {
                               if (++seen % each == 0)
                                   gone.push_back({skerry::Table::rows, std::string(key), {}});
                               return true;
                           });
    };
    if (const auto stored = (*kv)->reader(); !stored || !read(**stored)) return 1;
    if (!(*kv)->write(gone, skerry::KvRoom::ordinary)) return 1;
    std::cout << gone.size() << "\n";
    return 0;
}
