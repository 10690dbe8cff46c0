// node/metrics.cpp — from plain numbers to Prometheus' families; see the header.
#include "node/metrics.hpp"

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>

#include "crdt/assert.hpp"

namespace skerry {
namespace {

constexpr double kNanosecond = 1e-9;

[[nodiscard]] prometheus::ClientMetric::Histogram histogram_of(const LatencyHistogram& latencies) {
    prometheus::ClientMetric::Histogram histogram;
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < LatencyHistogram::kBuckets; ++i) {
        count += latencies.buckets()[i];
        const bool last = i + 1 == LatencyHistogram::kBuckets;
        prometheus::ClientMetric::Bucket bucket;
        bucket.cumulative_count = count;
        bucket.upper_bound = last
                                 ? std::numeric_limits<double>::infinity()
                                 : static_cast<double>(LatencyHistogram::bound_ns(i)) * kNanosecond;
        histogram.bucket.push_back(bucket);
    }
    histogram.sample_count = count;
    histogram.sample_sum = static_cast<double>(latencies.total_ns()) * kNanosecond;
    return histogram;
}

}  // namespace

void Metrics::add_member(Kind kind, std::string_view name, std::string_view help, Member member) {
    const auto at = std::find_if(families_.begin(), families_.end(),
                                 [&](const Family& f) { return f.name == name; });
    if (at == families_.end()) {
        families_.push_back(
            Family{kind, std::string(name), std::string(help), {std::move(member)}});
        return;
    }
    ASSERT(at->kind == kind);
    at->members.push_back(std::move(member));
}

Metrics::CounterId Metrics::counter(std::string_view name, std::string_view help, Labels labels) {
    const auto index = static_cast<std::uint32_t>(now_.counters.size());
    now_.counters.push_back(0);
    add_member(Kind::counter, name, help, Member{std::move(labels), index});
    return CounterId{index};
}

Metrics::GaugeId Metrics::gauge(std::string_view name, std::string_view help, Labels labels) {
    const auto index = static_cast<std::uint32_t>(now_.gauges.size());
    now_.gauges.push_back(0);
    add_member(Kind::gauge, name, help, Member{std::move(labels), index});
    return GaugeId{index};
}

Metrics::HistogramId Metrics::histogram(std::string_view name, std::string_view help,
                                        Labels labels) {
    const auto index = static_cast<std::uint32_t>(now_.histograms.size());
    now_.histograms.emplace_back();
    add_member(Kind::histogram, name, help, Member{std::move(labels), index});
    return HistogramId{index};
}

void Metrics::publish() {
    const std::lock_guard lock(published_mutex_);
    published_ = now_;
}

std::string Metrics::text() const {
    Values values;
    {
        const std::lock_guard lock(published_mutex_);
        values = published_;
    }
    std::vector<prometheus::MetricFamily> families;
    for (const Family& family : families_) {
        prometheus::MetricFamily out;
        out.name = family.name;
        out.help = family.help;
        out.type = family.kind == Kind::counter ? prometheus::MetricType::Counter
                   : family.kind == Kind::gauge ? prometheus::MetricType::Gauge
                                                : prometheus::MetricType::Histogram;
        for (const Member& member : family.members) {
            prometheus::ClientMetric metric;
            for (const auto& [name, value] : member.labels) {
                metric.label.push_back(prometheus::ClientMetric::Label{name, value});
            }
            if (family.kind == Kind::counter && member.index < values.counters.size()) {
                metric.counter.value = static_cast<double>(values.counters[member.index]);
            } else if (family.kind == Kind::gauge && member.index < values.gauges.size()) {
                metric.gauge.value = values.gauges[member.index];
            } else if (family.kind == Kind::histogram && member.index < values.histograms.size()) {
                if (values.histograms[member.index].count() == 0) continue;
                metric.histogram = histogram_of(values.histograms[member.index]);
            } else {
                continue;  // registered after the last publish()
            }
            out.metric.push_back(std::move(metric));
        }
        if (!out.metric.empty()) families.push_back(std::move(out));
    }
    return prometheus::TextSerializer().Serialize(families);
}

}  // namespace skerry
