// tests/crdt/semantics_test.cpp — the rows of docs/SEMANTICS.md, played on two and on three replicas.
//
// A row is a common past, commands that run concurrently, and what everybody must read afterwards. It is played with
// every assignment of the commands to the replicas, and each replica and a late one receive in every order, with
// duplicates; replicas beyond the commands only listen. A later command in a row has the later wall clock.
#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "crdt/leaf_key.hpp"
#include "crdt/types/deadline.hpp"
#include "crdt/types/presence.hpp"
#include "crdt/types/value.hpp"
#include "tests/catch.hpp"

using namespace skerry;

namespace {

// One command's deltas: they arrive together.
using Deltas = std::vector<std::pair<LeafKey, LeafDelta>>;

// One key at one replica; commands composed of mutators as the command layer does.
class Site {
  public:
    explicit Site(std::uint64_t id) : id_{id} {}

    Deltas take_deltas() { return std::exchange(deltas_, {}); }
    void set_wall(WallTime wall) { wall_ = wall; }
    void receive(const Deltas& deltas, bool twice = true) {
        for (const auto& [key, delta] : deltas) {
            if (clock_.contains(delta.entry.dot())) continue;
            leaves_[key].apply(delta);
            clock_.advance(delta.entry.dot());
            hlc_.observe(delta.entry.hlc, wall_);
        }
        if (twice) receive(deltas, false);
    }
    // State, without the order in which leaves came into being.
    [[nodiscard]] bool same_as(const Site& other) const {
        return leaves_ == other.leaves_ && clock_ == other.clock_;
    }

    // ---- strings
    void set(std::string_view bytes, WallTime deadline = value::kNoDeadline) {
        remove_elements(LeafKind::member, LeafKind::set_birth);
        remove_elements(LeafKind::field, LeafKind::hash_birth);
        remove_leaf(LeafKind::deadline, {});
        write(LeafKind::string, {}, value::set, value::Base{bytes, deadline});
    }
    // APPEND, SETRANGE and the like: a new base that repeats the time to live of the old one.
    void edit(std::string_view bytes) {
        begin();
        const auto winner = deadline::read(leaf(LeafKind::deadline), leaf(LeafKind::string));
        write(LeafKind::string, {}, value::set,
              value::Base{bytes, winner ? winner->at : value::kNoDeadline});
    }
    void incr(std::int64_t by) {
        begin();
        write(LeafKind::string, {}, value::add, value::amount_of(by));
    }
    void incr_real(long double by) {
        begin();
        write(LeafKind::string, {}, value::add, value::amount_of_real(by));
    }
    [[nodiscard]] std::string get() const {
        return value::text(value::read(leaf(LeafKind::string))).value_or("(nil)");
    }
    [[nodiscard]] std::string siblings() const {
        std::string text;
        for (const auto bytes : value::siblings(leaf(LeafKind::string)))
            text.append(bytes).append(" ");
        return text;
    }

    // ---- sets and hashes
    void sadd(std::string_view member) {
        begin(LeafKind::member, LeafKind::set_birth);
        write(LeafKind::member, member, presence::add);
    }
    void srem(std::string_view member) {
        write(LeafKind::member, member, presence::remove);
        end(LeafKind::member, LeafKind::set_birth);
    }
    void hset(std::string_view field, std::string_view bytes) {
        begin(LeafKind::field, LeafKind::hash_birth);
        write(LeafKind::field, field, value::set, value::Base{bytes, value::kNoDeadline});
    }
    void hdel(std::string_view field) {
        write(LeafKind::field, field, value::remove);
        end(LeafKind::field, LeafKind::hash_birth);
    }
    void hincr(std::string_view field, std::int64_t by) {
        begin(LeafKind::field, LeafKind::hash_birth);
        write(LeafKind::field, field, value::add, value::amount_of(by));
    }
    void hincr_real(std::string_view field, long double by) {
        begin(LeafKind::field, LeafKind::hash_birth);
        write(LeafKind::field, field, value::add, value::amount_of_real(by));
    }
    [[nodiscard]] std::string smembers() const {
        return elements(LeafKind::member,
                        [](const std::string& member, const Leaf&) { return member; });
    }
    [[nodiscard]] std::string hgetall() const {
        return elements(LeafKind::field, [](const std::string& field, const Leaf& leaf) {
            std::string text = field;
            return text.append("=").append(*value::text(value::read(leaf)));
        });
    }

