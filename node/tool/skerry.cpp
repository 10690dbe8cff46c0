// skerry — checks, copies and restores data directories. Exit codes: 0 done and sound, 1 damaged or not done, 2 usage.
#include <unistd.h>

#include <CLI/CLI.hpp>  // tidy: third_party, because each program reads its own command line
#include <csignal>
#include <cstdio>

#include "node/tool/commands.hpp"

namespace {

// LMDB trusts its pages: a damaged one may lead it out of the file. Nothing else here can.
extern "C" void say_damaged(int) {
    constexpr std::string_view kText =
        "\nfound: state.mdb: a damaged page led out of the file: restore the directory from a "
        "backup, or move "
        "it away and let the node start empty\ndamaged: the check ends here; nothing has been "
        "changed\n";
    (void)!::write(STDOUT_FILENO, kText.data(), kText.size());
    ::_exit(1);
}

void add_commands(CLI::App& app, std::string& from, std::string& to, bool& no_replay) {
    app.require_subcommand(1);
    app.set_version_flag("--version", "skerry " SKERRY_VERSION);
    auto* check = app.add_subcommand(
        "check",
        "Looks at every record and row of a data directory, or of a backup, and says what is "
        "wrong. Changes nothing; a node may be running.");
    check->add_option("DIR", from, "the data directory")->required();
    check->add_flag("--no-replay", no_replay,
                    "do not replay the log in memory, which takes what a start of the node takes");
    auto* backup = app.add_subcommand(
        "backup",
        "Copies a data directory as it is now, checks the copy, and only then gives it its "
        "name. A node may be running.");
    backup->add_option("DIR", from, "the data directory")->required();
    backup->add_option("DEST", to, "where to: absent or empty")->required();
    auto* restore = app.add_subcommand(
        "restore",
        "Makes a data directory of a backup, after checking it. The node that starts "
        "there takes a new writer id.");
    restore->add_option("BACKUP", from, "what `skerry backup` has made")->required();
    restore->add_option("DIR", to, "where to: absent or empty")->required();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Checks, copies and restores the data directories of skerryd.", "skerry");
    std::string from, to;
    bool no_replay = false;
    add_commands(app, from, to, no_replay);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // --help, --version
        return app.exit(asked);
    } catch (const CLI::Error& failure) {
        std::fprintf(stderr, "skerry: %s (see --help)\n", failure.what());
        return 2;
    }
    for (const int number : {SIGSEGV, SIGBUS}) (void)std::signal(number, say_damaged);
    skerry::Terminal terminal;
    if (app.got_subcommand("check")) return skerry::check_command(from, !no_replay, terminal);
    if (app.got_subcommand("backup")) return skerry::backup_command(from, to, terminal);
    return skerry::restore_command(from, to, terminal);
}
