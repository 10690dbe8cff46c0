// skerryd — one node. Exit codes: 0 ended as asked, 1 could not start or go on, 2 bad flags or configuration.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <optional>
#include <thread>

#include "node/node.hpp"

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
    // Blocked here, and so in every thread made from now on: only the watcher takes them.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    for (skerry::Node::Fences fences;;) {
        auto node = skerry::Node::open(*outcome.config, log, fences);
        if (!node) {
            log.take({skerry::NoteLevel::error, "not_started", {{"why", node.error().text()}}});
            return 1;
        }
        const std::jthread watcher([&](const std::stop_token& ended) {
            const timespec look_up{.tv_sec = 0, .tv_nsec = 100'000'000};
            while (!ended.stop_requested())
                if (::sigtimedwait(&signals, nullptr, &look_up) > 0) (*node)->stop();
        });
        if (const std::optional<int> code = (*node)->run()) return *code;
        fences = (*node)->fences();
    }
}
