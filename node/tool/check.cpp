// The part of node/tool/commands.hpp that looks and changes nothing.
#include "node/identity.hpp"
#include "node/system.hpp"
#include "node/tool/commands.hpp"
#include "store/backup.hpp"

namespace skerry {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kRemedy =
    ": restore the directory from a backup, or move it away and let the node start empty";

std::string number(std::uint64_t value) { return std::to_string(value); }

std::optional<ReplicaId> look_at_identity(const fs::path& directory, Terminal& terminal) {
    const auto writer = last_writer(directory);
    if (writer) return *writer;
    terminal.finding(writer.error().where);
    return std::nullopt;
}

}  // namespace

CheckOutcome check_view(DataView& view, const fs::path& directory, bool replay,
                        Terminal& terminal) {
    CheckOutcome outcome;
    const auto report = [&](const Finding& finding) {
        terminal.finding(finding.where + ": " + finding.what + std::string(kRemedy));
    };
    const auto progress = [&](std::string_view step, std::uint64_t done, std::uint64_t total) {
        terminal.progress(step, done, total);
    };
    const std::uint64_t before = terminal.findings();
    const auto self = look_at_identity(directory, terminal);
    for (const auto& problem : view.log->problems()) terminal.finding(problem.what);
    if (view.state_error) terminal.finding(view.state_error->where);
    if (view.stored) outcome.state = check_state(*view.stored, self, report, progress);
    // Without all segments, or without the state that they continue, every record would be a finding.
    if (!view.log->problems().empty() || view.state_error) return outcome;
    outcome.log = check_log(*view.log, outcome.state, report, progress);
    if (!replay || terminal.findings() != before || outcome.log.shard_count == 0) return outcome;
    terminal.progress("replay", 0, 1);
    const auto keys = check_replay(*view.log, view.stored.get(), outcome.log, wall_now());
    if (keys)
        outcome.keys = *keys;
    else
        report({"replay of the log", keys.error().text()});
    return outcome;
}

void say_what_is_there(const CheckOutcome& outcome, const DataView& view, Terminal& terminal) {
    const CheckedState& state = outcome.state;
    const CheckedLog& log = outcome.log;
    terminal.line("log: records " + number(log.first.value) + " to " + number(log.last.value) +
                  " in " + number(view.log->segments().size()) + " segments, " +
                  text_of_bytes(view.log->bytes_kept()));
    if (state.meta)
        terminal.line("state: covers record " + number(state.meta->covered.value) + "; " +
                      number(state.keys) + " keys, " + number(state.key_rows - state.keys) +
                      " traces of removed keys, " + number(state.tombstones) + " tombstones, " +
                      number(state.elements) + " elements, " + number(state.entries) +
                      " entries, " + number(state.index_rows) + " index rows, " +
                      number(state.deadlines) + " deadlines" +
                      (state.staged == 0 ? "" : ", " + number(state.staged) + " staged leaves"));
    else
        terminal.line("state: no checkpoint yet");
    std::uint64_t events = 0;
    VersionVector writers;
    for (const auto& [shard, clock] : log.clocks) {
        events += clock.event_count();
        writers.join(clock);
    }
    terminal.line("clocks: " + number(events) + " events of " + number(writers.count()) +
                  " writers in " + number(log.shard_count) + " shards");
    const std::string records = number(log.to_replay) + " records";
    if (outcome.keys)
        terminal.line("replay: " + records + ", then " + number(*outcome.keys) + " keys");
    else
        terminal.line("replay: left out; " + records + " wait for it");
}

Result<void> check_backup_list(const fs::path& directory, Terminal& terminal) {
    const auto list = read_backup_list(directory);
    if (!list && list.error().code == Code::io_failed) return std::unexpected(list.error());
    if (!list) terminal.finding(list.error().where + ": take another backup");
    if (!list || !*list) return {};
    for (const BackupFile& file : (*list)->files) {
        terminal.progress("files", 0, 1);
        const auto there = measure_file(directory, file.name);
        std::error_code error;
        if (!there && fs::exists(directory / file.name, error))
            return std::unexpected(there.error());
        if (!there || *there != file)
            terminal.finding((directory / file.name).string() +
                             (there ? ": not what the backup's list says: it has changed since"
                                    : ": named in the backup's list, and not there") +
                             ": take another backup");
    }
    return {};
}

int check_command(const fs::path& directory, bool replay, Terminal& terminal) {
    auto view = DataView::open(directory, [&](std::uint64_t done, std::uint64_t total) {
        terminal.progress("log", done, total);
    });
    if (!view) return terminal.failed(view.error().where);
    if (view->in_use())
        terminal.line(directory.string() +
                      " is in use: looking at one snapshot beside the running node");
    if (auto compared = check_backup_list(directory, terminal); !compared)
        return terminal.failed(compared.error().where);
    const CheckOutcome outcome = check_view(*view, directory, replay, terminal);
    if (terminal.findings() != 0) {
        terminal.line("damaged: " + number(terminal.findings()) +
                      " findings; nothing has been changed");
        return 1;
    }
    say_what_is_there(outcome, *view, terminal);
    terminal.line("sound");
    return 0;
}

}  // namespace skerry
