// tests/fuzz/record_fuzz.cpp — any bytes are an error or a record; what a batch of a peer holds can be applied, read and written again.
//
// With clang and SKERRY_FUZZ it is a libFuzzer target (record_fuzz tests/corpus/record); else tests/store/record_corpus_test.cpp
// calls the same function with every file of tests/corpus/record.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "crdt/assert.hpp"
#include "crdt/types/deadline.hpp"
#include "crdt/types/value.hpp"
#include "store/record.hpp"

namespace {
using namespace skerry;

void read(LeafKind kind, const Leaf& leaf) {
    switch (kind) {
        case LeafKind::string:
        case LeafKind::field: {
            const auto reading = value::read(leaf);
            static_cast<void>(value::text(reading));
            static_cast<void>(value::integer(reading));
            static_cast<void>(value::real(reading));
            static_cast<void>(value::siblings(leaf));
            ASSERT(!value::plain(leaf) || value::text(reading) == value::plain(leaf));
            return;
        }
        case LeafKind::deadline:
            static_cast<void>(deadline::read(leaf, Leaf()));
            return;
        default:
            return;
    }
}

void check(const Batch& batch) {
    std::map<LeafKey, Leaf> leaves;
    BatchBuilder builder;
    for (const Operation& operation : batch.operations) {
        Leaf& leaf = leaves[operation.key];
        leaf.apply(operation.delta);
        read(operation.key.kind, leaf);
        builder.add(operation.key.database, operation.key.key, operation.key.kind,
                    operation.key.sub, operation.delta);
    }
    std::string bytes;
    builder.finish(bytes, batch.writer, batch.ranges);
    const auto again = decode_batch(bytes);
    ASSERT(again.has_value());
    ASSERT(again->operations == batch.operations);
    ASSERT(again->ranges == batch.ranges);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t count) {
    const auto record = decode_record(std::string_view(reinterpret_cast<const char*>(data), count));
    if (!record) return 0;
    if (const auto* batch = std::get_if<Batch>(&*record)) check(*batch);
    if (const auto* remote = std::get_if<Remote>(&*record)) check(remote->batch);
    if (const auto* stage = std::get_if<Stage>(&*record))
        for (const StagedLeaf& staged : stage->leaves) read(staged.key.kind, staged.leaf);
    return 0;
}
