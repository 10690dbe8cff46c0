#include "node/member_reply.hpp"

namespace skerry {

namespace {
void field(ReplyWriter& reply, std::string_view name, std::string_view text) {
    reply.bulk(name);
    reply.bulk(text);
}

void reply_member(ReplyWriter& reply, const MemberStatus& status) {
    const Member& row = status.row;
    reply.map(13);
    field(reply, "name", row.name);
    field(reply, "identity", row.id.text());
    field(reply, "region", row.region);
    field(reply, "role", name_of(row.role));
    field(reply, "state", name_of(row.state));
    field(reply, "counts", row.counts() ? "yes" : "no");
    field(reply, "self", status.is_self ? "yes" : "no");
    field(reply, "gossip", row.gossip_address);
    field(reply, "publish", row.publish_address);
    field(reply, "client", row.client_address);
    reply.bulk("heard_ms");
    reply.integer(status.heard_ms);
    reply.bulk("incarnations");
    reply.integer(static_cast<std::int64_t>(status.writers.size()));
    reply.bulk("writers");
    reply.map(status.writers.size());
    for (const auto& [writer, events] : status.writers) {
        reply.bulk(writer.text());
        reply.integer(static_cast<std::int64_t>(events));
    }
}
}  // namespace

void reply_members(ReplyWriter& reply, const std::vector<MemberStatus>& members) {
    reply.array(members.size());
    for (const MemberStatus& status : members) reply_member(reply, status);
}

}  // namespace skerry
