// tests/node/replica_test.cpp — the library: exchange in any order, what is refused, and what a second opening finds.
#include "node/replica.hpp"

#include <algorithm>
#include <random>

#include "tests/catch.hpp"
#include "tests/support/temporary_directory.hpp"

namespace skerry {
namespace {

class Place {
  public:
    [[nodiscard]] Replica open(const std::string& name, ReplicaOptions options = {}) const {
        auto replica = Replica::open(directory_.path / name, std::move(options));
        if (!replica) FAIL(replica.error().text());
        return std::move(*replica);
    }
    [[nodiscard]] std::filesystem::path at(const std::string& name) const {
        return directory_.path / name;
    }

  private:
    TemporaryDirectory directory_;
};

std::string changes(Replica& to, Replica& from) {
    const auto request = to.request();
    REQUIRE(request.has_value());
    auto answer = from.changes_for(*request);
    if (!answer) FAIL(answer.error().text());
    return std::move(*answer);
}

void receive(Replica& replica, const std::string& bytes) {
    const auto received = replica.receive(bytes);
    if (!received) FAIL(received.error().text());
}

// Everything that the tests below write, as text.
std::string shown(Replica& replica) {
    std::string out;
    for (int i = 0; i < 8; ++i) {
        const std::string at = std::to_string(i);
        out += " c" + at + "=" + replica.get("count" + at)->value_or("-") + " s" + at + "=";
        const auto members = replica.set_members("set" + at);
        for (const std::string& member : *members) out += member + ",";
        out += " h" + at + "=";
        const auto fields = replica.hash_fields("hash" + at);
        for (const auto& [field, value] : *fields) out += field + ":" + value + ",";
    }
    return out;
}

void write_anything(Replica& replica, std::mt19937& random) {
    const std::string at = std::to_string(random() % 8);
    const std::string sub = std::to_string(random() % 5);
    switch (random() % 7) {
        case 0:
            REQUIRE(replica.add("count" + at, static_cast<std::int64_t>(random() % 100)));
            break;
        case 1:
            REQUIRE(replica.set_add("set" + at, sub));
            break;
        case 2:
            REQUIRE(replica.set_remove("set" + at, sub));
            break;
        case 3:
            REQUIRE(replica.hash_set("hash" + at, sub, std::to_string(random() % 100)));
            break;
        case 4:
            REQUIRE(replica.hash_remove("hash" + at, sub));
            break;
        case 5:
            REQUIRE(replica.hash_add("hash" + at, "n", 1));
            break;
        default:
            REQUIRE(replica.remove("set" + at));
            break;
    }
}

}  // namespace

TEST_CASE("replica: a concurrent add wins, and increments are summed", "[node][replica]") {
    const Place place;
    Replica a = place.open("a");
    Replica b = place.open("b");
    CHECK(*a.set_add("cart", "bread"));
    CHECK(*a.add("visits", 1) == 1);
    receive(b, changes(b, a));
    CHECK(*b.set_contains("cart", "bread"));
    CHECK(*b.set_remove("cart", "bread"));
    CHECK(*b.add("visits", 10) == 11);
    CHECK_FALSE(*a.set_add("cart", "bread"));
    CHECK(*a.add("visits", 100) == 101);
    receive(b, changes(b, a));
    receive(a, changes(a, b));
    for (Replica* replica : {&a, &b}) {
        CHECK(replica->get("visits")->value() == "111");
        CHECK(*replica->set_contains("cart", "bread"));
    }
}

TEST_CASE("replica: lost, repeated and late answers in any order end in agreement",
          "[node][replica]") {
    const unsigned seed = GENERATE(1u, 2u, 3u);
    CAPTURE(seed);
    std::mt19937 random(seed);
    const Place place;
    std::vector<Replica> all;
    for (const char* name : {"a", "b", "c"}) all.push_back(place.open(name, {.shard_count = 4}));
    std::vector<std::pair<std::size_t, std::string>> under_way;
    for (int i = 0; i < 150; ++i) {
        for (int n = 0; n < 4; ++n) write_anything(all[random() % 3], random);
        const std::size_t to = random() % 3;
        under_way.emplace_back(to, changes(all[to], all[(to + 1 + random() % 2) % 3]));
        const std::size_t chosen = random() % under_way.size();
        if (random() % 3 != 0) receive(all[under_way[chosen].first], under_way[chosen].second);
        if (random() % 3 == 0)
            under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
    REQUIRE(shown(all[0]) != shown(all[1]));
    for (const std::size_t to : {0u, 1u, 2u, 0u, 1u})
        receive(all[to], changes(all[to], all[(to + 2) % 3]));
    CHECK(shown(all[0]) == shown(all[1]));
    CHECK(shown(all[1]) == shown(all[2]));
    const std::string before = shown(all[0]);
    for (const auto& [to, bytes] : under_way) receive(all[to], bytes);
    CHECK(shown(all[0]) == before);
}

TEST_CASE("replica: large values and many keys cross in pieces", "[node][replica]") {
    const Place place;
    Replica a = place.open("a");
    Replica b = place.open("b");
    const std::string large(5'000'000, 'x');
    REQUIRE(a.set("large", large));
    for (int i = 0; i < 20'000; ++i)
        REQUIRE(a.set("key" + std::to_string(i), std::string(100, 'v')));
    receive(b, changes(b, a));
    CHECK(b.get("large")->value() == large);
    for (int i = 0; i < 20'000; i += 501) CHECK(b.exists("key" + std::to_string(i)).value());
    CHECK(changes(b, a).size() < 20'000);  // nothing but clocks
}

TEST_CASE("replica: an answer to one that knew more is refused", "[node][replica]") {
    const Place place;
    Replica a = place.open("a");
    Replica b = place.open("b");
    Replica c = place.open("c");
    REQUIRE(a.set("key", "1"));
    receive(b, changes(b, a));
    REQUIRE(a.set("key", "2"));
    const auto refused = c.receive(changes(b, a));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Code::refused);
    CHECK(*c.get("key") == std::nullopt);
}

TEST_CASE("replica: what is damaged or of another cluster is refused, and changes nothing",
          "[node][replica]") {
    const Place place;
    Replica a = place.open("a");
    Replica b = place.open("b");
    REQUIRE(a.set("key", "value"));
    const std::string bytes = changes(b, a);
    for (std::size_t end = 0; end < bytes.size(); end += 1 + end / 50) {
        CHECK_FALSE(b.receive(std::string_view(bytes).substr(0, end)).has_value());
        std::string damaged = bytes;
        damaged[end] = static_cast<char>(damaged[end] ^ 0x20);
        CHECK_FALSE(b.receive(damaged).has_value());
        CHECK_FALSE(a.changes_for(damaged).has_value());
    }
    CHECK_FALSE(b.receive(bytes + "x").has_value());
    Replica other = place.open("other", {.cluster = "other"});
    CHECK(other.receive(bytes).error().code == Code::refused);
    CHECK(*b.get("key") == std::nullopt);
    receive(b, bytes);
    CHECK(b.get("key")->value() == "value");
}

TEST_CASE("replica: a second opening finds what was committed; a directory is used once",
          "[node][replica]") {
    const Place place;
    {
        Replica a = place.open("a");
        REQUIRE(a.hash_set("hash", "field", "value"));
        REQUIRE(a.expire_in("hash", std::chrono::hours(1)));
        CHECK(Replica::open(place.at("a")).error().code == Code::refused);
    }
    Replica a = place.open("a");
    CHECK(a.hash_get("hash", "field")->value() == "value");
    CHECK(*a.expire_in("hash", std::chrono::milliseconds(0)));
    CHECK_FALSE(*a.exists("hash"));
}

TEST_CASE("replica: wrong types and limits are errors that change nothing", "[node][replica]") {
    const Place place;
    Replica a = place.open("a");
    REQUIRE(a.set("text", "value"));
    CHECK(a.set_add("text", "x").error().code == Code::wrong_type);
    CHECK(a.hash_get("text", "x").error().code == Code::wrong_type);
    CHECK(a.add("text", 1).error().code == Code::not_a_number);
    CHECK(a.set(std::string(64 * 1024 + 1, 'k'), "v").error().code == Code::too_large);
    CHECK(a.set("text", std::string(64 * 1024 * 1024 + 1, 'v')).error().code == Code::too_large);
    CHECK(a.get("text")->value() == "value");
}

}  // namespace skerry