    // ---- keys
    void del() {
        remove_leaf(LeafKind::string, {});
        remove_elements(LeafKind::member, LeafKind::set_birth);
        remove_elements(LeafKind::field, LeafKind::hash_birth);
        remove_leaf(LeafKind::deadline, {});
    }
    void expire(WallTime at) {
        write(LeafKind::deadline, {}, [&](const Leaf& seen, const Dot& dot, Hlc now) {
            return deadline::set(seen, leaf(LeafKind::string), dot, now, at);
        });
    }
    void persist() { expire(value::kNoDeadline); }
    // The removal that the writer of the deadline issues when it has come.
    void expire_now() {
        REQUIRE(issues_the_removal());
        del();
    }
    [[nodiscard]] std::string expires() const {
        const auto winner = deadline::read(leaf(LeafKind::deadline), leaf(LeafKind::string));
        return winner ? std::to_string(winner->at.count()) : "never";
    }
    [[nodiscard]] bool issues_the_removal() const {
        const auto winner = deadline::read(leaf(LeafKind::deadline), leaf(LeafKind::string));
        return winner && winner->replica == id_;
    }
    // The later birth shows, then the higher rank: string, set, hash.
    [[nodiscard]] std::string type() const {
        std::string type = "none";
        Hlc birth;
        const auto offer = [&](bool exists, Hlc born, const char* name) {
            if (!exists || (type != "none" && born < birth)) return;
            type = name;
            birth = born;
        };
        const value::Reading string = value::read(leaf(LeafKind::string));
        offer(string.exists, string.birth, "string");
        offer(!smembers().empty(), presence::latest(leaf(LeafKind::set_birth)), "set");
        offer(!hgetall().empty(), presence::latest(leaf(LeafKind::hash_birth)), "hash");
        return type;
    }

  private:
    // Lifetime: until the next command.
    [[nodiscard]] const Leaf& leaf(LeafKind kind, std::string_view sub = {}) const {
        static const Leaf bottom;
        const auto found = leaves_.find(LeafKey{0, kind, "k", std::string(sub)});
        return found == leaves_.end() ? bottom : found->second;
    }
    template <class Mutator, class... Arguments>
    void write(LeafKind kind, std::string_view sub, Mutator mutator,
               const Arguments&... arguments) {
        const LeafKey key{0, kind, "k", std::string(sub)};
        const Dot dot{id_, clock_.at(id_).next()};
        deltas_.emplace_back(key, mutator(leaves_[key], dot, hlc_.next(wall_), arguments...));
        leaves_[key].apply(deltas_.back().second);
        clock_.advance(dot);
    }
    void remove_leaf(LeafKind kind, const std::string& sub) {
        if (!leaf(kind, sub).any_live()) return;
        if (kind == LeafKind::string || kind == LeafKind::field)
            write(kind, sub, value::remove);
        else
            write(kind, sub, presence::remove);
    }
    void remove_elements(LeafKind kind, LeafKind birth) {
        const auto before = leaves_;
        for (const auto& [key, unused] : before)
            if (key.kind == kind) remove_leaf(kind, key.sub);
        remove_leaf(birth, {});
    }
    void begin() {
        if (type() == "none") remove_leaf(LeafKind::deadline, {});
    }
    void begin(LeafKind kind, LeafKind birth) {
        begin();
        if ((kind == LeafKind::member ? smembers() : hgetall()).empty())
            write(birth, {}, presence::add);
    }
    void end(LeafKind kind, LeafKind birth) {
        if ((kind == LeafKind::member ? smembers() : hgetall()).empty()) remove_leaf(birth, {});
    }
    template <class Show>
    [[nodiscard]] std::string elements(LeafKind kind, Show show) const {
        std::string text;
        for (const auto& [key, leaf] : leaves_) {
            if (key.kind != kind) continue;
            const bool live = kind == LeafKind::field ? value::read(leaf).exists : leaf.any_live();
            if (live) text += (text.empty() ? "" : " ") + show(key.sub, leaf);
        }
        return text;
    }

