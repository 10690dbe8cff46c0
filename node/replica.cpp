#include "node/replica.hpp"

#include <algorithm>
#include <functional>

#include "crdt/hash.hpp"
#include "node/database.hpp"
#include "node/feed.hpp"
#include "node/own_store.hpp"
#include "node/system.hpp"
#include "store/directory_lock.hpp"
#include "store/file_log.hpp"
#include "store/lmdb_kv.hpp"

namespace skerry {

namespace {

constexpr std::uint8_t kDatabase = 0;
constexpr std::size_t kRowsAtOnce = 10'000;
constexpr std::size_t kExpireKeys = 1000;
constexpr std::size_t kFrameHeaderBytes = 4;
constexpr std::uint64_t kRecordsOpenMax =
    8;  // a record closes at 1 MiB, or after the command that passes it
constexpr std::size_t kStageBytesAim = std::size_t{1} << 20;

Result<void> within(std::string_view what, std::string_view bytes, std::size_t bytes_max) {
    if (bytes.size() <= bytes_max) return {};
    return fail(Code::too_large,
                std::string(what) + " exceeds " + std::to_string(bytes_max) + " bytes");
}

// What is exchanged: frames of net/message.hpp, each after its length, 4 bytes little-endian.
void append_frame(std::string& out, const Message& message) {
    const std::string frame = encode(message, Compression::where_it_helps);
    for (std::size_t i = 0; i < kFrameHeaderBytes; ++i)
        out.push_back(static_cast<char>(frame.size() >> (8 * i) & 0xff));
    out += frame;
}

class FrameReader {
  public:
    explicit FrameReader(std::string_view bytes) : rest_(bytes) {}
    [[nodiscard]] bool at_end() const { return rest_.empty(); }

    template <class M>
    [[nodiscard]] Result<M> next() {
        if (rest_.size() < kFrameHeaderBytes)
            return fail(Code::malformed, "exchange: it ends too early");
        std::size_t bytes = 0;
        for (std::size_t i = 0; i < kFrameHeaderBytes; ++i)
            bytes |= static_cast<std::size_t>(static_cast<unsigned char>(rest_[i])) << (8 * i);
        rest_.remove_prefix(kFrameHeaderBytes);
        if (bytes > rest_.size()) return fail(Code::malformed, "exchange: it ends too early");
        Result<Message> message = decode(rest_.substr(0, bytes));
        if (!message) return std::unexpected(message.error());
        rest_.remove_prefix(bytes);
        if (M* wanted = std::get_if<M>(&*message)) return std::move(*wanted);
        return fail(Code::malformed, "exchange: a message of another kind");
    }

  private:
    std::string_view rest_;
};

// An answer, taken apart: the clocks that the leaves are the state at.
struct Answer {
    ShardClocks clocks;
    ShardClocks floors;  // of what has been purged there
    std::vector<StagedLeaf> leaves;
};

// The pieces of one leaf that was too large for a frame.
Result<std::optional<PulledLeaf>> join_part(std::string& whole, const LeafPart& part) {
    if (part.offset == 0) whole.clear();
    if (part.offset != whole.size() || part.total_bytes > 2 * kValueBytesMax ||
        part.bytes.empty() || part.bytes.size() > part.total_bytes - whole.size())
        return fail(Code::malformed, "exchange: a leaf's pieces do not fit");
    whole += part.bytes;
    if (whole.size() < part.total_bytes) return std::nullopt;
    if (hash64(whole) != part.total_hash)
        return fail(Code::malformed, "exchange: a leaf's pieces do not fit");
    Result<PulledLeaf> leaf = decode_leaf(std::exchange(whole, {}));
    if (!leaf) return std::unexpected(leaf.error());
    return std::move(*leaf);
}

Result<Answer> read_chunks(FrameReader& frames) {
    Answer answer;
    std::string part;
    for (bool first = true, more = true; more; first = false) {
        Result<PullChunk> chunk = frames.next<PullChunk>();
        if (!chunk) return std::unexpected(chunk.error());
        if (first) answer.clocks = chunk->clocks, answer.floors = chunk->floors;
        if (chunk->status != PullStatus::ok || chunk->clocks != answer.clocks ||
            chunk->floors != answer.floors)
            return fail(Code::malformed, "exchange: pieces of different answers");
        for (PulledLeaf& leaf : chunk->leaves)
            answer.leaves.push_back({std::move(leaf.key), std::move(leaf.leaf)});
        if (chunk->part) {
            auto leaf = join_part(part, *chunk->part);
            if (!leaf) return std::unexpected(leaf.error());
            if (*leaf) answer.leaves.push_back({std::move((*leaf)->key), std::move((*leaf)->leaf)});
        }
        more = !chunk->cursor.empty();
    }
    if (!part.empty() || !frames.at_end())
        return fail(Code::malformed, "exchange: bytes behind the end");
    return answer;
}

}  // namespace

struct Replica::State {
    std::filesystem::path directory;
    ReplicaOptions options;
    std::optional<DirectoryLock> lock;  // the last to go
    std::unique_ptr<LmdbKv> kv;
    std::unique_ptr<FileLog> log;
    Identity identity;
    std::unique_ptr<Store> store;
    std::optional<Database> database;
    std::optional<Error> broken;

