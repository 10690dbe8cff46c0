// The part of node/tool/commands.hpp that makes copies.
#include "store/backup.hpp"

#include <array>

#include "node/system.hpp"
#include "node/tool/commands.hpp"
#include "store/posix_file.hpp"

namespace skerry {
namespace {
namespace fs = std::filesystem;

std::string number(std::uint64_t value) { return std::to_string(value); }

// A directory in the making, beside the place that it is for. It goes away unless it is finished.
class Unfinished {
  public:
    // Errors: refused (something is there already), io_failed.
    static Result<Unfinished> begin(const fs::path& place);
    Unfinished(Unfinished&& other) noexcept
        : place_(std::move(other.place_)), path_(std::exchange(other.path_, {})) {}
    Unfinished& operator=(Unfinished&&) = delete;
    ~Unfinished() {
        std::error_code error;
        if (!path_.empty()) fs::remove_all(path_, error);
    }

    [[nodiscard]] const fs::path& path() const { return path_; }
    Result<void> finish();

  private:
    Unfinished(fs::path place, fs::path path) : place_(std::move(place)), path_(std::move(path)) {}
    fs::path place_;
    fs::path path_;
};

Result<Unfinished> Unfinished::begin(const fs::path& place) {
    std::error_code error;
    const fs::path whole = fs::absolute(place, error).lexically_normal();
    const fs::path clean = whole.has_filename() ? whole : whole.parent_path();
    if (fs::exists(clean, error) && !fs::is_empty(clean, error))
        return fail(Code::refused, place.string() + " is not empty: choose another place");
    const fs::path path = clean.string() + ".unfinished";
    if (fs::exists(path, error))
        return fail(Code::refused, path.string() +
                                       " is there already: another one is under way, or was cut "
                                       "off; then remove it");
    if (auto made = make_directory(path); !made) return std::unexpected(made.error());
    return Unfinished(clean, path);
}

Result<void> Unfinished::finish() {
    std::error_code error;
    auto done = sync_directory(path_);
    // An empty directory gives way to the new one.
    if (done) done = rename_file(path_, place_);
    if (!done)
        return fail(done.error().code,
                    done.error().where + " to " + place_.string() +
                        ": is that a mount point? Then choose a directory below it");
    path_.clear();
    return sync_directory(place_.parent_path());
}

Result<DataView> open_view(const fs::path& directory, Terminal& terminal) {
    return DataView::open(directory, [&](std::uint64_t done, std::uint64_t total) {
        terminal.progress("log", done, total);
    });
}

// The first thing that forbids to copy from there.
std::optional<std::string> obstacle(const DataView& view) {
    if (view.state_error) return view.state_error->where;
    if (!view.log->problems().empty()) return view.log->problems().front().what;
    return std::nullopt;
}

Result<BackupList> copy_all(DataView& view, const fs::path& to, Terminal& terminal) {
    const auto progress = [&](std::string_view step, std::uint64_t done, std::uint64_t total) {
        terminal.progress(step, done, total);
    };
    // What comes back from a backup must never be what a crash takes from the node.
    if (auto durable = view.log->make_durable(); !durable) return std::unexpected(durable.error());
    BackupList list{.made = wall_now(), .first = {}, .last = view.log->last(), .files = {}};
    LogPosition from{1};
    if (view.stored) {
        const auto bytes = view.stored->get(Table::meta, kStateMetaKey);
        if (!bytes) return std::unexpected(bytes.error());
        const auto meta = *bytes ? decode_state_meta(**bytes) : Result<StateMeta>(StateMeta{});
        if (!meta) return std::unexpected(meta.error());
        from = meta->covered.next();
        if (auto copied = copy_state(*view.stored, to, progress); !copied)
            return std::unexpected(copied.error());
    }
    const auto first = copy_log(*view.log, from, to, progress);
    if (!first) return std::unexpected(first.error());
    list.first = *first;
    std::vector<std::string> names;
    std::error_code error;
    if (fs::exists(to / "state.mdb", error)) names.emplace_back("state.mdb");
    for (fs::directory_iterator it(to / "log", error), end; !error && it != end;
         it.increment(error))
        names.push_back("log/" + it->path().filename().string());
    if (error) return fail(Code::io_failed, to.string() + ": " + error.message());
    std::ranges::sort(names);
    for (const std::string& name : names) {
        auto file = measure_file(to, name);
        if (!file) return std::unexpected(file.error());
        list.files.push_back(std::move(*file));
    }
    if (auto written = write_backup_list(to, list); !written)
        return std::unexpected(written.error());
    return list;
}

std::uint64_t bytes_of(const BackupList& list) {
    std::uint64_t bytes = 0;
    for (const BackupFile& file : list.files) bytes += file.bytes;
    return bytes;
}

void say_what_restoring_means(const CheckOutcome& outcome, Terminal& terminal) {
    terminal.line("next start: the node takes a new writer id, replays " +
                  number(outcome.log.to_replay) +
                  " records, and pulls from its peers what they have and the backup lacks; what "
                  "only this node had and no peer, since the backup, is gone");
}

}  // namespace

int backup_command(const fs::path& directory, const fs::path& destination, Terminal& terminal) {
    auto view = open_view(directory, terminal);
    if (!view) return terminal.failed(view.error().where);
    if (const auto why = obstacle(*view)) return terminal.failed("not backed up: " + *why);
    auto unfinished = Unfinished::begin(destination);
    if (!unfinished) return terminal.failed(unfinished.error().where);
    const auto list = copy_all(*view, unfinished->path(), terminal);
    if (!list) return terminal.failed("not backed up: " + list.error().where);
    // Of no use unless it can be restored: so it is checked as the check does.
    auto copy = open_view(unfinished->path(), terminal);
    if (!copy) return terminal.failed(copy.error().where);
    const CheckOutcome outcome = check_view(*copy, unfinished->path(), true, terminal);
    if (terminal.findings() != 0)
        return terminal.failed("not backed up: " + directory.string() +
                               " is damaged, or the copy is: check it");
    say_what_is_there(outcome, *copy, terminal);
    if (auto finished = unfinished->finish(); !finished)
        return terminal.failed(finished.error().where);
    terminal.line("backed up " + directory.string() + " to " + destination.string() + ": " +
                  text_of_bytes(bytes_of(*list)) + ", as of record " + number(list->last.value));
    return 0;
}

int restore_command(const fs::path& backup, const fs::path& directory, Terminal& terminal) {
    const auto list = read_backup_list(backup);
    if (!list) return terminal.failed(list.error().where);
    if (!*list)
        return terminal.failed(backup.string() + " is no backup: it has no file named backup");
    auto unfinished = Unfinished::begin(directory);
    if (!unfinished) return terminal.failed(unfinished.error().where);
    if (auto made = make_directory(unfinished->path() / "log"); !made)
        return terminal.failed(made.error().where);
    for (const BackupFile& file : (*list)->files) {
        terminal.progress("files", 0, 1);
        const auto copied = copy_file(backup, unfinished->path(), file.name);
        if (!copied) return terminal.failed(copied.error().where);
        if (*copied != file)
            terminal.finding((backup / file.name).string() +
                             ": not what the backup's list says: take another backup");
    }
    if (terminal.findings() != 0) return terminal.failed("not restored: the backup is damaged");
    if (auto synced = sync_directory(unfinished->path() / "log"); !synced)
        return terminal.failed(synced.error().where);
    auto copy = open_view(unfinished->path(), terminal);
    if (!copy) return terminal.failed(copy.error().where);
    const CheckOutcome outcome = check_view(*copy, unfinished->path(), true, terminal);
    if (terminal.findings() != 0) return terminal.failed("not restored: the backup is damaged");
    if (auto finished = unfinished->finish(); !finished)
        return terminal.failed(finished.error().where);
    say_what_is_there(outcome, *copy, terminal);
    terminal.line("restored " + directory.string() + " from " + backup.string() + ", made " +
                  text_of_time((*list)->made) + ", " + text_of_age(wall_now() - (*list)->made) +
                  " ago; its newest write is of " + text_of_time(outcome.log.newest.wall()));
    say_what_restoring_means(outcome, terminal);
    return 0;
}

}  // namespace skerry
