// node/commands.hpp — executing one command: who may, whether it is well formed, and when its reply may go out.
//
// Order    unknown command, arity, authentication, halted store, catching up, full disk, sizes; then the handler.
// Replies  a write's reply waits for its log record to be durable, a read's for what it has observed.
// Pure     wall time is the store's, durations come from NodeFacts, random numbers from the generator given.
// Thread   core thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "node/command_table.hpp"
#include "node/connection.hpp"
#include "node/database.hpp"
#include "node/metrics.hpp"
#include "node/node_facts.hpp"

namespace skerry {

// What the commands remember with a connection.
class ClientSession : public SessionState {
  public:
    bool authenticated = false;
    LogPosition
        last_write;  // for WAIT: the record that holds its last write; 0 = it has written nothing
};

struct CommandStats {
    std::uint64_t calls = 0;
    std::uint64_t microseconds = 0;
    std::uint64_t rejected = 0;  // before the handler: arity, authentication, full disk
    std::uint64_t failed = 0;    // by the handler: it replied an error
    Histogram latency;           // in nanoseconds, of calls
};

class Commands {
  public:
    // Lifetime: all outlive this.
    Commands(Database& database, NodeFacts& node, std::uint64_t seed)
        : database_(database), node_(node), random_(seed), stats_(table_.all().size()) {}

    // Makes the session of a new connection. Without it the first execute() does.
    void opened(Connection& connection);
    // Requires: arguments not empty, connection not closed.
    void execute(Connection& connection, std::span<const std::string_view> arguments);
    // The session of a connection that was opened.
    [[nodiscard]] static ClientSession& session_of(Connection& connection) {
        return static_cast<ClientSession&>(*connection.session());
    }

    [[nodiscard]] const CommandTable& table() const { return table_; }
    // By CommandTable::index_of().
    [[nodiscard]] std::span<const CommandStats> stats() const { return stats_; }
    [[nodiscard]] std::uint64_t executed() const { return executed_; }
    // Error replies by their code.
    [[nodiscard]] const std::map<std::string, std::uint64_t>& errors() const { return errors_; }
    void reset_stats();

  private:
    // Replies an error and gives false if the command may not run.
    void run(Connection& connection, const Command& command,
             std::span<const std::string_view> arguments);
    [[nodiscard]] bool admit(Connection& connection, const Command& command,
                             std::span<const std::string_view> arguments);
    void hold_reply(Connection& connection, const Command& command);

    Database& database_;
    NodeFacts& node_;
    CommandTable table_;
    std::mt19937_64 random_;
    std::vector<CommandStats> stats_;
    std::uint64_t executed_ = 0;
    std::map<std::string, std::uint64_t> errors_;
};

}  // namespace skerry
