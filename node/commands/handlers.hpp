// node/commands/handlers.hpp — the handlers, by the file that holds them; command_table.cpp names each once.
#pragma once

namespace skerry {

struct CommandContext;

namespace commands {

// connection.cpp
void auth(CommandContext& c);
void client(CommandContext& c);
void echo(CommandContext& c);
void hello(CommandContext& c);
void ping(CommandContext& c);
void quit(CommandContext& c);
void reset(CommandContext& c);
void select(CommandContext& c);

// server.cpp
void command(CommandContext& c);
void config(CommandContext& c);
void dbsize(CommandContext& c);
void info(CommandContext& c);
void lastsave(CommandContext& c);
void shutdown(CommandContext& c);
void time(CommandContext& c);

// keys.cpp
void copy(CommandContext& c);
void del(CommandContext& c);
void exists(CommandContext& c);
void expire(CommandContext& c);
void expireat(CommandContext& c);
void expiretime(CommandContext& c);
void keys(CommandContext& c);
void object(CommandContext& c);
void persist(CommandContext& c);
void pexpire(CommandContext& c);
void pexpireat(CommandContext& c);
void pexpiretime(CommandContext& c);
void pttl(CommandContext& c);
void randomkey(CommandContext& c);
void rename(CommandContext& c);
void renamenx(CommandContext& c);
void scan(CommandContext& c);
void touch(CommandContext& c);
void ttl(CommandContext& c);
void type(CommandContext& c);
void unlink(CommandContext& c);
void flushall(CommandContext& c);
void flushdb(CommandContext& c);

// crdt.cpp
void wait(CommandContext& c);
void crdt_barrier(CommandContext& c);
void crdt_clock(CommandContext& c);
void crdt_conflicts(CommandContext& c);
void crdt_info(CommandContext& c);
void crdt_forget(CommandContext& c);
void crdt_leave(CommandContext& c);
void crdt_link(CommandContext& c);
void crdt_members(CommandContext& c);
void crdt_peers(CommandContext& c);
void crdt_sync(CommandContext& c);
void crdt_verify(CommandContext& c);

// strings.cpp
void append(CommandContext& c);
void decr(CommandContext& c);
void decrby(CommandContext& c);
void get(CommandContext& c);
void getdel(CommandContext& c);
void getex(CommandContext& c);
void getrange(CommandContext& c);
void getset(CommandContext& c);
void incr(CommandContext& c);
void incrby(CommandContext& c);
void incrbyfloat(CommandContext& c);
void lcs(CommandContext& c);
void mget(CommandContext& c);
void mset(CommandContext& c);
void msetnx(CommandContext& c);
void psetex(CommandContext& c);
void set(CommandContext& c);
void setex(CommandContext& c);
void setnx(CommandContext& c);
void setrange(CommandContext& c);
void strlen(CommandContext& c);

// bits.cpp
void bitcount(CommandContext& c);
void bitfield(CommandContext& c);
void bitfield_ro(CommandContext& c);
void bitop(CommandContext& c);
void bitpos(CommandContext& c);
void getbit(CommandContext& c);
void setbit(CommandContext& c);

// hashes.cpp
void hdel(CommandContext& c);
void hexists(CommandContext& c);
void hget(CommandContext& c);
void hgetall(CommandContext& c);
void hincrby(CommandContext& c);
void hincrbyfloat(CommandContext& c);
void hkeys(CommandContext& c);
void hlen(CommandContext& c);
void hmget(CommandContext& c);
void hset(CommandContext& c);
void hrandfield(CommandContext& c);
void hscan(CommandContext& c);
void hsetnx(CommandContext& c);
void hstrlen(CommandContext& c);
void hvals(CommandContext& c);

// sets.cpp
void sadd(CommandContext& c);
void scard(CommandContext& c);
void sdiff(CommandContext& c);
void sdiffstore(CommandContext& c);
void sinter(CommandContext& c);
void sintercard(CommandContext& c);
void sinterstore(CommandContext& c);
void sismember(CommandContext& c);
void smembers(CommandContext& c);
void smismember(CommandContext& c);
void smove(CommandContext& c);
void spop(CommandContext& c);
void srandmember(CommandContext& c);
void srem(CommandContext& c);
void sscan(CommandContext& c);
void sunion(CommandContext& c);
void sunionstore(CommandContext& c);

// cluster.cpp
void cluster_mode(CommandContext& c);
void cluster(CommandContext& c);

}  // namespace commands
}  // namespace skerry
