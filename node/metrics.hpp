// node/metrics.hpp — what is counted on the core thread, and how Prometheus sees it.
//
// Hot path  a counter is a plain number of the core thread, a latency one increment in an array: no lock, no atomic, no
//           lookup. publish() copies them once a second; text() is made from the copy, on whatever thread asks.
// Register  everything before other threads call text(), on the core thread.
// Library   prometheus-cpp core (its model and text format), included by metrics.cpp alone.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skerry {

// Latencies in buckets whose upper bounds are 1024 ns, doubled up to 8.6 s, and one without a
// bound.
class LatencyHistogram {
  public:
    static constexpr std::size_t kBuckets = 25;

    void record(std::uint64_t nanoseconds) {
        const auto index = static_cast<std::size_t>(std::bit_width(nanoseconds >> 10));
        ++buckets_[index < kBuckets ? index : kBuckets - 1];
        nanoseconds_ += nanoseconds;
    }
    // The upper bound (not included) of a bucket but the last.
    [[nodiscard]] static constexpr std::uint64_t bound_ns(std::size_t bucket) {
        return 1024ULL << bucket;
    }
    [[nodiscard]] std::uint64_t count() const {
        std::uint64_t count = 0;
        for (const std::uint64_t bucket : buckets_) count += bucket;
        return count;
    }
    [[nodiscard]] std::uint64_t total_ns() const { return nanoseconds_; }
    [[nodiscard]] const std::array<std::uint64_t, kBuckets>& buckets() const { return buckets_; }

  private:
    std::array<std::uint64_t, kBuckets> buckets_{};
    std::uint64_t nanoseconds_ = 0;
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
    using Labels = std::vector<std::pair<std::string, std::string>>;

    // Metrics of one name differ in their labels, and have one kind and the help of the first.
    CounterId counter(std::string_view name, std::string_view help, Labels labels = {});
    GaugeId gauge(std::string_view name, std::string_view help, Labels labels = {});
    // Shown in seconds; left out of text() while it is empty, since most commands are never called.
    HistogramId histogram(std::string_view name, std::string_view help, Labels labels = {});

    void add(CounterId id, std::uint64_t count = 1) { now_.counters[id.index] += count; }
    // For a number that is counted elsewhere.
    void set(CounterId id, std::uint64_t value) { now_.counters[id.index] = value; }
    void set(GaugeId id, double value) { now_.gauges[id.index] = value; }
    void record(HistogramId id, std::uint64_t nanoseconds) {
        now_.histograms[id.index].record(nanoseconds);
    }
    [[nodiscard]] std::uint64_t value(CounterId id) const { return now_.counters[id.index]; }
    [[nodiscard]] double value(GaugeId id) const { return now_.gauges[id.index]; }
    [[nodiscard]] const LatencyHistogram& value(HistogramId id) const {
        return now_.histograms[id.index];
    }

    // Makes the present values those that text() shows.   Thread: core thread.
    void publish();
    // The published values in Prometheus' text format.   Thread: any.
    [[nodiscard]] std::string text() const;

  private:
    enum class Kind : std::uint8_t { counter, gauge, histogram };
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
        std::vector<LatencyHistogram> histograms;
    };

    void add_member(Kind kind, std::string_view name, std::string_view help, Member member);

    std::vector<Family> families_;
    Values now_;
    mutable std::mutex published_mutex_;
    Values published_;
};

}  // namespace skerry
