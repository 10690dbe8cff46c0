// node/member_reply.hpp — CRDT.MEMBERS as a reply: an array of maps, one a member (docs/OPERATIONS.md).
#pragma once

#include <vector>

#include "node/members.hpp"
#include "node/resp.hpp"

namespace skerry {

void reply_members(ReplyWriter& reply, const std::vector<MemberStatus>& members);

}  // namespace skerry
