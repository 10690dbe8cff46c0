// tests/support/command_fixture.hpp — a client at a node without sockets or disks: command line in, reply bytes out.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "node/commands.hpp"
#include "node/glob.hpp"
#include "tests/support/memory_disk.hpp"

namespace skerry {

class FakeNode final : public NodeFacts {
  public:
    std::string name() const override { return "alpha"; }
    std::string region() const override { return "north"; }
    std::string cluster() const override { return "test"; }
    std::string run_id() const override { return std::string(40, 'a'); }
    std::uint64_t uptime_seconds() const override { return 12; }
    std::uint64_t mono_us() const override { return mono++; }
    std::int64_t last_checkpoint_seconds() const override { return 77; }
    std::string info(std::string_view section) const override {
        return section == "server" ? "redis_version:7.0.0\r\n" : std::string();
    }
    void reset_stats() override { ++resets; }
    TextFields config_get(std::string_view pattern) const override {
        TextFields found;
        if (glob_matches(pattern, "maxmemory")) found.emplace_back("maxmemory", "100");
        if (glob_matches(pattern, "save")) found.emplace_back("save", "");
        return found;
    }
    Result<void> config_set(std::string_view key, std::string_view) override {
        if (key == "maxmemory") return {};
        return fail(key == "port" ? Code::refused : Code::unsupported, "it is fixed");
    }
    std::optional<std::string> password() const override { return secret; }
    std::vector<Connection*> clients() override { return connections; }
    void shutdown() override { ++shutdowns; }
    std::optional<std::string> refused(Writes writes) const override {
        return no_member || writes == Writes::all ? no_member : refusal;
    }
    std::optional<std::string> clients_refused() const override { return closed; }
    void wait(Connection& connection, std::int64_t, std::int64_t) override {
        connection.reply().integer(0);
    }
    void barrier(Connection& connection, std::string_view, std::int64_t) override {
        connection.reply().ok();
    }
    std::vector<TextFields> peers() const override { return {{{"name", "beta"}, {"state", "up"}}}; }
    std::vector<TextFields> syncs() const override { return {{{"peer", "beta"}}}; }
    bool set_link(std::string_view peer, bool) override { return peer == "beta"; }
    std::vector<MemberStatus> members() override {
        Member row{.id = MemberId{0x0a},
                   .name = "alpha",
                   .region = "eu",
                   .gossip_address = "g:1",
                   .publish_address = "p:1",
                   .client_address = "c:1",
                   .state = MemberState::active};
        return {{.row = std::move(row),
                 .is_self = true,
                 .heard_ms = 0,
                 .writers = {{ReplicaId{0x0a00000001}, 3}}}};
    }
    Result<void> forget(std::string_view name) override {
        if (name == "gamma") return {};
        return fail(Code::refused, "no member is named so");
    }
    void leave(Connection& connection, std::int64_t timeout_ms) override {
        connection.reply().integer(timeout_ms);
    }
    void verify(Connection& connection, std::optional<std::string_view> peer,
                bool repairs) override {
        connection.reply().bulk(std::string(peer.value_or("all")) + (repairs ? " repaired" : ""));
    }
    void flush(Connection& connection, const Flush& flush) override {
        connection.block();
        flushing = flush;
    }
    std::vector<NodeAddress> nodes(const Connection&) const override {
        return {{std::string(40, 'a'), "10.0.0.1", 7000}, {std::string(40, 'b'), "10.0.0.2", 7001}};
    }

    std::optional<Flush> flushing;
    std::optional<std::string> secret;
    std::optional<std::string> refusal;
    std::optional<std::string> no_member;
    std::optional<std::string> closed;
    std::vector<Connection*> connections;
    int resets = 0;
    int shutdowns = 0;
    mutable std::uint64_t mono = 0;
};

// One node with one client; every commit is durable before the next command unless commit() is
// called by hand.
class CommandFixture {
  public:
    static constexpr WallTime kStart{1'700'000'000'000};

    explicit CommandFixture(ReplicaId self = ReplicaId{7}, const Holdings& holds = {},
                            DomainRules rules = {})
        : store_(open(self, holds)),
          database_(*store_, std::move(rules)),
          commands_(database_, node, 4711) {
        commit();
        node.connections.push_back(&connection);
    }

    // The whole reply. Words are cut at blanks; '' stands for an empty one.
    std::string run(std::string_view line) { return run(split(line)); }
    std::string run(const std::vector<std::string>& words) {
        execute(words);
        commit();
        return take();
    }
    void execute(const std::vector<std::string>& words) {
        std::string request = "*" + std::to_string(words.size()) + "\r\n";
        for (const std::string& word : words)
            request.append("$" + std::to_string(word.size()) + "\r\n").append(word).append("\r\n");
        connection.receive(request, 0, sink_);
        connection.end_round();
    }
    // Makes everything durable and lets replies go.
    void commit() {
        if (auto commit = store_->seal()) {
            ASSERT(log_.append(commit->frames, commit->last).has_value());
            ASSERT(log_.sync().has_value());
            store_->committed(*commit);
            for (const Published& batch : commit->published)
                published_.push_back(commit->frames.substr(batch.body_at, batch.body_bytes));
        }
        connection.release(store_->durable());
    }
    // Applies what another node has published since the last time.
    void hear(const CommandFixture& other) {
        for (; heard_ < other.published_.size(); ++heard_) {
            const auto batch = decode_batch(other.published_[heard_]);
            ASSERT(batch.has_value());
            store_->apply_remote("test", other.published_[heard_], *batch);
        }
        commit();
    }
    std::string take() {
        std::string bytes(connection.sendable());
        connection.sent(bytes.size());
        return bytes;
    }
    void advance(WallTime by) { store_->set_now(store_->now() + by); }
    [[nodiscard]] Store& store() { return *store_; }
    [[nodiscard]] Database& database() { return database_; }
    [[nodiscard]] Commands& commands() { return commands_; }

    static std::vector<std::string> split(std::string_view line) {
        std::vector<std::string> words;
        while (!line.empty()) {
            const std::size_t end = std::min(line.find(' '), line.size());
            words.emplace_back(line.substr(0, end) == "''" ? std::string_view()
                                                           : line.substr(0, end));
            line.remove_prefix(std::min(end + 1, line.size()));
        }
        return words;
    }

    FakeNode node;
    Connection connection{ConnectionInfo{.id = 9, .peer = "1.2.3.4:55", .local = "10.0.0.1:7000"}};

  private:
    class Sink final : public CommandSink {
      public:
        explicit Sink(Commands& commands) : commands_(commands) {}
        void execute(Connection& connection, std::span<const std::string_view> arguments) override {
            commands_.execute(connection, arguments);
        }
        void end_of_round() override {}
        void closed(Connection&) override {}

      private:
        Commands& commands_;
    };

    std::unique_ptr<Store> open(ReplicaId self, const Holdings& holds) {
        StoreOptions options;
        options.self = self;
        options.nonce = 1;
        options.holds = holds;
        auto store = Store::open(log_, kv_, options, kStart);
        ASSERT(store.has_value());
        return *std::move(store);
    }

    MemoryLog log_;
    MemoryKv kv_;
    std::unique_ptr<Store> store_;
    Database database_;
    Commands commands_;
    Sink sink_{commands_};
    std::vector<std::string> published_;
    std::size_t heard_ = 0;
};

}  // namespace skerry
