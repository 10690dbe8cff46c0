// skerryd — one node. Exit codes: 0 ended as asked, 1 could not start or go on, 2 bad flags or
// configuration.
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "node/node.hpp"

namespace {
// tidy: mutable_globals, because a signal handler gets no argument
skerry::Node* running = nullptr;

void stop_running(int) {
    if (running != nullptr) running->stop();
}
}  // namespace

int main(int argc, char** argv) {
    char host[256] = "localhost";
    (void)::gethostname(host, sizeof host - 1);
    const skerry::ConfigOutcome outcome =
        skerry::load_config(std::vector<std::string>(argv + 1, argv + argc), host);
    if (!outcome.config) {
        std::fputs(outcome.message.c_str(), outcome.exit_code == 0 ? stdout : stderr);
        return outcome.exit_code;
    }
    skerry::LogAdapter log(outcome.config->log_level);
    auto node = skerry::Node::open(*outcome.config, log);
    if (!node) {
        log.take({skerry::NoteLevel::error, "not_started", {{"why", node.error().text()}}});
        return 1;
    }
    running = node->get();
    struct sigaction action{};
    action.sa_handler = stop_running;
    ::sigaction(SIGTERM, &action, nullptr);
    ::sigaction(SIGINT, &action, nullptr);
    const int code = (*node)->run();
    running = nullptr;
    return code;
}