    ~State() {
        if (!store || broken) return;
        const bool whole = commit().has_value();
        const std::uint64_t events = own_events(*store);
        store.reset();
        if (whole)
            (void)mark_clean(directory, identity.writer,
                             events);  // else the next start takes a new incarnation
    }

    // Runs one call: on the time of now, and with what it has read given back at its end.
    template <class Call>
    auto run(Call&& call) -> std::invoke_result_t<Call, Database&> {
        if (broken) return std::unexpected(*broken);
        store->set_now(wall_now());
        auto outcome = call(*database);
        store->end_command();
        store->end_round();
        if (store->halted()) return std::unexpected(*(broken = store->halted()));
        return outcome;
    }

    // Also: is the key fit to be written, and of that type or absent?
    template <class Call>
    auto run_on(std::string_view key, KeyType wanted, Call&& call)
        -> std::invoke_result_t<Call, Database&> {
        return run([&](Database& db) -> std::invoke_result_t<Call, Database&> {
            if (auto fits = within("the key", key, kKeyBytesMax); !fits)
                return std::unexpected(fits.error());
            const KeyType type = wanted == KeyType::none ? KeyType::none : db.type(kDatabase, key);
            if (type != KeyType::none && type != wanted)
                return fail(Code::wrong_type, "the key holds another type");
            return call(db);
        });
    }

    // The same for a call that writes. What gathers before a commit is bounded.
    template <class Call>
    auto write_on(std::string_view key, KeyType wanted, Call&& call)
        -> std::invoke_result_t<Call, Database&> {
        auto outcome = run_on(key, wanted, std::forward<Call>(call));
        if (outcome && store->applied().value > store->durable().value + kRecordsOpenMax) {
            (void)commit();  // an image that cannot be written now is written later
            if (broken) return std::unexpected(*broken);
        }
        return outcome;
    }

    Result<void> broke(Error error) { return std::unexpected(*(broken = std::move(error))); }

    Result<void> write_log() {
        while (auto sealed = store->seal()) {
            if (auto done = log->append(sealed->frames, sealed->last); !done)
                return broke(done.error());
            if (auto done = log->sync(); !done) return broke(done.error());
            store->committed(*sealed);
        }
        return {};
    }

    Result<void> commit() {
        auto expired = run([&](Database& db) -> Result<void> {
            db.expire_some(kExpireKeys);
            return {};
        });
        if (!expired) return expired;
        store->step_staged(kRowsAtOnce);
        store->step_purge(kRowsAtOnce);
        store->reclaim_some(kRowsAtOnce);
        if (auto written = write_log(); !written) return written;
        if (store->wants_checkpoint() || store->freezing()) return checkpoint();
        store->evict(kRowsAtOnce);
        return {};
    }

