#include "net/rateless_iblt.hpp"

#include <algorithm>
#include <iostream>

#include "tests/catch.hpp"
#include "tests/seeds.hpp"

namespace skerry {
namespace {

using testing::Random;
using Items = std::vector<std::uint64_t>;

std::vector<CodedSymbol> symbols_of(const SipKey& key, const Items& items, std::uint64_t first,
                                    std::size_t count) {
    std::vector<CodedSymbol> symbols(count);
    for (const std::uint64_t item : items) encode_item(key, item, first, symbols);
    return symbols;
}

struct Sets {
    SipKey key;
    Items mine, theirs, mine_only, theirs_only;
};

Sets some_sets(Random& random, std::size_t common, std::size_t mine, std::size_t theirs) {
    Sets sets{.key = {random.next(), random.next()},
              .mine = {},
              .theirs = {},
              .mine_only = {},
              .theirs_only = {}};
    for (std::size_t i = 0; i < common; ++i) sets.mine.push_back(random.next());
    sets.theirs = sets.mine;
    for (std::size_t i = 0; i < mine; ++i) sets.mine_only.push_back(random.next());
    for (std::size_t i = 0; i < theirs; ++i) sets.theirs_only.push_back(random.next());
    sets.mine.insert(sets.mine.end(), sets.mine_only.begin(), sets.mine_only.end());
    sets.theirs.insert(sets.theirs.end(), sets.theirs_only.begin(), sets.theirs_only.end());
    std::ranges::sort(sets.mine_only);
    std::ranges::sort(sets.theirs_only);
    return sets;
}

Items sorted(Items items) {
    std::ranges::sort(items);
    return items;
}

// How many symbols it took, in steps of `step`.
std::size_t decode(const Sets& sets, std::size_t step) {
    DifferenceDecoder decoder(sets.key, sets.mine);
    for (bool done = false; !done;) {
        const auto taken =
            decoder.take(symbols_of(sets.key, sets.theirs, decoder.symbol_count(), step));
        REQUIRE(taken.has_value());
        done = *taken;
        REQUIRE(decoder.symbol_count() < 100'000);
    }
    CHECK(sorted(decoder.mine_only()) == sets.mine_only);
    CHECK(sorted(decoder.theirs_only()) == sets.theirs_only);
    return decoder.symbol_count();
}

TEST_CASE("sip_hash: the vector of its paper", "[net][sip_hash]") {
    std::string input;
    for (char c = 0; c < 15; ++c) input.push_back(c);
    CHECK(sip_hash({0x0706050403020100, 0x0f0e0d0c0b0a0908}, input) == 0xa129ca6149be45e5);
}

TEST_CASE("rateless_iblt: exactly the symmetric difference is decoded, whatever the sets",
          "[net][rateless_iblt]") {
    testing::for_each_seed(200, [](Random& random) {
        const std::size_t most = random.one_in(10) ? 2000 : 30;
        const Sets sets =
            some_sets(random, random.below(500), random.below(most), random.below(most));
        (void)decode(sets, random.between(1, 40));
    });
}

TEST_CASE("rateless_iblt: equal sets take one symbol, empty ones too", "[net][rateless_iblt]") {
    Random random(4);
    CHECK(decode(some_sets(random, 1000, 0, 0), 1) == 1);
    CHECK(decode(some_sets(random, 0, 0, 0), 1) == 1);
}

TEST_CASE("rateless_iblt: a stream is the same in whichever pieces it is made",
          "[net][rateless_iblt]") {
    Random random(4);
    const Sets sets = some_sets(random, 300, 0, 0);
    const auto whole = symbols_of(sets.key, sets.mine, 0, 100);
    const auto part = symbols_of(sets.key, sets.mine, 37, 20);
    CHECK(std::equal(part.begin(), part.end(), whole.begin() + 37));
}

// What the paper promises, and the bytes of a reconciliation rely on.
TEST_CASE("rateless_iblt: symbols for one difference", "[net][rateless_iblt]") {
    Random random(4711);
    for (const std::size_t differences : {1, 10, 100, 1000, 10'000}) {
        const std::size_t rounds = differences >= 10'000 ? 3 : 30;
        std::size_t symbols = 0;
        for (std::size_t i = 0; i < rounds; ++i)
            symbols +=
                decode(some_sets(random, 100, differences / 2, differences - differences / 2),
                       std::max<std::size_t>(1, differences / 50));
        const double overhead =
            static_cast<double>(symbols) / static_cast<double>(rounds * differences);
        std::cout << "  " << differences << " differences: " << overhead << " symbols each\n";
        CHECK(overhead < (differences >= 100 ? 1.6 : 2.5));
    }
}

TEST_CASE("rateless_iblt: no symbols hang or crash the decoder", "[net][rateless_iblt]") {
    const SipKey key{1, 2};
    const auto alone = [&](std::uint64_t item) { return CodedItem(key, item).symbol(); };
    std::size_t refused = 0;
    testing::for_each_seed(300, [&](Random& random) {
        DifferenceDecoder decoder(key, {1, 2, 3});
        for (int part = 0; part < 5; ++part) {
            std::vector<CodedSymbol> symbols(random.below(20));
            for (CodedSymbol& symbol : symbols) {
                // Single items where they do not belong, and again and again; and anything.
                symbol = random.one_in(3) ? CodedSymbol{random.next(), random.next()}
                                          : alone(random.below(5));
                if (random.one_in(2)) symbol ^= alone(random.below(5));
            }
            if (const auto taken = decoder.take(symbols); !taken) {
                CHECK(taken.error().code == Code::malformed);
                ++refused;
                break;
            }
        }
        CHECK(decoder.mine_only().size() + decoder.theirs_only().size() <= decoder.symbol_count());
    });
    CHECK((refused > 100 || std::getenv("SKERRY_SEED") != nullptr));
}

}  // namespace
}  // namespace skerry
