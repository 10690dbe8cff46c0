// node/metrics.hpp — what is counted on the core thread, and how Prometheus sees it.
//
// Hot path  a counter is a plain number of the core thread, a latency one increment in an array: no lock, no atomic, no
//           lookup. publish() copies them once a second; text() is made from the copy, on whatever thread asks.
// Register  everything before other threads call text(), on the core thread. What comes and goes (peers) is a table,
//           whose rows are set anew.
// Library   prometheus-cpp core (its model and text format), included by metrics.cpp alone.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace prometheus {
struct ClientMetric;
}

namespace skerry {

// Nanoseconds, bytes or rows in buckets whose upper bounds are 1024, doubled up to 1.7e10, and one without a
// bound.
class Histogram {
  public:
    static constexpr std::size_t kBuckets = 26;

    void record(std::uint64_t amount) {
        const auto index = static_cast<std::size_t>(std::bit_width((amount - (amount > 0)) >> 10));
        ++buckets_[index < kBuckets ? index : kBuckets - 1];
        total_ += amount;
    }
    // The upper bound, included, of a bucket but the last.
    [[nodiscard]] static constexpr std::uint64_t bound(std::size_t bucket) {
        return 1024ULL << bucket;
    }
    [[nodiscard]] std::uint64_t count() const {
        std::uint64_t count = 0;
        for (const std::uint64_t bucket : buckets_) count += bucket;
        return count;
    }
    [[nodiscard]] std::uint64_t total() const { return total_; }
    [[nodiscard]] const std::array<std::uint64_t, kBuckets>& buckets() const { return buckets_; }

  private:
    std::array<std::uint64_t, kBuckets> buckets_{};
    std::uint64_t total_ = 0;
};

class Metrics {
  public:
    struct CounterId {
        std::uint32_t index = 0;
    };
    struct GaugeId {
        std::uint32_t index = 0;
    };
    struct HistogramId {
        std::uint32_t index = 0;
    };
    struct TableId {
        std::uint32_t index = 0;
    };
    using Labels = std::vector<std::pair<std::string, std::string>>;
    struct Row {
        Labels labels;
        double value = 0;
    };
    // What a histogram records, and how it is shown.
    enum class Unit : std::uint8_t { nanoseconds_as_seconds, plain };

    // Metrics of one name differ in their labels, and have one kind and the help of the first.
    CounterId counter(std::string_view name, std::string_view help, Labels labels = {});
    GaugeId gauge(std::string_view name, std::string_view help, Labels labels = {});
    // Left out of text() while it is empty, since most commands are never called.
    HistogramId histogram(std::string_view name, std::string_view help, Unit unit,
                          Labels labels = {});
    // A gauge for each of a changing set of labels.
    TableId table(std::string_view name, std::string_view help);

    void add(CounterId id, std::uint64_t count = 1) { now_.counters[id.index] += count; }
    // For a number that is counted elsewhere.
    void set(CounterId id, std::uint64_t value) { now_.counters[id.index] = value; }
    void set(GaugeId id, double value) { now_.gauges[id.index] = value; }
    // For a histogram that is kept elsewhere.
    void set(HistogramId id, const Histogram& value) { now_.histograms[id.index] = value; }
    // Requires: no two rows have the same labels.
    void set(TableId id, std::vector<Row> rows) { now_.tables[id.index] = std::move(rows); }
    void record(HistogramId id, std::uint64_t amount) { now_.histograms[id.index].record(amount); }
    [[nodiscard]] std::uint64_t value(CounterId id) const { return now_.counters[id.index]; }
    [[nodiscard]] double value(GaugeId id) const { return now_.gauges[id.index]; }
    [[nodiscard]] const Histogram& value(HistogramId id) const { return now_.histograms[id.index]; }

    // Makes the present values those that text() shows. Everything is registered by now.   Thread: core thread.
    void publish();
    // The published values in Prometheus' text format.   Thread: any.
    [[nodiscard]] std::string text() const;

  private:
    enum class Kind : std::uint8_t { counter, gauge, seconds, histogram, table };
    struct Member {
        Labels labels;
        std::uint32_t index;
    };
    struct Family {
        Kind kind;
        std::string name;
        std::string help;
        std::vector<Member> members;
    };
    struct Values {
        std::vector<std::uint64_t> counters;
        std::vector<double> gauges;
        std::vector<Histogram> histograms;
        std::vector<std::vector<Row>> tables;
    };

    static void append(const Member& member, Kind kind, const Values& values,
                       std::vector<prometheus::ClientMetric>& out);
    void add_member(Kind kind, std::string_view name, std::string_view help, Member member);

    std::vector<Family> families_;
    Values now_;
    mutable std::mutex published_mutex_;
    std::optional<Values> published_;
};

}  // namespace skerry