    ReplicaId id_;
    std::map<LeafKey, Leaf> leaves_;
    VersionVector clock_;
    HlcClock hlc_;
    WallTime wall_{1000};
    Deltas deltas_;
};

using Command = std::function<void(Site&)>;
using Check = std::function<void(const Site&)>;

std::vector<std::vector<std::size_t>> orders_of(std::size_t count) {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::vector<std::vector<std::size_t>> orders;
    do orders.push_back(order);
    while (std::next_permutation(order.begin(), order.end()));
    return orders;
}

// `place[i]` runs command i. The past is written by the first replica.
void play_at(std::size_t replicas, const std::vector<std::size_t>& place, const Command& past,
             const std::vector<Command>& commands, const Check& check) {
    std::vector<Site> sites;
    for (std::size_t i = 0; i < replicas; ++i) sites.emplace_back(i + 1);
    past(sites[0]);
    const Deltas common = sites[0].take_deltas();
    for (Site& site : sites) site.receive(common);
    std::vector<Deltas> news;
    for (std::size_t i = 0; i < commands.size(); ++i) {
        Site& site = sites[place[i]];
        site.set_wall(WallTime(2000 + 10 * static_cast<std::int64_t>(i)));
        commands[i](site);
        news.push_back(site.take_deltas());
    }
    Site late(99);
    late.receive(common);
    sites.push_back(late);
    Site reference = late;
    for (const Deltas& deltas : news) reference.receive(deltas);
    for (const Site& start : sites) {
        for (const auto& order : orders_of(news.size())) {
            Site site = start;
            for (const std::size_t index : order) site.receive(news[index]);
            for (const std::size_t index : order) site.receive(news[index]);
            REQUIRE(site.same_as(reference));
            check(site);
        }
    }
}

void play(const Command& past, const std::vector<Command>& commands, const Check& check) {
    for (const std::size_t replicas : {2, 3}) {
        if (commands.size() > replicas) continue;
        for (const auto& place : orders_of(replicas))
            play_at(replicas, place, past, commands, check);
    }
}

const Command kNothing = [](Site&) {};
Command set(std::string_view bytes) {
    return [bytes](Site& s) { s.set(bytes); };
}
Command incr(std::int64_t by) {
    return [by](Site& s) { s.incr(by); };
}
Command hset(std::string_view field, std::string_view bytes) {
    return [=](Site& s) { s.hset(field, bytes); };
}
Command expire(int at) {
    return [at](Site& s) { s.expire(WallTime(at)); };
}
const Command kDel = [](Site& s) { s.del(); };
Command then(Command first, Command second) {
    return [=](Site& s) {
        first(s);
        second(s);
    };
}
Check gets(std::string_view due) {
    return [due](const Site& s) { CHECK(s.get() == due); };
}
Check hash_is(std::string_view due) {
    return [due](const Site& s) { CHECK(s.hgetall() == due); };
}
Check set_is(std::string_view due) {
    return [due](const Site& s) { CHECK(s.smembers() == due); };
}
Check expires(std::string_view due) {
    return [due](const Site& s) { CHECK(s.expires() == due); };
}

}  // namespace

TEST_CASE("semantics: SET || SET, the last writer wins the whole value and the losers are siblings",
          "[crdt][semantics]") {
    play(kNothing, {set("a"), set("b")}, [](const Site& s) {
        CHECK(s.get() == "b");
        CHECK(s.siblings() == "a ");
    });
    play(set("old"), {set("a"), set("b"), set("c")}, [](const Site& s) {
        CHECK(s.get() == "c");
        CHECK((s.siblings() == "a b " || s.siblings() == "b a "));
    });
}

