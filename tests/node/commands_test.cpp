// tests/node/commands_test.cpp — replies of the commands, byte for byte as Redis 7.0 gives them.
#include "node/commands.hpp"

#include "node/commands/context.hpp"
#include "tests/catch.hpp"
#include "tests/support/command_fixture.hpp"

namespace skerry {
namespace {

struct Step {
    std::string_view line;
    std::string_view reply;
};

void play(CommandFixture& f, std::initializer_list<Step> steps) {
    for (const Step& step : steps) {
        INFO(step.line);
        CHECK(f.run(step.line) == step.reply);
    }
}

constexpr std::string_view kWrong =
    "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
constexpr std::string_view kNotInteger = "-ERR value is not an integer or out of range\r\n";
constexpr std::string_view kSyntax = "-ERR syntax error\r\n";
constexpr std::string_view kOk = "+OK\r\n";
constexpr std::string_view kNull = "$-1\r\n";

}  // namespace

TEST_CASE("commands: every command of the table is found by its name in letters of either case",
          "[commands]") {
    const CommandTable table;
    for (const Command& command : table.all()) {
        std::string name(command.name);
        for (char& letter : name)
            letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
        CHECK(table.find(name) == &command);
        CHECK(table.find(command.name) == &command);
        CHECK(command.handler != nullptr);
        CHECK((command.has(flag::kWrite) && command.has(flag::kReadonly)) == false);
    }
    CHECK(table.find(std::string(100, 'a')) == nullptr);
}

TEST_CASE("commands: errors of form are Redis's own", "[commands]") {
    CommandFixture f;
    play(f, {{"nope a b", "-ERR unknown command 'nope', with args beginning with: 'a' 'b' \r\n"},
             {"GET", "-ERR wrong number of arguments for 'get' command\r\n"},
             {"get a b", "-ERR wrong number of arguments for 'get' command\r\n"},
             {"client setname", "-ERR wrong number of arguments for 'client|setname' command\r\n"},
             {"client nope", "-ERR unknown subcommand 'nope'. Try CLIENT HELP.\r\n"},
             {"hset h a", "-ERR wrong number of arguments for 'hset' command\r\n"},
             {"mset a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"}});
}

TEST_CASE("commands: connection", "[commands]") {
    CommandFixture f;
    play(f, {{"PING", "+PONG\r\n"},
             {"ping hi", "$2\r\nhi\r\n"},
             {"ECHO x", "$1\r\nx\r\n"},
             {"SELECT 16", "-ERR DB index is out of range\r\n"},
             {"SELECT x", "-ERR invalid DB index\r\n"},
             {"SELECT 15", kOk},
             {"SET k v", kOk},
             {"SELECT 0", kOk},
             {"EXISTS k", ":0\r\n"},
             {"CLIENT ID", ":9\r\n"},
             {"CLIENT GETNAME", kNull},
             {"CLIENT SETNAME me", kOk},
             {"CLIENT GETNAME", "$2\r\nme\r\n"},
             {"CLIENT SETINFO LIB-NAME py", kOk},
             {"CLIENT REPLY SKIP", ""},
             {"PING", ""},
             {"PING", "+PONG\r\n"},
             {"AUTH x",
              "-ERR AUTH <password> called without any password configured for the default user. "
              "Are you sure "
              "your configuration is correct?\r\n"},
             {"CLIENT KILL 9.9.9.9:1", "-ERR No such client\r\n"},
             {"CLIENT KILL ID 9", ":0\r\n"},
             {"HELLO 4", "-NOPROTO unsupported protocol version\r\n"}});
    CHECK(f.run("CLIENT LIST").find("id=9 addr=1.2.3.4:55 laddr=10.0.0.1:7000 fd=-1 name=me ") !=
          std::string::npos);
    CHECK(f.run("HELLO 3").starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"));
    play(f, {{"GET none", "_\r\n"},
             {"HGETALL none", "%0\r\n"},
             {"SMEMBERS none", "~0\r\n"},
             {"RESET", "+RESET\r\n"},
             {"GET none", kNull},
             {"QUIT", kOk}});
    CHECK(f.connection.closing());
}

TEST_CASE("commands: a password is asked for until it is given", "[commands]") {
    CommandFixture f;
    f.node.secret = "sesame";
    play(f, {{"GET a", "-NOAUTH Authentication required.\r\n"},
             {"AUTH nope", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
             {"AUTH other sesame",
              "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
             {"GET a", "-NOAUTH Authentication required.\r\n"},
             {"AUTH sesame", kOk},
             {"GET a", kNull},
             {"RESET", "+RESET\r\n"},
             {"GET a", "-NOAUTH Authentication required.\r\n"}});
    CHECK(f.run("HELLO 2 AUTH default sesame").starts_with("*14\r\n"));
    play(f, {{"GET a", kNull}});
}

TEST_CASE("commands: a full disk refuses writes and lets removals go on", "[commands]") {
    CommandFixture f;
    play(f, {{"SADD s a b", ":2\r\n"}, {"SET k v", kOk}, {"HSET h f v", ":1\r\n"}});
    f.node.refusal = "MISCONF the disk is full";
    play(f, {{"SET k w", "-MISCONF the disk is full\r\n"},
             {"EXPIRE k 10", "-MISCONF the disk is full\r\n"},
             {"GET k", "$1\r\nv\r\n"},
             {"SREM s a", ":1\r\n"},
             {"SPOP s", "$1\r\nb\r\n"},
             {"HDEL h f", ":1\r\n"},
             {"EXPIRE k -1", ":1\r\n"},
             {"FLUSHALL", kOk},
             {"DBSIZE", ":0\r\n"}});
}

TEST_CASE("commands: while it catches up a node tells how far it is, and nothing else",
          "[commands]") {
    CommandFixture f;
    play(f, {{"SET k v", kOk}});
    f.node.closed = "LOADING Skerry is catching up: its peers are being met";
    const std::string refused = "-" + *f.node.closed + "\r\n";
    for (const char* line : {"GET k", "SET k w", "DBSIZE", "PING", "CLUSTER INFO", "WAIT 0 0"})
        CHECK(f.run(line) == refused);
    play(f, {{"SELECT 1", kOk},
             {"CONFIG GET maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$3\r\n100\r\n"},
             {"CRDT.SYNC", "*1\r\n*2\r\n$4\r\npeer\r\n$4\r\nbeta\r\n"}});
    for (const char* line : {"HELLO 2", "INFO server", "COMMAND COUNT", "CLIENT ID", "CRDT.PEERS",
                             "CRDT.CLOCK", "CRDT.INFO k"})
        CHECK(f.run(line) != refused);
    f.node.closed.reset();
    play(f, {{"SELECT 0", kOk}, {"GET k", "$1\r\nv\r\n"}, {"PING", "+PONG\r\n"}});
}

TEST_CASE("commands: keys, members and fields beyond their limit are refused", "[commands]") {
    CommandFixture f;
    const std::string longest(kKeyBytesMax, 'k');
    CHECK(f.run({"SET", longest, "v"}) == kOk);
    CHECK(f.run({"SET", longest + "k", "v"}) == "-ERR key exceeds 65536 bytes\r\n");
    CHECK(f.run({"SADD", "s", "a", longest + "k"}) == "-ERR member exceeds 65536 bytes\r\n");
    CHECK(f.run({"HSET", "h", longest + "k", "v"}) == "-ERR field exceeds 65536 bytes\r\n");
    CHECK(f.run({"HINCRBY", "h", longest + "k", "1"}) == "-ERR field exceeds 65536 bytes\r\n");
    CHECK(f.run({"SETRANGE", "s", "67108864", "x"}) ==
          "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    CHECK(f.run("DBSIZE") == ":1\r\n");
}

TEST_CASE("commands: the reply to a write waits until it is durable, and so does a read of it",
          "[commands]") {
    CommandFixture f;
    f.execute({"SET", "k", "v"});
    CHECK(f.take().empty());
    CHECK(Commands::session_of(f.connection).last_write == f.store().applied());
    f.commit();
    CHECK(f.take() == kOk);
    f.execute({"GET", "k"});
    CHECK(f.take() == "$1\r\nv\r\n");
    f.execute({"SET", "other", "v"});
    Connection second(ConnectionInfo{.id = 10, .peer = "1.2.3.4:56", .local = "10.0.0.1:7000"});
    const std::vector<std::string_view> read = {"GET", "other"};
    f.commands().execute(second, read);
    second.end_round();
    CHECK(second.sendable().empty());
    second.release(f.store().applied());
    CHECK(second.sendable() == "$1\r\nv\r\n");
}

TEST_CASE("commands: strings", "[commands]") {
    CommandFixture f;
    play(f, {{"SET a 1", kOk},
             {"GET a", "$1\r\n1\r\n"},
             {"SET a 2 NX", kNull},
             {"SET b 2 XX", kNull},
             {"SET a 2 XX GET", "$1\r\n1\r\n"},
             {"SET a x NX XX", kSyntax},
             {"SET a x EX 0", "-ERR invalid expire time in 'set' command\r\n"},
             {"SET a x EX abc", kNotInteger},
             {"SET a x EX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"},
             {"SETNX a 3", ":0\r\n"},
             {"SETNX c 3", ":1\r\n"},
             {"MGET a b c", "*3\r\n$1\r\n2\r\n$-1\r\n$1\r\n3\r\n"},
             {"MSET x 1 y 2", kOk},
             {"MSETNX y 1 z 1", ":0\r\n"},
             {"MSETNX z 1 w 2", ":1\r\n"},
             {"GETSET x 9", "$1\r\n1\r\n"},
             {"GETDEL x", "$1\r\n9\r\n"},
             {"GETDEL x", kNull},
             {"APPEND t ab", ":2\r\n"},
             {"APPEND t cd", ":4\r\n"},
             {"STRLEN t", ":4\r\n"},
             {"GETRANGE t 1 2", "$2\r\nbc\r\n"},
             {"GETRANGE t -3 -1", "$3\r\nbcd\r\n"},
             {"SUBSTR t 5 9", "$0\r\n\r\n"},
             {"SETRANGE t 2 XY", ":4\r\n"},
             {"GET t", "$4\r\nabXY\r\n"},
             {"SETRANGE none 5 ''", ":0\r\n"},
             {"SETRANGE t -1 x", "-ERR offset is out of range\r\n"},
             {"SADD s m", ":1\r\n"},
             {"GET s", kWrong},
             {"INCR s", kWrong},
             {"SET s v GET", kWrong},
             {"MGET s", "*1\r\n$-1\r\n"}});
}

TEST_CASE("commands: numbers in strings", "[commands]") {
    CommandFixture f;
    play(f, {{"INCR n", ":1\r\n"},
             {"INCRBY n 41", ":42\r\n"},
             {"DECR n", ":41\r\n"},
             {"DECRBY n 2", ":39\r\n"},
             {"INCRBY n x", kNotInteger},
             {"SET t abc", kOk},
             {"INCR t", kNotInteger},
             {"SET big 9223372036854775807", kOk},
             {"INCR big", "-ERR increment or decrement would overflow\r\n"},
             {"DECRBY n -9223372036854775808", "-ERR decrement would overflow\r\n"},
             {"INCRBYFLOAT n 0.5", "$4\r\n39.5\r\n"},
             {"INCRBYFLOAT n x", "-ERR value is not a valid float\r\n"},
             {"INCRBYFLOAT t 1", "-ERR value is not a valid float\r\n"},
             {"GET n", "$4\r\n39.5\r\n"}});
}

TEST_CASE("commands: longest common subsequence", "[commands]") {
    CommandFixture f;
    play(f, {{"MSET key1 ohmytext key2 mynewtext", kOk},
             {"LCS key1 key2", "$6\r\nmytext\r\n"},
             {"LCS key1 key2 LEN", ":6\r\n"},
             {"LCS key1 key2 IDX MINMATCHLEN 4 WITHMATCHLEN",
              "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$"
              "3\r\nlen\r\n:6\r\n"},
             {"LCS key1 key2 IDX",
              "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n*2\r\n*2\r\n:"
              "2\r\n:3\r\n*2\r\n:0\r\n:1\r\n"
              "$3\r\nlen\r\n:6\r\n"},
             {"LCS key1 key2 LEN IDX",
              "-ERR If you want both the length and indexes, please just use IDX.\r\n"}});
}

TEST_CASE("commands: times to live", "[commands]") {
    CommandFixture f;
    using namespace std::chrono_literals;
    play(f, {{"TTL k", ":-2\r\n"},
             {"SET k v", kOk},
             {"TTL k", ":-1\r\n"},
             {"EXPIRE k 10", ":1\r\n"},
             {"TTL k", ":10\r\n"},
             {"PTTL k", ":10000\r\n"},
             {"EXPIRETIME k", ":1700000010\r\n"},
             {"EXPIRE k 5 GT", ":0\r\n"},
             {"EXPIRE k 20 NX", ":0\r\n"},
             {"EXPIRE k 20 XX", ":1\r\n"},
             {"PEXPIRE k 15000 LT", ":1\r\n"},
             {"EXPIRE k 1 NX XX",
              "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n"},
             {"EXPIRE k 1 GT LT", "-ERR GT and LT options at the same time are not compatible\r\n"},
             {"EXPIRE k 1 ZZ", "-ERR Unsupported option ZZ\r\n"},
             {"EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n"},
             {"PERSIST k", ":1\r\n"},
             {"PERSIST k", ":0\r\n"},
             {"TTL k", ":-1\r\n"},
             {"SET k v EX 10", kOk},
             {"SET k w KEEPTTL", kOk},
             {"TTL k", ":10\r\n"},
             {"APPEND k x", ":2\r\n"},
             {"TTL k", ":10\r\n"},
             {"GETEX k PERSIST", "$2\r\nwx\r\n"},
             {"TTL k", ":-1\r\n"},
             {"GETEX k PX 4000", "$2\r\nwx\r\n"},
             {"PTTL k", ":4000\r\n"},
             {"SETEX e 1 v", kOk},
             {"PSETEX e 0 v", "-ERR invalid expire time in 'psetex' command\r\n"}});
    f.advance(4000ms);
    play(f, {{"GET k", kNull},
             {"EXISTS e", ":0\r\n"},
             {"TTL k", ":-2\r\n"},
             {"SET k v PXAT 1", kOk},
             {"GET k", kNull},
             {"SET k v", kOk},
             {"EXPIREAT k 1", ":1\r\n"},
             {"EXISTS k", ":0\r\n"}});
}

TEST_CASE("commands: keys", "[commands]") {
    CommandFixture f;
    play(f, {{"MSET a 1 b 2", kOk},
             {"SADD s m", ":1\r\n"},
             {"HSET h f v", ":1\r\n"},
             {"TYPE a", "+string\r\n"},
             {"TYPE s", "+set\r\n"},
             {"TYPE h", "+hash\r\n"},
             {"TYPE none", "+none\r\n"},
             {"EXISTS a a none s", ":3\r\n"},
             {"TOUCH a none", ":1\r\n"},
             {"DEL a a none", ":1\r\n"},
             {"UNLINK b s", ":2\r\n"},
             {"DBSIZE", ":1\r\n"},
             {"KEYS h*", "*1\r\n$1\r\nh\r\n"},
             {"RANDOMKEY", "$1\r\nh\r\n"},
             {"RENAME none x", "-ERR no such key\r\n"},
             {"RENAME h g", kOk},
             {"HGET g f", "$1\r\nv\r\n"},
             {"EXISTS h", ":0\r\n"},
             {"RENAME g g", kOk},
             {"SET x 1", kOk},
             {"RENAMENX g x", ":0\r\n"},
             {"RENAMENX g y", ":1\r\n"},
             {"COPY y x", ":0\r\n"},
             {"COPY y x REPLACE", ":1\r\n"},
             {"TYPE x", "+hash\r\n"},
             {"COPY y y", "-ERR source and destination objects are the same\r\n"},
             {"COPY y y DB 3", ":1\r\n"},
             {"COPY y y DB 16", "-ERR DB index is out of range\r\n"},
             {"COPY none z", ":0\r\n"},
             {"SET i 12", kOk},
             {"OBJECT ENCODING i", "$3\r\nint\r\n"},
             {"OBJECT REFCOUNT i", ":1\r\n"},
             {"OBJECT ENCODING none", kNull},
             {"FLUSHDB", kOk},
             {"DBSIZE", ":0\r\n"},
             {"RANDOMKEY", kNull},
             {"SELECT 3", kOk},
             {"DBSIZE", ":1\r\n"},
             {"FLUSHALL ASYNC", kOk},
             {"DBSIZE", ":0\r\n"}});
}

TEST_CASE("commands: FLUSHALL takes many keys away at once, but what counts a part at a time",
          "[commands]") {
    CommandFixture f;
    const auto fill = [&](const std::string& value) {
        for (const char* database : {"1", "4"}) {
            f.run("SELECT " + std::string(database));
            for (int i = 0; i < 2500; ++i) f.run("SET k" + std::to_string(i) + " " + value);
        }
    };
    fill("text");
    CHECK(f.run("FLUSHALL") == kOk);
    CHECK(f.database().key_count(1) + f.database().key_count(4) == 0);
    fill("7");
    f.run("SADD set member");
    CHECK(f.run("FLUSHALL").empty());  // the reply is the node's
    REQUIRE(f.node.flushing);
    CHECK(f.database().key_count(1) > 1000);
    CHECK(f.database().key_count(1) < 2000);
    int parts = 1;
    while (!f.database().flush_some(*f.node.flushing, 1000)) {
        f.database().set(1, "k7", "again");  // behind the cursor, in the end
        ++parts;
    }
    CHECK(parts >= 4);
    CHECK(f.database().key_count(1) == 1);
    CHECK(f.database().key_count(4) == 0);
}

TEST_CASE("commands: SCAN visits every key once when nothing changes", "[commands]") {
    CommandFixture f;
    for (int i = 0; i < 300; ++i)
        f.run({i % 3 == 0 ? "SADD" : "SET", "k" + std::to_string(i), "v"});
    const auto walk = [&](const std::string& options) {
        std::vector<std::string> keys;
        std::string cursor = "0";
        do {
            const std::string reply = f.run("SCAN " + cursor + options);
            std::vector<std::string> lines;
            for (std::size_t at = 0; at < reply.size();) {
                const std::size_t end = reply.find("\r\n", at);
                lines.push_back(reply.substr(at, end - at));
                at = end + 2;
            }
            cursor = lines.at(2);
            for (std::size_t i = 5; i < lines.size(); i += 2) keys.push_back(lines[i]);
        } while (cursor != "0");
        std::sort(keys.begin(), keys.end());
        CHECK(std::adjacent_find(keys.begin(), keys.end()) == keys.end());
        return keys.size();
    };
    CHECK(walk("") == 300);
    CHECK(walk(" COUNT 7") == 300);
    CHECK(walk(" TYPE set COUNT 50") == 100);
    CHECK(walk(" MATCH k1?") == 10);
    play(f, {{"SCAN x", "-ERR invalid cursor\r\n"},
             {"SCAN 0 COUNT 0", kSyntax},
             {"SCAN 0 NOPE 1", kSyntax}});
}

TEST_CASE("commands: hashes", "[commands]") {
    CommandFixture f;
    play(f, {{"HSET h a 1 b 2", ":2\r\n"},
             {"HSET h a 3", ":0\r\n"},
             {"HMSET h c 4", kOk},
             {"HGET h a", "$1\r\n3\r\n"},
             {"HGET h z", kNull},
             {"HMGET h a z", "*2\r\n$1\r\n3\r\n$-1\r\n"},
             {"HLEN h", ":3\r\n"},
             {"HEXISTS h a", ":1\r\n"},
             {"HSTRLEN h a", ":1\r\n"},
             {"HSETNX h a 9", ":0\r\n"},
             {"HSETNX h d 9", ":1\r\n"},
             {"HDEL h b c d z", ":3\r\n"},
             {"HGETALL h", "*2\r\n$1\r\na\r\n$1\r\n3\r\n"},
             {"HKEYS h", "*1\r\n$1\r\na\r\n"},
             {"HVALS h", "*1\r\n$1\r\n3\r\n"},
             {"HINCRBY h a 4", ":7\r\n"},
             {"HINCRBYFLOAT h a 0.25", "$4\r\n7.25\r\n"},
             {"HINCRBY h a 1", "-ERR hash value is not an integer\r\n"},
             {"HSET h t x", ":1\r\n"},
             {"HINCRBYFLOAT h t 1", "-ERR hash value is not a float\r\n"},
             {"HDEL h t", ":1\r\n"},
             {"HRANDFIELD h", "$1\r\na\r\n"},
             {"HRANDFIELD h 5 WITHVALUES", "*2\r\n$1\r\na\r\n$4\r\n7.25\r\n"},
             {"HRANDFIELD h -2", "*2\r\n$1\r\na\r\n$1\r\na\r\n"},
             {"HRANDFIELD none", kNull},
             {"HRANDFIELD none -2", "*0\r\n"},
             {"HSCAN h 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$4\r\n7.25\r\n"},
             {"HDEL h a", ":1\r\n"},
             {"EXISTS h", ":0\r\n"},
             {"SET s v", kOk},
             {"HGET s f", kWrong},
             {"HSET s f v", kWrong},
             {"HLEN s", kWrong}});
}

TEST_CASE("commands: sets", "[commands]") {
    CommandFixture f;
    play(f, {{"SADD s a b a", ":2\r\n"},
             {"SCARD s", ":2\r\n"},
             {"SISMEMBER s a", ":1\r\n"},
             {"SISMEMBER s z", ":0\r\n"},
             {"SMISMEMBER s a z", "*2\r\n:1\r\n:0\r\n"},
             {"SREM s b z", ":1\r\n"},
             {"SMEMBERS s", "*1\r\n$1\r\na\r\n"},
             {"SMOVE s t a", ":1\r\n"},
             {"EXISTS s", ":0\r\n"},
             {"SMOVE s t a", ":0\r\n"},
             {"SADD u a c d", ":3\r\n"},
             {"SINTER t u", "*1\r\n$1\r\na\r\n"},
             {"SINTER t none", "*0\r\n"},
             {"SDIFF t u", "*0\r\n"},
             {"SUNIONSTORE v t u", ":3\r\n"},
             {"SDIFFSTORE w v t", ":2\r\n"},
             {"SINTERSTORE w t none", ":0\r\n"},
             {"EXISTS w", ":0\r\n"},
             {"SINTERCARD 2 t u", ":1\r\n"},
             {"SINTERCARD 2 v u LIMIT 2", ":2\r\n"},
             {"SINTERCARD 0 a", "-ERR numkeys should be greater than 0\r\n"},
             {"SINTERCARD 3 a b", "-ERR Number of keys can't be greater than number of args\r\n"},
             {"SINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative\r\n"},
             {"SRANDMEMBER t", "$1\r\na\r\n"},
             {"SRANDMEMBER t -3", "*3\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n"},
             {"SRANDMEMBER t 9", "*1\r\n$1\r\na\r\n"},
             {"SSCAN t 0", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"},
             {"SPOP t -1", "-ERR value is out of range, must be positive\r\n"},
             {"SPOP t", "$1\r\na\r\n"},
             {"SPOP t", kNull},
             {"SPOP t 2", "*0\r\n"},
             {"SPOP u 0", "*0\r\n"},
             {"SET x v", kOk},
             {"SADD x a", kWrong},
             {"SMOVE u x a", kWrong},
             {"SUNION u x", kWrong},
             {"SUNIONSTORE x u", ":3\r\n"}});
}

TEST_CASE("commands: random members are members, and different when they must be", "[commands]") {
    CommandFixture f;
    for (int i = 0; i < 200; ++i) f.run("SADD s m" + std::to_string(i));
    for (const std::string count : {"5", "150", "200", "900"}) {
        const std::string reply = f.run("SRANDMEMBER s " + count);
        CHECK(reply.starts_with("*" + std::to_string(std::min(std::stoi(count), 200)) + "\r\n"));
    }
    CHECK(f.run("SPOP s 150").starts_with("*150\r\n"));
    CHECK(f.run("SCARD s") == ":50\r\n");
}

TEST_CASE("commands: bits", "[commands]") {
    CommandFixture f;
    play(f, {{"SET m foobar", kOk},
             {"BITCOUNT m", ":26\r\n"},
             {"BITCOUNT m 1 1", ":6\r\n"},
             {"BITCOUNT m 5 30 BIT", ":17\r\n"},
             {"BITCOUNT m 0", kSyntax},
             {"BITCOUNT none", ":0\r\n"},
             {"GETBIT m 1", ":1\r\n"},
             {"GETBIT m 900", ":0\r\n"},
             {"SETBIT b 7 1", ":0\r\n"},
             {"SETBIT b 7 0", ":1\r\n"},
             {"STRLEN b", ":1\r\n"},
             {"SETBIT b 7 2", "-ERR bit is not an integer or out of range\r\n"},
             {"SETBIT b -1 1", "-ERR bit offset is not an integer or out of range\r\n"},
             {"BITPOS m 1", ":1\r\n"},
             {"BITPOS m 0", ":0\r\n"},
             {"BITPOS b 1", ":-1\r\n"},
             {"BITPOS none 0", ":0\r\n"},
             {"BITPOS none 1", ":-1\r\n"},
             {"SETBIT ones 0 1", ":0\r\n"},
             {"BITFIELD ones SET u8 0 255", "*1\r\n:128\r\n"},
             {"BITPOS ones 0", ":8\r\n"},
             {"BITPOS ones 0 0 0", ":-1\r\n"},
             {"BITPOS m 2", "-ERR The bit argument must be 1 or 0.\r\n"},
             {"MSET x abc y ab", kOk},
             {"BITOP AND z x y", ":3\r\n"},
             {"BITCOUNT z", ":6\r\n"},
             {"BITOP XOR z x x", ":3\r\n"},
             {"BITCOUNT z", ":0\r\n"},
             {"BITOP NOT z x y", "-ERR BITOP NOT must be called with a single source key.\r\n"},
             {"BITOP OR z none", ":0\r\n"},
             {"EXISTS z", ":0\r\n"}});
}

TEST_CASE("commands: bit fields", "[commands]") {
    CommandFixture f;
    play(f, {{"BITFIELD k INCRBY i5 100 1 GET u4 0", "*2\r\n:1\r\n:0\r\n"},
             {"BITFIELD k SET i8 0 -1 GET u8 0", "*2\r\n:0\r\n:255\r\n"},
             {"BITFIELD k INCRBY u8 0 1", "*1\r\n:0\r\n"},
             {"BITFIELD k OVERFLOW SAT INCRBY u2 #40 5", "*1\r\n:3\r\n"},
             {"BITFIELD k OVERFLOW FAIL INCRBY u2 #40 1", "*1\r\n$-1\r\n"},
             {"BITFIELD k OVERFLOW SAT INCRBY i8 #20 -200", "*1\r\n:-128\r\n"},
             {"BITFIELD k INCRBY i8 #20 -1", "*1\r\n:127\r\n"},
             {"BITFIELD k SET i64 0 -9223372036854775808", "*1\r\n:0\r\n"},
             {"BITFIELD k INCRBY i64 0 -1", "*1\r\n:9223372036854775807\r\n"},
             {"BITFIELD k GET u64 0",
              "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not "
              "supported but i64 is.\r\n"},
             {"BITFIELD k OVERFLOW NOPE", "-ERR Invalid OVERFLOW type specified\r\n"},
             {"BITFIELD_RO k SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand\r\n"},
             {"BITFIELD_RO none GET u8 0", "*1\r\n:0\r\n"},
             {"EXISTS none", ":0\r\n"}});
}

TEST_CASE("commands: the table answers COMMAND", "[commands]") {
    CommandFixture f;
    const std::string count = std::to_string(f.commands().table().all().size());
    CHECK(f.run("COMMAND COUNT") == ":" + count + "\r\n");
    CHECK(f.run("COMMAND").starts_with("*" + count + "\r\n*10\r\n"));
    play(f, {{"COMMAND INFO get nope",
              "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*"
              "3\r\n+@read\r\n+@fast\r\n+@string\r\n"
              "*0\r\n*0\r\n*0\r\n*-1\r\n"},
             {"COMMAND GETKEYS mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
             {"COMMAND GETKEYS sintercard 2 a b LIMIT 1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
             {"COMMAND GETKEYS bitop and d a", "*2\r\n$1\r\nd\r\n$1\r\na\r\n"},
             {"COMMAND GETKEYS ping", "-ERR The command has no key arguments\r\n"},
             {"COMMAND GETKEYS nope", "-ERR Invalid command specified\r\n"},
             {"COMMAND LIST FILTERBY PATTERN hsetn*", "*1\r\n$6\r\nhsetnx\r\n"},
             {"COMMAND DOCS get",
              "*2\r\n$3\r\nget\r\n*6\r\n$7\r\nsummary\r\n$22\r\nGet the value of a "
              "key\r\n$5\r\nsince\r\n"
              "$5\r\n1.0.0\r\n$5\r\ngroup\r\n$6\r\nstring\r\n"}});
}

TEST_CASE("commands: the node answers CONFIG, INFO, TIME and SHUTDOWN", "[commands]") {
    CommandFixture f;
    play(f, {{"CONFIG GET max*", "*2\r\n$9\r\nmaxmemory\r\n$3\r\n100\r\n"},
             {"CONFIG SET maxmemory 1", kOk},
             {"CONFIG SET port 1",
              "-ERR CONFIG SET failed (possibly related to argument 'port') - it is fixed\r\n"},
             {"CONFIG SET zz 1",
              "-ERR Unknown option or number of arguments for CONFIG SET - 'zz'\r\n"},
             {"TIME", "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"},
             {"LASTSAVE", ":77\r\n"},
             {"SET k v", kOk},
             {"INFO server", "$31\r\n# Server\r\nredis_version:7.0.0\r\n\r\n"},
             {"INFO keyspace", "$44\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n\r\n"}});
    CHECK(f.run("INFO commandstats")
              .find("cmdstat_set:calls=1,usec=1,usec_per_call=1.00,rejected_calls=0") !=
          std::string::npos);
    CHECK(f.run("CONFIG RESETSTAT") == kOk);
    CHECK(f.node.resets == 1);
    CHECK(f.run("INFO commandstats").find("cmdstat_set:") == std::string::npos);
    CHECK(f.run("INFO errorstats").find("errorstat_") == std::string::npos);
    CHECK(f.run("NOSUCH x").starts_with("-ERR unknown command"));
    CHECK(f.run("GET").starts_with("-ERR wrong number"));
    CHECK(f.run("SADD s m") == ":1\r\n");
    CHECK(f.run("GET s").starts_with("-WRONGTYPE"));
    CHECK(f.run("INFO errorstats")
              .ends_with("errorstat_ERR:count=2\r\nerrorstat_WRONGTYPE:count=1\r\n\r\n"));
    CHECK(f.run("SHUTDOWN NOSAVE").empty());
    CHECK(f.node.shutdowns == 1);
}

TEST_CASE("commands: cluster", "[commands]") {
    CommandFixture f;
    const std::string a(40, 'a');
    const std::string b(40, 'b');
    play(f, {{"CLUSTER KEYSLOT foo", ":12182\r\n"},
             {"CLUSTER MYID", "$40\r\n" + a + "\r\n"},
             {"CLUSTER SLOTS",
              "*1\r\n*4\r\n:0\r\n:16383\r\n*4\r\n$8\r\n10.0.0.1\r\n:7000\r\n$40\r\n" + a +
                  "\r\n*0\r\n*4\r\n$8\r\n10.0.0.2\r\n:7001\r\n$40\r\n" + b + "\r\n*0\r\n"},
             {"SET foo 1", kOk},
             {"SET {foo}2 1", kOk},
             {"CLUSTER COUNTKEYSINSLOT 12182", ":2\r\n"},
             {"CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot\r\n"},
             {"READONLY", kOk},
             {"ASKING", kOk},
             {"CLUSTER REPLICAS x", "-ERR Unknown node x\r\n"},
             {"CLUSTER NOPE", "-ERR unknown subcommand 'NOPE'. Try CLUSTER HELP.\r\n"}});
    CHECK(f.run("CLUSTER GETKEYSINSLOT 12182 1").starts_with("*1\r\n"));
    CHECK(f.run("CLUSTER NODES")
              .find(a + " 10.0.0.1:7000@7000 myself,master - 0 0 1 connected 0-16383\n" + b) !=
          std::string::npos);
}

TEST_CASE("commands: what Redis does not have", "[commands]") {
    CommandFixture f;
    play(f, {{"CRDT.CONFLICTS k", "*0\r\n"},
             {"CRDT.INFO k", kNull},
             {"SET k v", kOk},
             {"CRDT.CONFLICTS k", "*0\r\n"},
             {"CRDT.BARRIER xyz 10", "-ERR invalid clock token\r\n"},
             {"CRDT.PEERS", "*1\r\n*4\r\n$4\r\nname\r\n$4\r\nbeta\r\n$5\r\nstate\r\n$2\r\nup\r\n"},
             {"CRDT.VERIFY", "$3\r\nall\r\n"},
             {"CRDT.VERIFY beta", "$4\r\nbeta\r\n"},
             {"CRDT.VERIFY repair", "$12\r\nall repaired\r\n"},
             {"CRDT.VERIFY beta REPAIR", "$13\r\nbeta repaired\r\n"},
             {"CRDT.VERIFY beta gamma", "-ERR CRDT.VERIFY [peer] [REPAIR]\r\n"},
             {"WAIT 1 0", ":0\r\n"},
             {"WAIT 1 -1", "-ERR timeout is negative\r\n"},
             {"WAIT 1 x", "-ERR timeout is not an integer or out of range\r\n"}});
    play(f, {{"CRDT.FORGET gamma", kOk},
             {"CRDT.FORGET delta", "-ERR no member is named so\r\n"},
             {"CRDT.LEAVE", ":60000\r\n"},
             {"CRDT.LEAVE 5", ":5\r\n"},
             {"CRDT.LEAVE soon", "-ERR timeout is not an integer or out of range\r\n"},
             {"CRDT.LEAVE 5 6", "-ERR CRDT.LEAVE [timeout-ms]\r\n"}});
    play(f, {{"CRDT.LINK beta cut", kOk},
             {"CRDT.LINK gamma heal", "-ERR no such peer\r\n"},
             {"CRDT.LINK beta break", "-ERR CRDT.LINK peer cut|heal\r\n"}});
    const std::string info = f.run("CRDT.INFO k");
    CHECK(info.find("$3\r\ndot\r\n$19\r\nr0000000000000007:1\r\n") != std::string::npos);
    CHECK(info.find("$5\r\nstate\r\n$4\r\nlive\r\n") != std::string::npos);
    const std::string reply = f.run("CRDT.CLOCK");
    const std::string token =
        reply.substr(reply.find("\r\n") + 2, reply.size() - reply.find("\r\n") - 4);
    CHECK(f.run("CRDT.BARRIER " + token + " 10") == kOk);
    CHECK(f.run("CRDT.BARRIER " + token + " -1") == "-ERR timeout is negative\r\n");
}

TEST_CASE("commands: CRDT.CONFLICTS shows what lost and what is hidden, until a write has seen it",
          "[commands]") {
    CommandFixture a(ReplicaId{7});
    CommandFixture b(ReplicaId{8});
    const auto meet = [&] {
        a.hear(b);
        b.hear(a);
    };
    const auto both = [&](const std::string& line, const std::string& reply) {
        INFO(line);
        CHECK(a.run(line) == reply);
        CHECK(b.run(line) == reply);
    };
    a.run("SET k one");
    a.run("HSET h f one");
    a.run("SADD t x");
    b.advance(WallTime(10));
    b.run("SET k two");
    b.run("HSET h f two");
    b.run("HSET h g only");
    b.run("SET t text");
    meet();
    both("CRDT.CONFLICTS k",
         "*1\r\n*4\r\n$4\r\nkind\r\n$7\r\nsibling\r\n$5\r\nvalue\r\n$3\r\none\r\n");
    both("CRDT.CONFLICTS h",
         "*1\r\n*6\r\n$4\r\nkind\r\n$7\r\nsibling\r\n$5\r\nfield\r\n$1\r\nf\r\n"
         "$5\r\nvalue\r\n$3\r\none\r\n");
    both("TYPE t", "+string\r\n");
    both("CRDT.CONFLICTS t",
         "*1\r\n*6\r\n$4\r\nkind\r\n$4\r\ntype\r\n$4\r\ntype\r\n$3\r\nset\r\n"
         "$8\r\nelements\r\n:1\r\n");
    // Every writer that has an entry is shown, with its dot and its clock.
    const std::string info = a.run("CRDT.INFO k");
    for (const char* part : {"r0000000000000007:1", "r0000000000000008:1", "1700000000010"})
        CHECK(info.find(part) != std::string::npos);
    a.run("SET k three");
    a.run("HSET h f three");
    a.run("SET t other");
    meet();
    for (const char* line : {"CRDT.CONFLICTS k", "CRDT.CONFLICTS h", "CRDT.CONFLICTS t"})
        both(line, "*0\r\n");
}

TEST_CASE(
    "commands: a sum of floats that its writer cannot hold is refused before anything changes",
    "[commands]") {
    CommandFixture f;
    const std::string huge = "1" + std::string(4932, '0');
    const std::string kInfinite = "-ERR increment would produce NaN or Infinity\r\n";
    CHECK(f.run("SET k -" + huge) == kOk);
    CHECK(f.run("INCRBYFLOAT k " + huge) == "$1\r\n0\r\n");
    const std::string before = f.run("CRDT.INFO k");
    CHECK(f.run("INCRBYFLOAT k " + huge) == kInfinite);  // 1e4932 to see, 2e4932 to keep
    CHECK(f.run("CRDT.INFO k") == before);
    CHECK(f.run("INCRBYFLOAT k 2.5") == "$3\r\n2.5\r\n");
    CHECK(f.run("HSET h f -" + huge) == ":1\r\n");
    CHECK(f.run("HINCRBYFLOAT h f " + huge) == "$1\r\n0\r\n");
    CHECK(f.run("HINCRBYFLOAT h f " + huge) == kInfinite);
    CHECK(f.run("HINCRBYFLOAT fresh f inf").starts_with("-ERR"));
    CHECK(f.run("EXISTS fresh") == ":0\r\n");
}

TEST_CASE("commands: what is too much for one log record is refused, and nothing is changed",
          "[commands]") {
    CommandFixture f;
    const std::string refused = "-" + std::string(commands::kTooMuch) + "\r\n";
    {
        const std::string value(60U << 20, 'v');  // seven of them are more than 400 MiB
        for (const std::string field : {"1", "2", "3", "4", "5", "6"})
            CHECK(f.run({"HSET", "h", field, value}) == ":1\r\n");
    }
    CHECK(f.run("COPY h whole") == ":1\r\n");
    CHECK(f.run("HLEN whole") == ":6\r\n");
    CHECK(f.run({"HSET", "h", "7", std::string(kValueBytesMax, 'v')}) == ":1\r\n");
    const LogPosition before = f.store().durable();
    CHECK(f.run("COPY h copy") == refused);
    CHECK(f.run("RENAME h whole") == refused);
    CHECK(f.run("RENAMENX h copy") == refused);
    CHECK(f.store().durable() == before);
    CHECK(f.run("EXISTS copy") == ":0\r\n");
    CHECK(f.run("HLEN whole") == ":6\r\n");
    CHECK(f.run("DEL h whole") == ":2\r\n");
}

TEST_CASE("commands: a command's weight counts elements and bytes", "[commands]") {
    WriteWeight many;
    for (std::uint64_t i = 0; i < WriteWeight::kElementsMax; ++i) many.add(10);
    CHECK(many.fits());
    many.add(10);
    CHECK_FALSE(many.fits());
    WriteWeight heavy;
    heavy.add(WriteWeight::kBytesMax - WriteWeight::kElementBytes);
    CHECK(heavy.fits());
    heavy.add(0);
    CHECK_FALSE(heavy.fits());
}

}  // namespace skerry