    // Brings the ordered store to the state of now. Requires: nothing is open.
    // Errors: those of Kv::write; the image stays, and is written by a later call.
    Result<void> checkpoint() {
        while (store->freezing() || store->has_changes()) {
            if (!store->freezing()) store->freeze();
            while (!store->save_some(kRowsAtOnce)) {
            }
            if (auto written = store->image()->write(*kv, KvRoom::ordinary); !written)
                return written;
            const LogPosition needed = store->checkpointed();
            if (auto dropped = log->drop_before(needed); !dropped) return dropped;
        }
        store->evict(kRowsAtOnce);
        if (store->halted()) return broke(*store->halted());
        return {};
    }

    [[nodiscard]] Hello introduction() const {
        Hello hello;
        hello.from.cluster = options.cluster;
        hello.from.shard_count = options.shard_count;
        hello.from.hash_seed = store->options().hash_seed;
        hello.from.name = identity.writer.text();
        hello.from.region = "library";
        hello.from.writer = identity.writer;
        hello.from.nonce = store->options().nonce;
        return hello;
    }

    // The beginning of all that is exchanged: who wrote it, and what the asking replica had.
    [[nodiscard]] Result<PullRequest> read_head(FrameReader& frames) const {
        const auto hello = frames.next<Hello>();
        if (!hello) return std::unexpected(hello.error());
        if (hello->from.cluster != options.cluster)
            return fail(Code::refused, "these bytes are of cluster " + hello->from.cluster);
        if (hello->from.shard_count != options.shard_count ||
            hello->from.hash_seed != store->options().hash_seed)
            return fail(Code::refused, "these bytes are of a replica with other shards");
        auto request = frames.next<PullRequest>();
        if (!request) return std::unexpected(request.error());
        for (const auto& [shard, clock] : request->base)
            if (!store->holds(shard))
                return fail(Code::malformed, "exchange: a shard beyond the last");
        return request;
    }