TEST_CASE("semantics: causal order beats clocks", "[crdt][semantics]") {
    // The past carries a clock far ahead; who has seen it wins over it all the same.
    const Command future = [](Site& s) {
        s.set_wall(WallTime(200000));
        s.set("ahead");
    };
    play(future, {set("seen")}, gets("seen"));
}

TEST_CASE(
    "semantics: APPEND || APPEND, the last writer's result wins and the other edit is a sibling",
    "[crdt][semantics]") {
    const auto append = [](std::string_view more) {
        return [more](Site& s) {
            const std::string whole = s.get().append(more);
            s.edit(whole);
        };
    };
    play(set("x"), {append("1"), append("2")}, [](const Site& s) {
        CHECK(s.get() == "x2");
        CHECK(s.siblings() == "x1 ");
    });
}

TEST_CASE("semantics: INCR || DECR, the sum of all", "[crdt][semantics]") {
    play(kNothing, {incr(5), incr(-2)}, gets("3"));
    play(set("10"), {incr(5), incr(-2), incr(100)}, gets("113"));
    play(incr(10), {then(incr(1), incr(1)), incr(INT64_MAX)}, gets("9223372036854775819"));
}

TEST_CASE("semantics: INCRBYFLOAT || INCRBYFLOAT, the sum with the same bits everywhere",
          "[crdt][semantics]") {
    std::vector<std::string> sums;
    const auto add = [](long double by) { return [by](Site& s) { s.incr_real(by); }; };
    play(set("10.5"), {add(0.1L), add(0.2L), add(-0.7L)},
         [&](const Site& s) { sums.push_back(s.get()); });
    for (const std::string& sum : sums) CHECK(sum == "10.1");
}

TEST_CASE("semantics: DEL || INCR, what DEL had seen is gone and the rest survives exactly",
          "[crdt][semantics]") {
    play(incr(10), {kDel, incr(1)}, gets("1"));
    play(incr(10), {incr(1), kDel}, gets("1"));
    play(set("10"), {kDel, incr(1)}, gets("1"));
    play(then(set("10"), incr(7)), {kDel, incr(1), incr(2)}, gets("3"));
    play(incr(10), {kDel, kDel, incr(1)}, gets("1"));
}

TEST_CASE("semantics: SET || INCR, unseen increments add to the new base", "[crdt][semantics]") {
    play(incr(10), {set("100"), incr(7)}, gets("107"));
    play(incr(10), {incr(7), set("100")}, gets("107"));
    play(set("5"), {set("100"), incr(7), incr(1)}, gets("108"));
    play(incr(10), {set("text"), incr(7)}, gets("text"));
}

TEST_CASE("semantics: DEL || SET, the SET survives whichever clock is later", "[crdt][semantics]") {
    play(set("old"), {kDel, set("new")}, gets("new"));
    play(set("old"), {set("new"), kDel}, gets("new"));
    play(set("old"), {set("new"), kDel, kDel}, gets("new"));
}

TEST_CASE("semantics: SETNX || SETNX, both say yes and the last writer wins", "[crdt][semantics]") {
    int yes = 0;
    const auto set_nx = [&yes](std::string_view bytes) {
        return [&yes, bytes](Site& s) {
            if (s.type() != "none") return;
            ++yes;
            s.set(bytes);
        };
    };
    play_at(2, {0, 1}, kNothing, {set_nx("a"), set_nx("b")}, gets("b"));
    CHECK(yes == 2);
}

