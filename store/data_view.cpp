#include "store/data_view.hpp"

#include "store/row.hpp"

namespace skerry {
namespace {
namespace fs = std::filesystem;

constexpr int kTriesBesideNode = 5;

void open_state(DataView& view, const fs::path& directory) {
    auto kv = LmdbKv::open_to_read(
        directory, view.in_use() ? LmdbKv::Writer::another_process : LmdbKv::Writer::none);
    if (!kv) {
        view.state_error = kv.error();
        return;
    }
    view.kv = std::move(*kv);
    if (!view.kv) return;
    auto reader = view.kv->reader();
    if (reader)
        view.stored = std::move(*reader);
    else
        view.state_error = reader.error();
}

// Is the log still there from where the snapshot needs it? What cannot be read is for the check.
bool belong_together(DataView& view) {
    if (!view.stored) return view.log->first().value == 1 || view.state_error;
    const auto bytes = view.stored->get(Table::meta, kStateMetaKey);
    if (!bytes || !*bytes) return true;
    const auto meta = decode_state_meta(**bytes);
    return !meta || view.log->first() <= meta->covered.next();
}

}  // namespace

Result<DataView> DataView::open(const fs::path& directory, LogView::Progress progress) {
    std::error_code error;
    if (!fs::exists(directory / "state.mdb", error) && !fs::exists(directory / "log", error))
        return fail(Code::refused,
                    directory.string() + " is no data directory: it has neither state.mdb nor log");
    for (int tries = 1;; ++tries) {
        DataView view;
        auto lock = DirectoryLock::share(directory);
        if (!lock) return std::unexpected(lock.error());
        view.lock = std::move(*lock);
        open_state(view, directory);
        auto log = LogView::open(directory / "log", progress);
        if (!log) return std::unexpected(log.error());
        view.log = std::move(*log);
        if (!view.in_use() || tries == kTriesBesideNode || belong_together(view)) return view;
    }
}

}  // namespace skerry