    Result<void> join(Answer answer) {
        const std::uint64_t session = random_bits() >> 1 | 1;
        Stage stage{.session = session, .clocks = answer.clocks, .leaves = {}, .cursor = {}};
        std::size_t bytes = 0;
        for (StagedLeaf& leaf : answer.leaves) {
            bytes += leaf.key.key.size() + leaf.key.sub.size();
            for (const Entry& entry : leaf.leaf) bytes += entry.payload.size();
            stage.leaves.push_back(std::move(leaf));
            if (bytes < kStageBytesAim && &leaf != &answer.leaves.back()) continue;
            store->stage(stage);
            if (auto staged = write_log(); !staged) return staged;
            if (store->staging_full())
                if (auto taken = checkpoint(); !taken) return taken;
            stage.leaves.clear();
            bytes = 0;
        }
        if (!store->flip(session, answer.clocks, answer.floors)) {
            // Much: what is staged goes to the ordered store, and joins from there.
            if (auto taken = checkpoint(); !taken) return taken;
            while (store->flipping() && !store->halted()) store->step_staged(kRowsAtOnce);
            if (store->halted()) return broke(*store->halted());
        }
        return commit();
    }
};

Replica::Replica(std::unique_ptr<State> state) : state_(std::move(state)) {}
Replica::Replica(Replica&&) noexcept = default;
Replica& Replica::operator=(Replica&&) noexcept = default;
Replica::~Replica() = default;

Result<Replica> Replica::open(const std::filesystem::path& directory, ReplicaOptions options) {
    if (options.cluster.empty() || options.cluster.size() > kNameBytesMax ||
        options.shard_count == 0 || options.shard_count > 16384)
        return fail(Code::refused,
                    "a cluster is named in 1 to 64 bytes, and has 1 to 16384 shards");
    auto state = std::make_unique<State>();
    auto lock = DirectoryLock::take(directory);
    if (!lock) return std::unexpected(lock.error());
    state->lock.emplace(std::move(*lock));
    auto kv = LmdbKv::open(directory, {});
    if (!kv) return std::unexpected(kv.error());
    state->kv = std::move(*kv);
    auto log = FileLog::open(directory / "log", {});
    if (!log) return std::unexpected(log.error());
    state->log = std::move(*log);
    const auto identity = open_identity(directory, random_bits);
    if (!identity) return std::unexpected(identity.error());
    state->identity = *identity;
    StoreOptions store_options;
    store_options.nonce = random_bits() | 1;
    store_options.shard_count = options.shard_count;
    store_options.hash_seed = hash64(options.cluster);
    store_options.memory_bytes = options.memory_bytes;
    auto store = open_own_store(directory, state->identity, *state->log, *state->kv, store_options,
                                wall_now());
    if (!store) return std::unexpected(store.error());
    state->directory = directory;
    state->options = std::move(options);
    state->store = std::move(*store);
    state->database.emplace(*state->store);
    return Replica(std::move(state));
}

// ---- keys

Result<bool> Replica::exists(std::string_view key) {
    return state_->run_on(key, KeyType::none,
                          [&](Database& db) -> Result<bool> { return db.exists(kDatabase, key); });
}

Result<bool> Replica::remove(std::string_view key) {
    return state_->write_on(key, KeyType::none, [&](Database& db) -> Result<bool> {
        return db.remove(kDatabase, key);
    });
}

Result<bool> Replica::expire_in(std::string_view key,
                                std::optional<std::chrono::milliseconds> after) {
    return state_->write_on(key, KeyType::none, [&](Database& db) -> Result<bool> {
        if (!db.exists(kDatabase, key)) return false;
        const WallTime now = db.store().now();
        if (after && *after > kNoDeadline - now)
            return fail(Code::out_of_range, "the time is too far away");
        if (after && after->count() <= 0)
            (void)db.remove(kDatabase, key);
        else
            db.set_deadline(kDatabase, key, after ? now + *after : kNoDeadline);
        return true;
    });
}

// ---- strings

Result<std::optional<std::string>> Replica::get(std::string_view key) {
    return state_->run_on(
        key, KeyType::string,
        [&](Database& db) -> Result<std::optional<std::string>> { return db.get(kDatabase, key); });
}

Result<void> Replica::set(std::string_view key, std::string_view value) {
    return state_->write_on(key, KeyType::none, [&](Database& db) -> Result<void> {
        if (auto fits = within("the value", value, kValueBytesMax); !fits) return fits;
        db.set(kDatabase, key, value);
        return {};
    });
}

Result<std::int64_t> Replica::add(std::string_view key, std::int64_t increment) {
    return state_->write_on(key, KeyType::string,
                            [&](Database& db) { return db.add(kDatabase, key, increment); });
}

// ---- sets

Result<bool> Replica::set_add(std::string_view key, std::string_view member) {
    return state_->write_on(key, KeyType::set, [&](Database& db) -> Result<bool> {
        if (auto fits = within("the member", member, kKeyBytesMax); !fits)
            return std::unexpected(fits.error());
        return db.set_add(kDatabase, key, member);
    });
}

Result<bool> Replica::set_remove(std::string_view key, std::string_view member) {
    return state_->write_on(key, KeyType::set, [&](Database& db) -> Result<bool> {
        return db.set_remove(kDatabase, key, member);
    });
}

Result<bool> Replica::set_contains(std::string_view key, std::string_view member) {
    return state_->run_on(key, KeyType::set, [&](Database& db) -> Result<bool> {
        return db.set_contains(kDatabase, key, member);
    });
}

Result<std::vector<std::string>> Replica::set_members(std::string_view key) {
    return state_->run_on(key, KeyType::set, [&](Database& db) -> Result<std::vector<std::string>> {
        std::vector<std::string> members;
        db.for_each(kDatabase, key, LeafKind::member, {}, [&](const Element& element) {
            members.emplace_back(element.sub);
            return true;
        });
        return members;
    });
}

// ---- hashes

Result<bool> Replica::hash_set(std::string_view key, std::string_view field,
                               std::string_view value) {
    return state_->write_on(key, KeyType::hash, [&](Database& db) -> Result<bool> {
        if (auto fits = within("the field", field, kKeyBytesMax); !fits)
            return std::unexpected(fits.error());
        if (auto fits = within("the value", value, kValueBytesMax); !fits)
            return std::unexpected(fits.error());
        return db.hash_set(kDatabase, key, field, value);
    });
}

Result<bool> Replica::hash_remove(std::string_view key, std::string_view field) {
    return state_->write_on(key, KeyType::hash, [&](Database& db) -> Result<bool> {
        return db.hash_remove(kDatabase, key, field);
    });
}

Result<std::optional<std::string>> Replica::hash_get(std::string_view key, std::string_view field) {
    return state_->run_on(key, KeyType::hash,
                          [&](Database& db) -> Result<std::optional<std::string>> {
                              return db.hash_get(kDatabase, key, field);
                          });
}

Result<std::int64_t> Replica::hash_add(std::string_view key, std::string_view field,
                                       std::int64_t increment) {
    return state_->write_on(key, KeyType::hash, [&](Database& db) -> Result<std::int64_t> {
        if (auto fits = within("the field", field, kKeyBytesMax); !fits)
            return std::unexpected(fits.error());
        return db.hash_add(kDatabase, key, field, increment);
    });
}

Result<Replica::Fields> Replica::hash_fields(std::string_view key) {
    return state_->run_on(key, KeyType::hash, [&](Database& db) -> Result<Fields> {
        Fields fields;
        db.for_each(kDatabase, key, LeafKind::field, {}, [&](const Element& element) {
            fields.emplace_back(element.sub, Database::value_of(element));
            return true;
        });
        return fields;
    });
}

// ---- durability and exchange

Result<void> Replica::commit() { return state_->commit(); }

Result<std::string> Replica::request() {
    if (state_->broken) return std::unexpected(*state_->broken);
    PullRequest request;
    request.credit_bytes = kReplyBytesAim;
    for (const ShardId shard : state_->store->held())
        request.base.emplace_back(shard, state_->store->shard(shard).durable_clock);
    std::string out;
    append_frame(out, state_->introduction());
    append_frame(out, request);
    return out;
}

Result<std::string> Replica::changes_for(std::string_view request) {
    if (state_->broken) return std::unexpected(*state_->broken);
    FrameReader frames(request);
    auto asked = state_->read_head(frames);
    if (!asked) return std::unexpected(asked.error());
    if (!frames.at_end())
        return fail(Code::malformed, "exchange: bytes behind the end of a request");
    if (auto done = state_->commit(); !done) return std::unexpected(done.error());
    if (auto done = state_->checkpoint(); !done) return std::unexpected(done.error());
    std::string out;
    append_frame(out, state_->introduction());
    asked->cursor.clear();
    asked->credit_bytes = kReplyBytesAim;
    append_frame(out, *asked);
    const auto stored = state_->kv->reader();
    if (!stored) return std::unexpected(stored.error());
    for (bool more = true; more;) {
        const auto chunk = serve_pull(**stored, *asked);
        if (!chunk) return std::unexpected(chunk.error());
        if (chunk->status == PullStatus::need_full)
            return fail(
                Code::refused,
                "the asking replica has missed removals that are kept here no more: begin it "
                "anew in an empty directory");
        append_frame(out, *chunk);
        asked->cursor = chunk->cursor;
        more = !chunk->cursor.empty();
    }
    return out;
}

Result<void> Replica::receive(std::string_view changes) {
    if (state_->broken) return std::unexpected(*state_->broken);
    FrameReader frames(changes);
    const auto asked = state_->read_head(frames);
    if (!asked) return std::unexpected(asked.error());
    // The answer leaves out what the asking replica had: to one that lacks it, its clocks would say
    // too much.
    if (!state_->store->covers(asked->base))
        return fail(Code::refused, "the answer to a request of a replica that knew more");
    auto answer = read_chunks(frames);
    if (!answer) return std::unexpected(answer.error());
    // What is purged there must have been seen here, or nothing that it could have removed may be here.
    if (!state_->store->covers(answer->floors) && !state_->store->clocks().empty())
        return fail(Code::refused, "an answer that is meant for an empty replica");
    if (!state_->store->sound(answer->clocks, answer->floors, answer->leaves))
        return fail(Code::malformed, "exchange: leaves outside their clocks");
    state_->store->set_now(wall_now());
    return state_->join(std::move(*answer));
}

}  // namespace skerry