TEST_CASE("semantics: SADD || SREM, the add wins", "[crdt][semantics]") {
    const auto sadd = [](std::string_view m) { return [m](Site& s) { s.sadd(m); }; };
    const auto srem = [](std::string_view m) { return [m](Site& s) { s.srem(m); }; };
    play(sadd("m"), {srem("m"), sadd("m")}, set_is("m"));
    play(sadd("m"), {sadd("m"), srem("m"), srem("m")}, set_is("m"));
    play(kNothing, {sadd("m"), srem("m")},
         set_is("m"));  // SREM of an unseen add does nothing to it
    play(sadd("m"), {srem("m"), sadd("n")}, set_is("n"));
    play(sadd("m"), {srem("m"), srem("m")}, set_is(""));  // SPOP of one member in two regions
    play(then(sadd("m"), sadd("n")), {kDel, sadd("o")}, set_is("o"));
    // SMOVE, SINTERSTORE: observed removes and adds.
    play(then(sadd("m"), sadd("n")), {then(kDel, sadd("n")), sadd("m")}, set_is("m n"));
}

TEST_CASE("semantics: HSET || HDEL, the add wins and a field's value is the last writer's",
          "[crdt][semantics]") {
    const Command hdel = [](Site& s) { s.hdel("f"); };
    play(hset("f", "0"), {hdel, hset("f", "1")}, hash_is("f=1"));
    play(hset("f", "0"), {hset("f", "1"), hdel}, hash_is("f=1"));
    play(hset("f", "0"), {hset("f", "1"), hset("f", "2")}, hash_is("f=2"));
    play(hset("f", "0"), {hset("g", "1"), hset("h", "2"), hdel}, hash_is("g=1 h=2"));
    play(hset("f", "0"), {kDel, hset("g", "1")}, hash_is("g=1"));
}

TEST_CASE("semantics: HINCRBY || HDEL, the unseen part stays", "[crdt][semantics]") {
    const auto hincr = [](std::int64_t by) { return [by](Site& s) { s.hincr("f", by); }; };
    const Command hdel = [](Site& s) { s.hdel("f"); };
    const Command half = [](Site& s) { s.hincr_real("f", 0.5L); };
    play(kNothing, {hincr(1), hincr(2)}, hash_is("f=3"));
    play(hincr(10), {hdel, hincr(1)}, hash_is("f=1"));
    play(hincr(10), {kDel, hincr(1), half}, hash_is("f=1.5"));
    play(hset("f", "7"), {hset("f", "100"), hincr(1)}, hash_is("f=101"));
}

TEST_CASE("semantics: EXPIRE || EXPIRE, the longest wins and PERSIST is infinite",
          "[crdt][semantics]") {
    const Command persist = [](Site& s) { s.persist(); };
    play(set("v"), {expire(5000), expire(9000)}, expires("9000"));
    play(set("v"), {expire(9000), expire(5000), expire(7000)}, expires("9000"));
    play(set("v"), {persist, expire(5000)}, expires("never"));
    play(then(set("v"), expire(9000)), {expire(5000)},
         expires("5000"));  // seen: the new one counts
    play([](Site& s) { s.sadd("m"); }, {expire(5000), expire(9000)}, expires("9000"));
}

TEST_CASE("semantics: SET || EXPIRE, a SET without a time to live counts as PERSIST",
          "[crdt][semantics]") {
    const auto set_ex = [](int at) { return [at](Site& s) { s.set("x", WallTime(at)); }; };
    play(set("v"), {set("w"), expire(5000)}, expires("never"));
    play(set("v"), {expire(5000), set("w")}, expires("never"));
    play(set("v"), {set_ex(5000), set("w")}, expires("never"));
    play(set("v"), {set_ex(5000), expire(9000)}, expires("9000"));
    play(set("v"), {set_ex(9000), expire(5000), set_ex(7000)}, expires("9000"));
    play(then(set("v"), expire(5000)), {set("w")}, expires("never"));
}

TEST_CASE("semantics: APPEND || EXPIRE, an edit repeats the time to live it had seen",
          "[crdt][semantics]") {
    const Command edit = [](Site& s) { s.edit("vw"); };
    play(then(set("v"), expire(5000)), {edit, expire(9000)}, expires("9000"));
    play(then(set("v"), expire(5000)), {expire(3000), edit}, expires("5000"));
    play(set("v"), {edit, expire(5000)}, expires("never"));
}

