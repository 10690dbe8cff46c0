// node/verdict_reply.hpp — the verdicts of CRDT.VERIFY as a reply: an array of maps, one a peer (docs/OPERATIONS.md).
#pragma once

#include <vector>

#include "node/resp.hpp"
#include "node/verification.hpp"

namespace skerry {

void reply_verdicts(ReplyWriter& reply, const std::vector<Verdict>& verdicts);

}  // namespace skerry
