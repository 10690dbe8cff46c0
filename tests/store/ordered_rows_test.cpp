// tests/store/ordered_rows_test.cpp — rows in the order of their hashes, beside a std::map that is asked the same.
#include "store/ordered_rows.hpp"

#include <map>

#include "tests/catch.hpp"
#include "tests/seeds.hpp"

using namespace skerry;
namespace {

using testing::Random;

struct Place {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend constexpr auto operator<=>(const Place&, const Place&) = default;
    [[nodiscard]] std::uint64_t prefix() const { return high; }
};

struct Row {
    Place place;
    int value = 0;
    [[nodiscard]] const Place& order() const { return place; }
};

using Rows = OrderedRows<Row>;
using Model = std::map<Place, int>;

void check_same(const Rows& rows, const Model& model) {
    CHECK(rows.count() == model.size());
    auto next = rows.begin();
    for (const auto& [place, value] : model) {
        REQUIRE(next != rows.end());
        REQUIRE(next->place == place);
        REQUIRE(next->value == value);
        ++next;
    }
    CHECK(next == rows.end());
}

// How the places of one test are spread.
using Spread = Place (*)(Random&);
Place even(Random& random) { return {random.next(), random.next()}; }
Place one_prefix(Random& random) { return {7, random.below(2000)}; }
Place one_slot(Random& random) {  // many keys of one hash tag, few others
    return random.one_in(10) ? even(random)
                             : Place{(std::uint64_t{77} << 50) + random.below(5000), 0};
}
Place two_ends(Random& random) {
    return {random.one_in(2) ? random.below(1000) : ~std::uint64_t{0} - random.below(1000),
            random.below(3)};
}

void compare_with_model(Spread spread, Random& random) {
    Rows rows;
    Model model;
    for (int i = 0; i < 20000; ++i) {
        const Place place = spread(random);
        const auto known = model.find(place);
        Row* const found = rows.find(place);
        REQUIRE((found != nullptr) == (known != model.end()));
        const auto from = rows.lower_bound(place);
        const auto model_from = model.lower_bound(place);
        REQUIRE((from == rows.end()) == (model_from == model.end()));
        if (from != rows.end()) REQUIRE(from->place == model_from->first);
        const bool shrinking = i / 4000 % 2 == 1;
        if (found == nullptr && !shrinking) {
            Row& made = rows.insert(std::make_unique<Row>(Row{place, i}));
            CHECK(&made == rows.find(place));
            model.emplace(place, i);
        } else if (shrinking && from != rows.end()) {
            const auto behind = rows.erase(from);
            const auto model_behind = model.erase(model_from);
            REQUIRE((behind == rows.end()) == (model_behind == model.end()));
            if (behind != rows.end()) REQUIRE(behind->place == model_behind->first);
        }
    }
    check_same(rows, model);
}

}  // namespace

TEST_CASE("ordered_rows: does what an ordered map does, however the places are spread",
          "[store][ordered_rows]") {
    const Spread spread = GENERATE(even, one_prefix, one_slot, two_ends);
    testing::for_each_seed(3, [&](Random& random) { compare_with_model(spread, random); });
}

TEST_CASE("ordered_rows: rows stay where they are, and a moved-from one is empty",
          "[store][ordered_rows]") {
    Random random(1);
    Rows rows;
    Row& first = rows.insert(std::make_unique<Row>(Row{{1, 1}, 1}));
    for (int i = 0; i < 5000; ++i) rows.insert(std::make_unique<Row>(Row{even(random), i}));
    CHECK(&first == rows.find({1, 1}));
    Rows others = std::move(rows);
    CHECK(others.count() == 5001);
    CHECK(&first == others.find({1, 1}));
    CHECK(rows.empty());
    CHECK(rows.begin() == rows.end());
}
