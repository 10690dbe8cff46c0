#include "store/leaf_walk.hpp"

#include <algorithm>

#include "store/bucket_digests.hpp"

namespace skerry {

namespace {
constexpr auto kElementKindsInOrder =
    std::to_array({LeafKind::member, LeafKind::field, LeafKind::remove_wins_member});
static_assert(std::ranges::is_sorted(kElementKindsInOrder));
static_assert(kElementKindsInOrder.size() == kElementKinds);

KeyOrder behind(KeyOrder order) {
    if (++order.check == 0) ++order.order;
    return order;
}

Hash128 behind(Hash128 hash) {
    if (++hash.low == 0) ++hash.high;
    return hash;
}

class RowWalk {
  public:
    RowWalk(Store& store, ShardId shard, WalkPlace& place, const WalkPlace& to,
            std::size_t& row_count, VisitLeaf visit)
        : store_(store),
          shard_(shard),
          place_(place),
          to_(to),
          row_count_(row_count),
          visit_(visit) {}

    // True: the database is done.
    bool walk_database() {
        while (row_count_ > 0) {
            std::optional<std::string> collection;
            bool more = false;
            const auto visit = [&](const KeyRecord& record) {
                if (record.order() < place_.key) return true;
                const bool within = place_.inside && record.order() == place_.key;
                reached_ = !within && WalkPlace{place_.database, record.order(), false, {}} >= to_;
                more = row_count_ == 0;
                if (more || reached_) return false;
                if (!within) visit_key_row(record);
                if (record.extra) collection = record.key.view();
                if (!collection) place_.key = behind(record.order());
                return !collection;
            };
            store_.for_each_key_of(shard_, place_.database, place_.key.order, visit);
            if (collection && !walk_elements(*collection)) return false;
            if (reached_) return false;
            if (!collection && !more) return true;
        }
        return false;
    }
    [[nodiscard]] bool reached() const { return reached_; }

  private:
    void visit(const KeyRecord& record, LeafKind kind, const ElementOrder& element,
               std::string_view sub, const Leaf& leaf) {
        if (!leaf.empty()) visit_({record, kind, element, sub, leaf});
    }

    void visit_key_row(const KeyRecord& record) {
        --row_count_;
        place_ = {place_.database, record.order(), record.extra != nullptr, {}};
        visit(record, LeafKind::string, {LeafKind::string, {}}, {}, record.string);
        if (!record.extra) return;
        for (const auto& [kind, leaf] : record.extra->leaves)
            visit(record, kind, {kind, {}}, {}, leaf);
    }

    // True: the key is done.
    bool walk_elements(const std::string& key) {
        KeyRecord* record = store_.find(place_.database, key);
        bool more = false;
        const auto visit_element = [&](const Element& element) {
            reached_ = WalkPlace{place_.database, place_.key, true, element.place} >= to_;
            more = row_count_ == 0;
            if (more || reached_) return false;
            --row_count_;
            visit(*record, element.place.kind, element.place, element.sub.view(), element.leaf);
            place_.element.hash = behind(element.place.hash);
            return true;
        };
        for (const LeafKind kind : kElementKindsInOrder) {
            if (record == nullptr || more || reached_ || kind < place_.element.kind) continue;
            if (kind != place_.element.kind) place_.element = {kind, {}};
            store_.for_each_element(*record, kind, place_.element.hash, visit_element);
        }
        if (more || reached_) return false;
        place_ = {place_.database, behind(place_.key), false, {}};
        return true;
    }

    Store& store_;
    ShardId shard_;
    WalkPlace& place_;
    const WalkPlace& to_;
    std::size_t& row_count_;
    VisitLeaf visit_;
    bool reached_ = false;
};
}  // namespace

bool walk_leaves(Store& store, ShardId shard, WalkPlace& place, const WalkPlace& to,
                 std::size_t& row_count, VisitLeaf visit) {
    RowWalk walk(store, shard, place, to, row_count, visit);
    const ShardRun run = run_of(shard, store.slot_shard_count());
    const KeyOrder first{first_order(shard, store.slot_shard_count()), 0};
    if (place.database < run.database_first) place = {run.database_first, first, false, {}};
    while (place < to && place.database <= run.database_last) {
        place.key = std::max(place.key, first);
        if (!walk.walk_database()) return walk.reached();
        place = {static_cast<DatabaseId>(place.database + 1), first, false, {}};
    }
    return true;
}

}  // namespace skerry
