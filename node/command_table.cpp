// node/command_table.cpp — every command there is, by group; see the header.
#include "node/command_table.hpp"

#include <array>
#include <charconv>

#include "node/commands/handlers.hpp"

namespace skerry {
namespace {

constexpr std::size_t kNameBytesMax = 32;

// clang-format off: a table, one command every two lines
constexpr auto kCommands = std::to_array<Command>({
    {"auth", -2, flag::kFast | flag::kNoAuth | flag::kLoading, {}, "connection", "1.0.0",
     "Authenticate to the server", commands::auth},
    {"client", -2, flag::kLoading, {}, "connection", "2.4.0",
     "A container for client connection commands", commands::client},
    {"echo", 2, flag::kFast | flag::kLoading, {}, "connection", "1.0.0",
     "Echo the given string", commands::echo},
    {"hello", -1, flag::kFast | flag::kNoAuth | flag::kLoading, {}, "connection", "6.0.0",
     "Handshake with the server", commands::hello},
    {"ping", -1, flag::kFast | flag::kLoading | flag::kReadiness, {}, "connection", "1.0.0",
     "Ping the server", commands::ping},
    {"quit", -1, flag::kFast | flag::kNoAuth | flag::kLoading, {}, "connection", "1.0.0",
     "Close the connection", commands::quit},
    {"reset", 1, flag::kFast | flag::kNoAuth | flag::kLoading, {}, "connection", "6.2.0",
     "Reset the connection", commands::reset},
    {"select", 2, flag::kFast | flag::kLoading, {}, "connection", "1.0.0",
     "Change the selected database for the current connection", commands::select},
    {"command", -1, flag::kLoading, {}, "server", "2.8.13",
     "Get array of command details", commands::command},
    {"config", -2, flag::kAdmin | flag::kLoading, {}, "server", "2.0.0",
     "A container for server configuration commands", commands::config},
    {"dbsize", 1, flag::kReadonly | flag::kFast | flag::kWholeDatabase, {}, "server", "1.0.0",
     "Return the number of keys in the selected database", commands::dbsize},
    {"info", -1, flag::kLoading, {}, "server", "1.0.0",
     "Get information and statistics about the server", commands::info},
    {"lastsave", 1, flag::kFast | flag::kLoading, {}, "server", "1.0.0",
     "Get the UNIX time stamp of the last checkpoint", commands::lastsave},
    {"shutdown", -1, flag::kAdmin | flag::kLoading, {}, "server", "1.0.0",
     "Make what was written durable, then shut down the node", commands::shutdown},
    {"time", 1, flag::kFast | flag::kLoading, {}, "server", "2.6.0",
     "Return the current server time", commands::time},
    {"copy", -3, flag::kWrite | flag::kGrows, {1, 2, 1}, "generic", "6.2.0",
     "Copy a key", commands::copy},
    {"del", -2, flag::kWrite, {1, -1, 1}, "generic", "1.0.0",
     "Delete a key", commands::del},
    {"exists", -2, flag::kReadonly | flag::kFast, {1, -1, 1}, "generic", "1.0.0",
     "Determine if a key exists", commands::exists},
    {"expire", -3, flag::kWrite | flag::kFast, {1, 1, 1}, "generic", "1.0.0",
     "Set a key's time to live in seconds", commands::expire},
    {"expireat", -3, flag::kWrite | flag::kFast, {1, 1, 1}, "generic", "1.2.0",
     "Set the expiration for a key as a UNIX timestamp", commands::expireat},
    {"expiretime", 2, flag::kReadonly | flag::kFast, {1, 1, 1}, "generic", "7.0.0",
     "Get the expiration Unix timestamp for a key", commands::expiretime},
    {"keys", 2, flag::kReadonly | flag::kWholeDatabase, {}, "generic", "1.0.0",
     "Find all keys matching the given pattern", commands::keys},
    {"object", -2, flag::kReadonly, {2, 2, 1}, "generic", "2.2.3",
     "A container for object introspection commands", commands::object},
    {"persist", 2, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "generic", "2.2.0",
     "Remove the expiration from a key", commands::persist},
    {"pexpire", -3, flag::kWrite | flag::kFast, {1, 1, 1}, "generic", "2.6.0",
     "Set a key's time to live in milliseconds", commands::pexpire},
    {"pexpireat", -3, flag::kWrite | flag::kFast, {1, 1, 1}, "generic", "2.6.0",
     "Set the expiration for a key as a UNIX timestamp specified in milliseconds", commands::pexpireat},
    {"pexpiretime", 2, flag::kReadonly | flag::kFast, {1, 1, 1}, "generic", "7.0.0",
     "Get the expiration Unix timestamp for a key in milliseconds", commands::pexpiretime},
    {"pttl", 2, flag::kReadonly | flag::kFast, {1, 1, 1}, "generic", "2.6.0",
     "Get the time to live for a key in milliseconds", commands::pttl},
    {"randomkey", 1, flag::kReadonly | flag::kWholeDatabase, {}, "generic", "1.0.0",
     "Return a random key from the keyspace", commands::randomkey},
    {"rename", 3, flag::kWrite | flag::kGrows, {1, 2, 1}, "generic", "1.0.0",
     "Rename a key", commands::rename},
    {"renamenx", 3, flag::kWrite | flag::kGrows | flag::kFast, {1, 2, 1}, "generic", "1.0.0",
     "Rename a key, only if the new key does not exist", commands::renamenx},
    {"scan", -2, flag::kReadonly | flag::kWholeDatabase, {}, "generic", "2.8.0",
     "Incrementally iterate the keys space", commands::scan},
    {"touch", -2, flag::kReadonly | flag::kFast, {1, -1, 1}, "generic", "3.2.1",
     "Alters the last access time of a key(s). Returns the number of existing keys specified", commands::touch},
    {"ttl", 2, flag::kReadonly | flag::kFast, {1, 1, 1}, "generic", "1.0.0",
     "Get the time to live for a key in seconds", commands::ttl},
    {"type", 2, flag::kReadonly | flag::kFast, {1, 1, 1}, "generic", "1.0.0",
     "Determine the type stored at key", commands::type},
    {"unlink", -2, flag::kWrite | flag::kFast, {1, -1, 1}, "generic", "4.0.0",
     "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking", commands::unlink},
    {"flushall", -1, flag::kWrite, {}, "server", "1.0.0",
     "Remove all keys from all databases", commands::flushall},
    {"flushdb", -1, flag::kWrite | flag::kWholeDatabase, {}, "server", "1.0.0",
     "Remove all keys from the current database", commands::flushdb},
    {"wait", 3, flag::kBlocking, {}, "generic", "3.0.0",
     "Wait for the replication of all the write commands sent in the context of the current connection", commands::wait},
    {"append", 3, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "string", "2.0.0",
     "Append a value to a key", commands::append},
    {"decr", 2, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "string", "1.0.0",
     "Decrement the integer value of a key by one", commands::decr},
    {"decrby", 3, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "string", "1.0.0",
     "Decrement the integer value of a key by the given number", commands::decrby},
    {"get", 2, flag::kReadonly | flag::kFast, {1, 1, 1}, "string", "1.0.0",
     "Get the value of a key", commands::get},
    {"getdel", 2, flag::kWrite | flag::kFast, {1, 1, 1}, "string", "6.2.0",
     "Get the value of a key and delete the key", commands::getdel},
    {"getex", -2, flag::kWrite | flag::kFast, {1, 1, 1}, "string", "6.2.0",
     "Get the value of a key and optionally set its expiration", commands::getex},
    {"getrange", 4, flag::kReadonly, {1, 1, 1}, "string", "2.4.0",
     "Get a substring of the string stored at a key", commands::getrange},
    {"getset", 3, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "string", "1.0.0",
     "Set the string value of a key and return its old value", commands::getset},
    {"incr", 2, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "string", "1.0.0",
     "Increment the integer value of a key by one", commands::incr},
    {"incrby", 3, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "string", "1.0.0",
     "Increment the integer value of a key by the given amount", commands::incrby},
    {"incrbyfloat", 3, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "string", "2.6.0",
     "Increment the float value of a key by the given amount", commands::incrbyfloat},
    {"lcs", -3, flag::kReadonly, {1, 2, 1}, "string", "7.0.0",
     "Find longest common substring", commands::lcs},
    {"mget", -2, flag::kReadonly | flag::kFast, {1, -1, 1}, "string", "1.0.0",
     "Get the values of all the given keys", commands::mget},
    {"mset", -3, flag::kWrite | flag::kGrows, {1, -1, 2}, "string", "1.0.1",
     "Set multiple keys to multiple values", commands::mset},
    {"msetnx", -3, flag::kWrite | flag::kGrows, {1, -1, 2}, "string", "1.0.1",
     "Set multiple keys to multiple values, only if none of the keys exist", commands::msetnx},
    {"psetex", 4, flag::kWrite | flag::kGrows, {1, 1, 1}, "string", "2.6.0",
     "Set the value and expiration in milliseconds of a key", commands::psetex},
    {"set", -3, flag::kWrite | flag::kGrows, {1, 1, 1}, "string", "1.0.0",
     "Set the string value of a key", commands::set},
    {"setex", 4, flag::kWrite | flag::kGrows, {1, 1, 1}, "string", "2.0.0",
     "Set the value and expiration of a key", commands::setex},
    {"setnx", 3, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "string", "1.0.0",
     "Set the value of a key, only if the key does not exist", commands::setnx},
    {"setrange", 4, flag::kWrite | flag::kGrows, {1, 1, 1}, "string", "2.2.0",
     "Overwrite part of a string at key starting at the specified offset", commands::setrange},
    {"strlen", 2, flag::kReadonly | flag::kFast, {1, 1, 1}, "string", "2.2.0",
     "Get the length of the value stored in a key", commands::strlen},
    {"substr", 4, flag::kReadonly, {1, 1, 1}, "string", "1.0.0",
     "Get a substring of the string stored at a key", commands::getrange},
    {"bitcount", -2, flag::kReadonly, {1, 1, 1}, "bitmap", "2.6.0",
     "Count set bits in a string", commands::bitcount},
    {"bitfield", -2, flag::kWrite | flag::kGrows, {1, 1, 1}, "bitmap", "3.2.0",
     "Perform arbitrary bitfield integer operations on strings", commands::bitfield},
    {"bitfield_ro", -2, flag::kReadonly | flag::kFast, {1, 1, 1}, "bitmap", "6.0.0",
     "Perform arbitrary bitfield integer operations on strings. Read-only variant of BITFIELD", commands::bitfield_ro},
    {"bitop", -4, flag::kWrite | flag::kGrows, {2, -1, 1}, "bitmap", "2.6.0",
     "Perform bitwise operations between strings", commands::bitop},
    {"bitpos", -3, flag::kReadonly, {1, 1, 1}, "bitmap", "2.8.7",
     "Find first bit set or clear in a string", commands::bitpos},
    {"getbit", 3, flag::kReadonly | flag::kFast, {1, 1, 1}, "bitmap", "2.2.0",
     "Returns the bit value at offset in the string value stored at key", commands::getbit},
    {"setbit", 4, flag::kWrite | flag::kGrows, {1, 1, 1}, "bitmap", "2.2.0",
     "Sets or clears the bit at offset in the string value stored at key", commands::setbit},
    {"hdel", -3, flag::kWrite | flag::kFast, {1, 1, 1}, "hash", "2.0.0",
     "Delete one or more hash fields", commands::hdel},
    {"hexists", 3, flag::kReadonly | flag::kFast, {1, 1, 1}, "hash", "2.0.0",
     "Determine if a hash field exists", commands::hexists},
    {"hget", 3, flag::kReadonly | flag::kFast, {1, 1, 1}, "hash", "2.0.0",
     "Get the value of a hash field", commands::hget},
    {"hgetall", 2, flag::kReadonly, {1, 1, 1}, "hash", "2.0.0",
     "Get all the fields and values in a hash", commands::hgetall},
    {"hincrby", 4, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "hash", "2.0.0",
     "Increment the integer value of a hash field by the given number", commands::hincrby},
    {"hincrbyfloat", 4, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "hash", "2.6.0",
     "Increment the float value of a hash field by the given amount", commands::hincrbyfloat},
    {"hkeys", 2, flag::kReadonly, {1, 1, 1}, "hash", "2.0.0",
     "Get all the fields in a hash", commands::hkeys},
    {"hlen", 2, flag::kReadonly | flag::kFast, {1, 1, 1}, "hash", "2.0.0",
     "Get the number of fields in a hash", commands::hlen},
    {"hmget", -3, flag::kReadonly | flag::kFast, {1, 1, 1}, "hash", "2.0.0",
     "Get the values of all the given hash fields", commands::hmget},
    {"hmset", -4, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "hash", "2.0.0",
     "Set multiple hash fields to multiple values", commands::hset},
    {"hrandfield", -2, flag::kReadonly, {1, 1, 1}, "hash", "6.2.0",
     "Get one or multiple random fields from a hash", commands::hrandfield},
    {"hscan", -3, flag::kReadonly, {1, 1, 1}, "hash", "2.8.0",
     "Incrementally iterate hash fields and associated values", commands::hscan},
    {"hset", -4, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "hash", "2.0.0",
     "Set the string value of a hash field", commands::hset},
    {"hsetnx", 4, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "hash", "2.0.0",
     "Set the value of a hash field, only if the field does not exist", commands::hsetnx},
    {"hstrlen", 3, flag::kReadonly | flag::kFast, {1, 1, 1}, "hash", "3.2.0",
     "Get the length of the value of a hash field", commands::hstrlen},
    {"hvals", 2, flag::kReadonly, {1, 1, 1}, "hash", "2.0.0",
     "Get all the values in a hash", commands::hvals},
    {"sadd", -3, flag::kWrite | flag::kGrows | flag::kFast, {1, 1, 1}, "set", "1.0.0",
     "Add one or more members to a set", commands::sadd},
    {"scard", 2, flag::kReadonly | flag::kFast, {1, 1, 1}, "set", "1.0.0",
     "Get the number of members in a set", commands::scard},
    {"sdiff", -2, flag::kReadonly, {1, -1, 1}, "set", "1.0.0",
     "Subtract multiple sets", commands::sdiff},
    {"sdiffstore", -3, flag::kWrite | flag::kGrows, {1, -1, 1}, "set", "1.0.0",
     "Subtract multiple sets and store the resulting set in a key", commands::sdiffstore},
    {"sinter", -2, flag::kReadonly, {1, -1, 1}, "set", "1.0.0",
     "Intersect multiple sets", commands::sinter},
    {"sintercard", -3, flag::kReadonly | flag::kNumkeys, {}, "set", "7.0.0",
     "Intersect multiple sets and return the cardinality of the result", commands::sintercard},
    {"sinterstore", -3, flag::kWrite | flag::kGrows, {1, -1, 1}, "set", "1.0.0",
     "Intersect multiple sets and store the resulting set in a key", commands::sinterstore},
    {"sismember", 3, flag::kReadonly | flag::kFast, {1, 1, 1}, "set", "1.0.0",
     "Determine if a given value is a member of a set", commands::sismember},
    {"smembers", 2, flag::kReadonly, {1, 1, 1}, "set", "1.0.0",
     "Get all the members in a set", commands::smembers},
    {"smismember", -3, flag::kReadonly | flag::kFast, {1, 1, 1}, "set", "6.2.0",
     "Returns the membership associated with the given elements for a set", commands::smismember},
    {"smove", 4, flag::kWrite | flag::kGrows | flag::kFast, {1, 2, 1}, "set", "1.0.0",
     "Move a member from one set to another", commands::smove},
    {"spop", -2, flag::kWrite | flag::kFast, {1, 1, 1}, "set", "1.0.0",
     "Remove and return one or multiple random members from a set", commands::spop},
    {"srandmember", -2, flag::kReadonly, {1, 1, 1}, "set", "1.0.0",
     "Get one or multiple random members from a set", commands::srandmember},
    {"srem", -3, flag::kWrite | flag::kFast, {1, 1, 1}, "set", "1.0.0",
     "Remove one or more members from a set", commands::srem},
    {"sscan", -3, flag::kReadonly, {1, 1, 1}, "set", "2.8.0",
     "Incrementally iterate Set elements", commands::sscan},
    {"sunion", -2, flag::kReadonly, {1, -1, 1}, "set", "1.0.0",
     "Add multiple sets", commands::sunion},
    {"sunionstore", -3, flag::kWrite | flag::kGrows, {1, -1, 1}, "set", "1.0.0",
     "Add multiple sets and store the resulting set in a key", commands::sunionstore},
    {"asking", 1, flag::kFast | flag::kLoading, {}, "cluster", "3.0.0",
     "Sent by cluster clients after an -ASK redirect", commands::cluster_mode},
    {"cluster", -2, 0, {}, "cluster", "3.0.0",
     "A container for cluster commands", commands::cluster},
    {"readonly", 1, flag::kFast | flag::kLoading, {}, "cluster", "3.0.0",
     "Enables read queries for a connection to a cluster replica node", commands::cluster_mode},
    {"readwrite", 1, flag::kFast | flag::kLoading, {}, "cluster", "3.0.0",
     "Disables read queries for a connection to a cluster replica node", commands::cluster_mode},
    {"crdt.barrier", 3, flag::kBlocking, {}, "crdt", "7.0.0",
     "Wait until this node has what a clock token of another node stands for", commands::crdt_barrier},
    {"crdt.clock", 1, flag::kFast, {}, "crdt", "7.0.0",
     "Return a token for everything that is durable at this node", commands::crdt_clock},
    {"crdt.conflicts", 2, flag::kReadonly, {1, 1, 1}, "crdt", "7.0.0",
     "Return the values that lost against concurrent ones, by field", commands::crdt_conflicts},
    {"crdt.forget", 2, flag::kAdmin | flag::kWrite | flag::kGrows, {}, "crdt", "7.0.0",
     "Take a member that is gone out of the cluster for good", commands::crdt_forget},
    {"crdt.info", 2, flag::kReadonly, {1, 1, 1}, "crdt", "7.0.0",
     "Return how a key is replicated: its leaves and their writers", commands::crdt_info},
    {"crdt.leave", -1, flag::kAdmin | flag::kBlocking, {}, "crdt", "7.0.0",
     "Hand over what is here, take this node out of the cluster for good, and end it", commands::crdt_leave},
    {"crdt.link", 3, flag::kAdmin, {}, "crdt", "7.0.0",
     "Cut the link to a peer for a drill, or heal it", commands::crdt_link},
    {"crdt.members", 1, flag::kLoading, {}, "crdt", "7.0.0",
     "Return the members of the cluster, as they agree on them", commands::crdt_members},
    {"crdt.peers", 1, flag::kLoading, {}, "crdt", "7.0.0",
     "Return what is known of the other replicas", commands::crdt_peers},
    {"crdt.sync", 1, flag::kLoading, {}, "crdt", "7.0.0",
     "Return the pulls and fetches under way, here and from here", commands::crdt_sync},
    {"crdt.verify", -1, flag::kAdmin | flag::kBlocking, {}, "crdt", "7.0.0",
     "Compare the data of this node with that of one peer, or of all", commands::crdt_verify},
});
// clang-format on

}  // namespace

CommandTable::CommandTable() {
    by_name_.reserve(kCommands.size());
    for (const Command& command : kCommands) by_name_.emplace(command.name, &command);
}

const Command* CommandTable::find(std::string_view name) const {
    std::array<char, kNameBytesMax> folded;
    if (name.size() > folded.size()) return nullptr;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char c = name[i];
        folded[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    }
    const auto found = by_name_.find(std::string_view(folded.data(), name.size()));
    return found == by_name_.end() ? nullptr : found->second;
}

std::span<const Command> CommandTable::all() const { return kCommands; }

std::size_t CommandTable::index_of(const Command& command) const {
    return static_cast<std::size_t>(&command - kCommands.data());
}

KeyRange keys_of(const Command& command, std::span<const std::string_view> arguments) {
    if (command.has(flag::kNumkeys)) {
        std::size_t count = 0;
        if (arguments.size() < 3) return {};
        const std::string_view text = arguments[1];
        const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), count);
        if (failure != std::errc{} || end != text.data() + text.size() ||
            count > arguments.size() - 2)
            return {};
        return KeyRange{.begin = 2, .end = 2 + count, .step = 1};
    }
    if (command.keys.first == 0) return {};
    const auto begin = static_cast<std::size_t>(command.keys.first);
    if (arguments.size() <= begin) return {};
    const std::size_t end =
        command.keys.last < 0 ? arguments.size() - static_cast<std::size_t>(-command.keys.last - 1)
                              : static_cast<std::size_t>(command.keys.last) + 1;
    return KeyRange{.begin = begin,
                    .end = end < arguments.size() ? end : arguments.size(),
                    .step = static_cast<std::size_t>(command.keys.step)};
}

}  // namespace skerry
