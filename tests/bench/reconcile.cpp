// tests/bench/reconcile.cpp — bytes and time of a full reconcile: so many differences among so many leaves.
//
// World    a node that was away. Of the differences one half are leaves that the peer has changed since, the other half leaves
//          that it has removed, and purged: nothing but the comparison finds those.
// Counted  every frame of both directions. `payload` is the changed leaves' own bytes, as they are encoded; `over` is all beyond
//          it and beyond the digests of the slices, a difference.
#include <chrono>
#include <cstdio>
#include <iostream>

#include "sim/random.hpp"
#include "tests/support/reconcile_wire.hpp"
#include "tests/support/store_place.hpp"

namespace skerry {
namespace {

constexpr std::uint16_t kShards = 17;  // with that of the configuration

std::string name_of(std::size_t i) { return "user:" + std::to_string(i); }
// Nothing that zstd could make shorter.
std::string value_of(std::size_t i) {
    sim::Random random(i);
    std::string value;
    while (value.size() < 100) value.push_back(static_cast<char>(random.next()));
    return value;
}

StoreOptions roomy() {
    StoreOptions options;
    options.memory_bytes = std::size_t{8} << 30;
    options.flip_bytes_max = ~std::size_t{0};
    return options;
}

ShardClocks bases_of(const ShardClocks& clocks) {
    ShardClocks bases;
    for (std::uint16_t i = 0; i < kShards; ++i) bases.emplace_back(ShardId{i}, VersionVector{});
    for (const auto& [shard, clock] : clocks) bases[shard.value].second = clock;
    return bases;
}

// What `from` shows, and its clocks: as it is after a purge.
void copy(StorePlace& from, StorePlace& to, std::uint64_t session, std::uint64_t& payload,
          const ShardClocks& base) {
    std::map<ShardId, VersionVector> known(base.begin(), base.end());
    Stage stage{.session = session, .clocks = from->clocks(), .leaves = {}, .cursor = {}};
    from->for_each_key(0, 0, [&](const KeyRecord& record) {
        if (!record.string.any_live()) return true;
        const PulledLeaf leaf{{0, LeafKind::string, std::string(record.key.view()), {}},
                              record.string};
        if (leaf.leaf.outside(known[record.address.shard])) payload += encode_leaf(leaf).size();
        stage.leaves.push_back({leaf.key, leaf.leaf});
        if (stage.leaves.size() < 10'000) return true;
        to->stage(stage);
        stage.leaves.clear();
        return true;
    });
    to->stage(stage);
    to.flip(session, from->clocks());
    to.commit();
}

void measure(std::size_t leaves, std::size_t differences) {
    StorePlace writer(1, roomy());
    for (std::size_t i = 0; i < leaves; ++i) {
        writer.set(name_of(i), value_of(i));
        if (i % 10'000 == 0) writer.commit();
    }
    writer.commit();
    StorePlace away(2, roomy()), peer(3, roomy());
    std::uint64_t payload = 0;
    copy(writer, away, 5, payload, writer->clocks());
    const ShardClocks base = bases_of(away->clocks());
    for (std::size_t i = 0; i < differences; ++i) {
        const std::string key = name_of(i * (leaves / differences));
        i % 2 == 0 ? writer.set(key, value_of(i + 1)) : writer.remove(key);
        if (i % 10'000 == 0) writer.commit();
    }
    writer.commit();
    payload = 0;
    copy(writer, peer, 6, payload, base);
    peer.checkpoint();

    WireBytes everything, pulled, compared;
    (void)pull_all(peer.kv(), bases_of({}), 8, nullptr, everything);
    const auto begun = std::chrono::steady_clock::now();
    const ShardClocks clocks = pull_all(peer.kv(), base, 9, &*away, pulled);
    away.commit();
    Reconciliation asker(*away);
    asker.begin_full(
        subject_of(*peer),
        {.session = 9, .bases = base, .runs = {{.first = 0, .end = base.size(), .from = {}}}},
        MonoTime(1000));
    (void)play(asker, *peer, compared, [] {}, [&] { away.commit(); });
    away.flip(9, clocks);
    away.commit();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    const std::uint64_t digests = compared.slices;
    const double over = (static_cast<double>(pulled.all() + compared.all()) -
                         static_cast<double>(payload + digests)) /
                        static_cast<double>(differences);
    std::printf("| %zu | %zu | %llu | %llu | %llu | %.1f | %llu | %.2f | %llu | %llu | %s |\n",
                leaves, differences, static_cast<unsigned long long>(payload),
                static_cast<unsigned long long>(pulled.all() + compared.all()),
                static_cast<unsigned long long>(digests), over,
                static_cast<unsigned long long>(everything.all()), took.count(),
                static_cast<unsigned long long>(pulled.requests + compared.requests),
                static_cast<unsigned long long>(pulled.round_trips + compared.round_trips),
                away.digests() == peer.digests() ? "equal" : "DIFFERENT");
    std::fflush(stdout);
}

TEST_CASE("reconcile: bytes and time") {
    std::puts(
        "| leaves | differences | payload | all | digests | over, each | everything | s | requests "
        "| round trips | |");
    for (const std::size_t differences : {10, 1000}) measure(10'000, differences);
    for (const std::size_t differences : {10, 1000, 100'000}) measure(1'000'000, differences);
}

}  // namespace
}  // namespace skerry
