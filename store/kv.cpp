#include "store/kv.hpp"

namespace skerry {

Result<void> check_limits(const KvBatch& batch) {
    for (const KvChange& change : batch) {
        ASSERT(static_cast<std::size_t>(change.table) < kTableCount);
        if (change.key.empty() || change.key.size() > kKvKeyBytesMax) {
            return fail(Code::too_large,
                        "a key of " + std::to_string(change.key.size()) + " bytes: 1 to 511 fit");
        }
        if (change.value && change.value->size() > kKvValueBytesMax) {
            return fail(Code::too_large,
                        "a value of " + std::to_string(change.value->size()) + " bytes");
        }
    }
    return {};
}

}  // namespace skerry