TEST_CASE("semantics: a key that comes into being has no time to live of an earlier one",
          "[crdt][semantics]") {
    // EXPIRE met a concurrent DEL: its leaf is left without a key, until the next one is born.
    Site a(1);
    Site b(2);
    a.set("v");
    b.receive(a.take_deltas());
    a.expire(WallTime(5000));
    b.del();
    b.receive(a.take_deltas());
    CHECK(b.type() == "none");
    b.incr(1);
    a.receive(b.take_deltas());
    for (const Site& site : {a, b}) {
        CHECK(site.get() == "1");
        CHECK(site.expires() == "never");
    }
}

TEST_CASE("semantics: expiry || write, what expiry had not observed survives",
          "[crdt][semantics]") {
    const Command expiry = [](Site& s) { s.del(); };
    play(then(set("v"), expire(1500)), {expiry, set("new")}, [](const Site& s) {
        CHECK(s.get() == "new");
        CHECK(s.expires() == "never");
    });
    play(then(incr(10), expire(1500)), {expiry, incr(1)}, gets("1"));
    play(then(set("v"), expire(1500)), {expiry, expiry}, gets("(nil)"));
}

TEST_CASE("semantics: only the replica that wrote the winning deadline issues the removal",
          "[crdt][semantics]") {
    const auto counted = [](std::size_t replicas, const std::vector<Command>& commands) {
        std::vector<Site> sites;
        for (std::size_t i = 0; i < replicas; ++i) sites.emplace_back(i + 1);
        sites[0].set("v");
        const Deltas common = sites[0].take_deltas();
        for (std::size_t i = 0; i < commands.size(); ++i) {
            sites[i].receive(common);
            commands[i](sites[i]);
        }
        std::vector<Deltas> news;
        for (Site& site : sites) news.push_back(site.take_deltas());
        for (Site& site : sites) {
            site.receive(common);
            for (const Deltas& deltas : news) site.receive(deltas);
        }
        return std::ranges::count_if(sites, &Site::issues_the_removal);
    };
    CHECK(counted(2, {expire(5000), expire(9000)}) == 1);
    CHECK(counted(2, {expire(5000), expire(5000)}) ==
          1);  // equal deadlines: the greater replica id
    CHECK(counted(3, {expire(5000), expire(9000), expire(9000)}) == 1);
    CHECK(counted(3, {expire(5000)}) == 1);
    Site only(1);
    only.set("v");
    only.expire(WallTime(500));
    only.expire_now();
    CHECK(only.type() == "none");
}

TEST_CASE("semantics: SET || SADD, the later birth shows and both stay until seen",
          "[crdt][semantics]") {
    const Command sadd = [](Site& s) { s.sadd("m"); };
    const auto type_is = [](std::string_view due) {
        return [due](const Site& s) { CHECK(s.type() == due); };
    };
    play(kNothing, {set("v"), sadd}, [](const Site& s) {
        CHECK(s.type() == "set");
        CHECK(s.get() == "v");  // the sub-state that does not show
    });
    play(kNothing, {sadd, set("v")}, type_is("string"));
    play(kNothing, {set("v"), sadd, hset("f", "1")}, type_is("hash"));
    play(kNothing, {hset("f", "1"), sadd, set("v")}, type_is("string"));
}

TEST_CASE("semantics: DEL clears what it observed of every type", "[crdt][semantics]") {
    const Command sadd = [](Site& s) { s.sadd("m"); };
    const Command both = [](Site& s) {
        s.sadd("m");
        s.incr(3);
        s.hset("f", "1");
    };
    play(both, {kDel}, [](const Site& s) { CHECK(s.type() == "none"); });
    play(both, {kDel, incr(2)}, [](const Site& s) {
        CHECK(s.type() == "string");
        CHECK(s.get() == "2");
    });
    play(both, {kDel, sadd}, [](const Site& s) {
        CHECK(s.type() == "set");
        CHECK(s.smembers() == "m");
    });
}
