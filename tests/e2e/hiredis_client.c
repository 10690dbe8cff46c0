/* Compiled and run by clients_test.py: what a C program does with a node. Usage: hiredis_client
 * HOST PORT */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(redisContext* context, int type, long long integer, const char* text,
                   const char* command) {
    redisReply* reply = redisCommand(context, command);
    if (reply == NULL) {
        fprintf(stderr, "%s: %s\n", command, context->errstr);
        exit(1);
    }
    if (reply->type != type || (type == REDIS_REPLY_INTEGER && reply->integer != integer) ||
        (text != NULL && (reply->str == NULL || strcmp(reply->str, text) != 0))) {
        fprintf(stderr, "%s: type %d, integer %lld, text %s\n", command, reply->type,
                reply->integer, reply->str != NULL ? reply->str : "(none)");
        failures++;
    }
    freeReplyObject(reply);
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    redisContext* context = redisConnect(argv[1], atoi(argv[2]));
    if (context == NULL || context->err != 0) {
        fprintf(stderr, "no connection: %s\n", context != NULL ? context->errstr : "no memory");
        return 1;
    }
    expect(context, REDIS_REPLY_INTEGER, 0, NULL, "DEL c:count c:absent");
    expect(context, REDIS_REPLY_STATUS, 0, "OK", "SET c:text value");
    expect(context, REDIS_REPLY_STRING, 0, "value", "GET c:text");
    expect(context, REDIS_REPLY_NIL, 0, NULL, "GET c:absent");
    expect(context, REDIS_REPLY_INTEGER, 1, NULL, "INCR c:count");
    expect(context, REDIS_REPLY_INTEGER, 42, NULL, "INCRBY c:count 41");
    expect(context, REDIS_REPLY_ERROR, 0, NULL, "INCR c:text");

    const int pipelined = 1000;
    for (int i = 0; i < pipelined; i++) redisAppendCommand(context, "INCR c:count");
    for (int i = 0; i < pipelined; i++) {
        redisReply* reply = NULL;
        if (redisGetReply(context, (void**)&reply) != REDIS_OK || reply->integer != 43 + i)
            failures++;
        if (reply != NULL) freeReplyObject(reply);
    }
    redisFree(context);
    if (failures == 0) puts("ok");
    return failures == 0 ? 0 : 1;
}
