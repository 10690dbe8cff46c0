#include "store/record.hpp"

#include "crdt/types/clear.hpp"
#include "crdt/types/deadline.hpp"
#include "crdt/types/value.hpp"
#include "store/log.hpp"

namespace skerry {

namespace {

enum class RecordKind : std::uint8_t {
    batch = 1,
    remote = 2,
    stage = 3,
    flip = 4,
    boot = 5,
    repair = 6,
    passed = 7
};

void begin(Packer& packer, RecordKind kind, std::size_t count) {
    packer.array(1 + count);
    packer.number(static_cast<std::uint8_t>(kind));
}

// A payload is opaque to the codec; whoever applies it later may rely on its form.
void check_payload(Unpacker& in, LeafKind kind, const Entry& entry) {
    if (!sound_payload(kind, entry)) in.reject("a payload");
}

ShardId read_shard(Unpacker& in) {
    return ShardId{static_cast<std::uint16_t>(in.number_up_to(kShardCountMax - 1))};
}

Batch read_batch(Unpacker& in) {
    Batch batch;
    in.writer_table();
    batch.writer = in.replica();
    const std::size_t range_count = in.array();
    if (range_count % 3 != 0) in.reject("ranges");
    for (std::size_t i = 0; i < range_count && !in.failed(); i += 3) {
        ShardRange range;
        range.shard = read_shard(in);
        range.after = Seq{in.number()};
        range.last = Seq{in.number()};
        if (range.last <= range.after) in.reject("an empty range");
        if (!batch.ranges.empty() && batch.ranges.back().shard >= range.shard)
            in.reject("ranges out of order");
        batch.ranges.push_back(range);
    }
    const std::size_t element_count = in.array();
    std::size_t read_count = 0;
    while (read_count < element_count && !in.failed()) {
        Operation operation;
        if (in.take_nil()) {
            if (batch.operations.empty()) in.reject("no key to repeat");
            if (in.failed()) break;
            operation.key.database = batch.operations.back().key.database;
            operation.key.key = batch.operations.back().key.key;
            read_count += 1;
        } else {
            operation.key.database = static_cast<DatabaseId>(in.number_up_to(kDatabaseIdCount - 1));
            operation.key.key = in.bytes(kKeyBytesMax);
            read_count += 2;
        }
        const std::uint64_t kind = in.number_up_to(255);
        if (!is_known(static_cast<std::uint8_t>(kind))) in.reject("a leaf is of an unknown kind");
        operation.key.kind = static_cast<LeafKind>(kind);
        operation.key.sub = in.bytes(kValueBytesMax);
        operation.delta = in.leaf_delta();
        read_count += 3;
        if (!in.failed()) check_payload(in, operation.key.kind, operation.delta.entry);
        if (operation.delta.entry.replica != batch.writer) in.reject("another writer's operation");
        batch.operations.push_back(std::move(operation));
    }
    return batch;
}

std::vector<StagedLeaf> read_leaves(Unpacker& in) {
    std::vector<StagedLeaf> leaves;
    const std::size_t count = in.array();
    if (count % 2 != 0) in.reject("leaves");
    for (std::size_t i = 0; i < count && !in.failed(); i += 2) {
        StagedLeaf staged{in.leaf_key(), in.leaf()};
        for (const Entry& entry : staged.leaf)
            if (!in.failed()) check_payload(in, staged.key.kind, entry);
        leaves.push_back(std::move(staged));
    }
    return leaves;
}

void put_leaves(Packer& packer, const std::vector<StagedLeaf>& leaves) {
    packer.array(2 * leaves.size());
    for (const StagedLeaf& staged : leaves) {
        packer.put(staged.key);
        packer.put(staged.leaf);
    }
}

Stage read_stage(Unpacker& in) {
    Stage stage;
    stage.session = in.number();
    stage.clocks = in.shard_clocks();
    stage.leaves = read_leaves(in);
    stage.cursor = in.bytes();
    return stage;
}

constexpr std::size_t kGainNumbers = 2 + 3 * kDatabaseCount;

Flip read_flip(Unpacker& in) {
    Flip flip;
    flip.session = in.number();
    flip.clocks = in.shard_clocks();
    const std::size_t count = in.array();
    if (count % kGainNumbers != 0) in.reject("gains");
    for (std::size_t i = 0; i < count && !in.failed(); i += kGainNumbers) {
        ShardGain& gain = flip.gains.emplace_back();
        gain.shard = read_shard(in);
        gain.digest = in.number();
        for (auto* by_database : {&gain.digests, &gain.keys, &gain.deadlines})
            for (std::uint64_t& number : *by_database) number = in.number();
    }
    flip.floors = in.shard_clocks();
    return flip;
}

Record read_record(Unpacker& in, RecordKind kind) {
    switch (kind) {
        case RecordKind::batch:
            return read_batch(in);
        case RecordKind::remote:
        case RecordKind::passed: {
            Remote remote;
            remote.passed_on = kind == RecordKind::passed;
            remote.source = in.bytes();
            remote.batch_bytes = in.bytes(kLogBodyBytesMax);
            return remote;
        }
        case RecordKind::stage:
            return read_stage(in);
        case RecordKind::flip:
            return read_flip(in);
        case RecordKind::boot: {
            Boot boot;
            boot.writer = ReplicaId{in.number()};
            boot.nonce = in.number();
            boot.shard_count = static_cast<std::uint16_t>(in.number_up_to(kSlotCount));
            boot.hash_seed = in.number();
            return boot;
        }
        case RecordKind::repair: {
            Repair repair;
            repair.shard = read_shard(in);
            const std::size_t masks = in.array();
            if (masks % 4 != 0) in.reject("masks");
            for (std::size_t i = 0; i < masks && !in.failed(); i += 4)
                repair.masks.push_back(
                    {.kind = in.number_up_to(1) == 1 ? LeafKind::flush : LeafKind::clear,
                     .database = static_cast<DatabaseId>(in.number_up_to(kDatabaseIdCount - 1)),
                     .key = std::string(in.bytes(kKeyBytesMax)),
                     .clock = in.clock()});
            repair.leaves = read_leaves(in);
            repair.recounts = in.number_up_to(1) == 1;
            return repair;
        }
    }
    return Batch{};
}

}  // namespace

bool sound_payload(LeafKind kind, const Entry& entry) {
    switch (kind) {
        case LeafKind::string:
        case LeafKind::field:
            return value::decode(entry).has_value();
        case LeafKind::clear:
        case LeafKind::flush:
            return clear::decode(entry).has_value();
        case LeafKind::deadline:
            return !entry.live() || deadline::decode(entry).has_value();
        default:
            return true;
    }
}

std::string part_of(const Batch& batch, absl::FunctionRef<bool(ShardId)> wanted,
                    absl::FunctionRef<ShardId(const LeafKey&)> shard_of) {
    std::string part;
    std::vector<ShardRange> ranges;
    for (const ShardRange& range : batch.ranges)
        if (wanted(range.shard)) ranges.push_back(range);
    if (ranges.empty()) return part;
    BatchBuilder builder;
    for (const Operation& operation : batch.operations)
        if (wanted(shard_of(operation.key)))
            builder.add(operation.key.database, operation.key.key, operation.key.kind,
                        operation.key.sub, operation.delta);
    builder.finish(part, batch.writer, ranges);
    return part;
}

// The longest operation is one value, its key and sub-key, and the dots and amounts beside them.
static_assert(kBatchBytesMax + kValueBytesMax + 2 * kKeyBytesMax + (4U << 20) <= kLogBodyBytesMax);

void BatchBuilder::add(DatabaseId database, std::string_view key, LeafKind kind,
                       std::string_view sub, const LeafDelta& delta) {
    Packer packer(operations_, &writers_);
    if (operation_count_ != 0 && database == last_database_ && key == last_key_) {
        packer.nil();
        element_count_ += 1;
    } else {
        packer.number(database);
        packer.bytes(key);
        last_database_ = database;
        last_key_ = key;
        element_count_ += 2;
    }
    packer.number(static_cast<std::uint8_t>(kind));
    packer.bytes(sub);
    packer.put(delta);
    element_count_ += 3;
    ++operation_count_;
}

void BatchBuilder::finish(std::string& out, ReplicaId writer,
                          const std::vector<ShardRange>& ranges) {
    const std::size_t writer_index = writers_.index_of(writer);
    Packer packer(out);
    begin(packer, RecordKind::batch, 4);
    packer.put(writers_);
    packer.number(writer_index);
    packer.array(3 * ranges.size());
    for (const ShardRange& range : ranges) {
        packer.number(range.shard.value);
        packer.number(range.after.value);
        packer.number(range.last.value);
    }
    packer.array(element_count_);
    out += operations_;
    writers_.clear();
    operations_.clear();
    operation_count_ = 0;
    element_count_ = 0;
}

Result<Batch> decode_batch(std::string_view bytes) {
    Unpacker in(bytes);
    in.array_of(5);
    if (in.number() != static_cast<std::uint8_t>(RecordKind::batch)) in.reject("not a batch");
    Batch batch = read_batch(in);
    if (auto done = in.done("batch"); !done) return std::unexpected(done.error());
    return batch;
}

Result<Record> decode_record(std::string_view bytes) {
    Unpacker in(bytes);
    (void)in.array();
    const std::uint64_t kind = in.number();
    if (!in.failed() && (kind < 1 || kind > 7))
        return fail(Code::unsupported, "a log record of kind " + std::to_string(kind) +
                                           ": start the version that wrote it");
    Record record = read_record(in, static_cast<RecordKind>(kind));
    if (auto done = in.done("record"); !done) return std::unexpected(done.error());
    if (Remote* remote = std::get_if<Remote>(&record)) {
        Result<Batch> batch = decode_batch(remote->batch_bytes);
        if (!batch) return std::unexpected(batch.error());
        remote->batch = std::move(*batch);
    }
    return record;
}

bool is_stage(std::string_view bytes) {
    Unpacker in(bytes);
    (void)in.array();
    return in.number() == static_cast<std::uint64_t>(RecordKind::stage) && !in.failed();
}

void append_remote(std::string& out, std::string_view source, std::string_view batch_bytes,
                   Onward onward) {
    Packer packer(out);
    begin(packer, onward == Onward::passed_on ? RecordKind::passed : RecordKind::remote, 2);
    packer.bytes(source);
    packer.bytes(batch_bytes);
}

void append_stage(std::string& out, const Stage& stage) {
    Packer packer(out);
    begin(packer, RecordKind::stage, 4);
    packer.number(stage.session);
    packer.put(stage.clocks);
    put_leaves(packer, stage.leaves);
    packer.bytes(stage.cursor);
}

void append_flip(std::string& out, const Flip& flip) {
    Packer packer(out);
    begin(packer, RecordKind::flip, 4);
    packer.number(flip.session);
    packer.put(flip.clocks);
    packer.array(kGainNumbers * flip.gains.size());
    for (const ShardGain& gain : flip.gains) {
        packer.number(gain.shard.value);
        packer.number(gain.digest);
        for (const auto* by_database : {&gain.digests, &gain.keys, &gain.deadlines})
            for (const std::uint64_t number : *by_database) packer.number(number);
    }
    packer.put(flip.floors);
}

void append_boot(std::string& out, const Boot& boot) {
    Packer packer(out);
    begin(packer, RecordKind::boot, 4);
    packer.number(boot.writer.value);
    packer.number(boot.nonce);
    packer.number(boot.shard_count);
    packer.number(boot.hash_seed);
}

void append_repair(std::string& out, const Repair& repair) {
    Packer packer(out);
    begin(packer, RecordKind::repair, 4);
    packer.number(repair.shard.value);
    packer.array(4 * repair.masks.size());
    for (const KeyMask& mask : repair.masks) {
        packer.number(mask.kind == LeafKind::flush ? 1 : 0);
        packer.number(mask.database);
        packer.bytes(mask.key);
        packer.put(mask.clock);
    }
    put_leaves(packer, repair.leaves);
    packer.number(repair.recounts ? 1 : 0);
}

}  // namespace skerry
