// tests/node/node_metrics_test.cpp — what a node exposes: of strict form, and documented name by name.
#include "node/node_metrics.hpp"

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/catch.hpp"
#include "tests/support/prometheus_text.hpp"

namespace skerry {
namespace {

// A node in which everything has happened once, with a peer whose name is hostile.
std::string text_of_everything(NodeMetrics& metrics, const CommandTable& table) {
    std::vector<CommandStats> stats(table.all().size());
    const std::size_t get = table.index_of(*table.find("get"));
    stats[get].latency.record(3000);
    stats[get].rejected = 4;
    PeerStatus peer;
    peer.name = "a\"b\\c\nd";
    peer.address = "host:1";
    peer.link = "up";
    peer.phase = "following";
    peer.lag_events = 7;
    peer.lag = {.bytes = 900, .ms = 1500};
    PeerStatus unknown;
    unknown.address = "host:2";
    NodeReadings readings;
    readings.peers = {peer, unknown};
    readings.command_stats = stats;
    readings.commits = 3;
    metrics.committed(2000, 5000);
    metrics.checkpointed(10, 20'000'000);
    metrics.publish(readings);
    return metrics.text();
}

double value_of(const std::vector<ExposedFamily>& families, const std::string& name,
                const std::map<std::string, std::string>& labels = {}) {
    for (const ExposedFamily& family : families)
        for (const ExposedSample& sample : family.samples)
            if (sample.name == name && sample.labels == labels) return sample.value;
    FAIL(name << " is not there");
    return 0;
}

// The names in the first column of the tables of "## /metrics".
std::set<std::string> documented() {
    std::ifstream file("docs/OPERATIONS.md");
    std::stringstream all;
    all << file.rdbuf();
    std::string text = all.str();
    text = text.substr(text.find("## /metrics"));
    text = text.substr(0, text.find("\n## ", 1));
    const std::regex row("\n\\| `(skerry_[a-z_]+)`");
    std::set<std::string> names;
    for (auto found = std::sregex_iterator(text.begin(), text.end(), row);
         found != std::sregex_iterator(); ++found)
        CHECK(names.insert((*found)[1]).second);
    return names;
}

}  // namespace

TEST_CASE("node_metrics: the text is of strict form, and shows what was read", "[node]") {
    const CommandTable table;
    NodeMetrics metrics(table);
    CHECK(metrics.text().empty());
    const auto families = PrometheusText::read(text_of_everything(metrics, table));
    CHECK(value_of(families, "skerry_commits_total") == 3);
    CHECK(value_of(families, "skerry_peer_lag_events_max") == 7);
    CHECK(value_of(families, "skerry_peers") == 2);
    CHECK(value_of(families, "skerry_peers_up") == 1);
    const std::map<std::string, std::string> peer{{"peer", "a\\\"b\\\\c\\nd"},
                                                  {"address", "host:1"}};
    CHECK(value_of(families, "skerry_peer_lag_bytes", peer) == 900);
    CHECK(value_of(families, "skerry_peer_lag_seconds", peer) == 1.5);
    CHECK(value_of(families, "skerry_peer_silent_seconds", {{"peer", ""}, {"address", "host:2"}}) ==
          -1);
    CHECK(value_of(families, "skerry_command_seconds_count", {{"command", "get"}}) == 1);
    CHECK(value_of(families, "skerry_command_seconds_sum", {{"command", "get"}}) ==
          Approx(0.000003));
    CHECK(value_of(families, "skerry_command_rejections_total", {{"command", "get"}}) == 4);
    CHECK(value_of(families, "skerry_commit_bytes_sum") == 2000);
    CHECK(value_of(families, "skerry_commit_bytes_bucket", {{"le", "1024"}}) == 0);
    CHECK(value_of(families, "skerry_commit_bytes_bucket", {{"le", "2048"}}) == 1);
    CHECK(value_of(families, "skerry_checkpoint_seconds_sum") == Approx(0.02));
}

TEST_CASE("node_metrics: what is exposed is documented, and nothing else is", "[node]") {
    const CommandTable table;
    NodeMetrics metrics(table);
    std::set<std::string> exposed;
    for (const ExposedFamily& family : PrometheusText::read(text_of_everything(metrics, table)))
        exposed.insert(family.name);
    CHECK(exposed == documented());
}

TEST_CASE("node_metrics: a peer that went has no rows any more", "[node]") {
    const CommandTable table;
    NodeMetrics metrics(table);
    (void)text_of_everything(metrics, table);
    const std::vector<CommandStats> stats(table.all().size());
    NodeReadings readings;
    readings.command_stats = stats;
    metrics.publish(readings);
    const std::string text = metrics.text();
    CHECK(text.find("host:1") == std::string::npos);
    CHECK(text.find("skerry_peers 0") != std::string::npos);
    (void)PrometheusText::read(text);
}

TEST_CASE("prometheus_text: what a scraper would refuse is refused", "[node]") {
    const std::string head = "# HELP m Help.\n# TYPE m gauge\n";
    CHECK(PrometheusText::read(head + "m{a=\"x,}\",b=\"\\\"\"} 1.5e-06\n").size() == 1);
    const std::string buckets = "# HELP h Help.\n# TYPE h histogram\nh_sum 1\n";
    CHECK(
        PrometheusText::read(buckets + "h_count 1\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 1\n")
            .size() == 1);
    for (const std::string& text : {
             head + "m 1",                                         // no end of line
             head,                                                 // no sample
             head + "m 1\nm 2\n",                                  // twice
             head + "m{a=\"1\",a=\"2\"} 2\n",                      // a label twice
             head + "m{a=\"\\x\"} 2\n",                            // an escape that there is not
             head + "m{a=1} 2\n",                                  // not quoted
             head + "m one\n",                                     // no number
             head + "m 1 2 3\n",                                   // more
             head + "n 1\n",                                       // another family's
             head + "m 1\n" + head + "m{a=\"b\"} 1\n",             // in pieces
             std::string("m 1\n"),                                 // no TYPE
             std::string("# HELP m H.\n# TYPE m counter\nm 1\n"),  // a counter's name
             buckets + "h_count 2\nh_bucket{le=\"+Inf\"} 1\n",
             buckets + "h_count 1\nh_bucket{le=\"1\"} 1\n",
             buckets +
                 "h_count 1\nh_bucket{le=\"2\"} 0\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 1\n",
             buckets + "h_count 1\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\n",
             std::string("# HELP h H.\n# TYPE h histogram\nh_count 1\nh_bucket{le=\"+Inf\"} 1\n"),
         }) {
        INFO(text);
        CHECK_THROWS_AS(PrometheusText::read(text), std::runtime_error);
    }
}

}  // namespace skerry
