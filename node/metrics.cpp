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

using prometheus::ClientMetric;
using prometheus::MetricType;

constexpr double kNanosecond = 1e-9;

[[nodiscard]] ClientMetric::Histogram histogram_of(const Histogram& recorded, double unit) {
    ClientMetric::Histogram histogram;
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < Histogram::kBuckets; ++i) {
        count += recorded.buckets()[i];
        const bool last = i + 1 == Histogram::kBuckets;
        ClientMetric::Bucket bucket;
        bucket.cumulative_count = count;
        bucket.upper_bound = last ? std::numeric_limits<double>::infinity()
                                  : static_cast<double>(Histogram::bound(i)) * unit;
        histogram.bucket.push_back(bucket);
    }
    histogram.sample_count = count;
    histogram.sample_sum = static_cast<double>(recorded.total()) * unit;
    return histogram;
}

[[nodiscard]] ClientMetric labelled(const Metrics::Labels& labels) {
    ClientMetric metric;
    for (const auto& [name, value] : labels)
        metric.label.push_back(ClientMetric::Label{name, value});
    return metric;
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

Metrics::HistogramId Metrics::histogram(std::string_view name, std::string_view help, Unit unit,
                                        Labels labels) {
    const auto index = static_cast<std::uint32_t>(now_.histograms.size());
    now_.histograms.emplace_back();
    add_member(unit == Unit::plain ? Kind::histogram : Kind::seconds, name, help,
               Member{std::move(labels), index});
    return HistogramId{index};
}

Metrics::TableId Metrics::table(std::string_view name, std::string_view help) {
    const auto index = static_cast<std::uint32_t>(now_.tables.size());
    now_.tables.emplace_back();
    add_member(Kind::table, name, help, Member{{}, index});
    return TableId{index};
}

void Metrics::publish() {
    const std::lock_guard lock(published_mutex_);
    published_ = now_;
}

void Metrics::append(const Member& member, Kind kind, const Values& values,
                     std::vector<ClientMetric>& out) {
    ClientMetric metric = labelled(member.labels);
    switch (kind) {
        case Kind::counter:
            metric.counter.value = static_cast<double>(values.counters[member.index]);
            break;
        case Kind::gauge:
            metric.gauge.value = values.gauges[member.index];
            break;
        case Kind::seconds:
        case Kind::histogram:
            if (values.histograms[member.index].count() == 0) return;
            metric.histogram = histogram_of(values.histograms[member.index],
                                            kind == Kind::seconds ? kNanosecond : 1);
            break;
        case Kind::table:
            for (const Row& row : values.tables[member.index]) {
                out.push_back(labelled(row.labels));
                out.back().gauge.value = row.value;
            }
            return;
    }
    out.push_back(std::move(metric));
}

std::string Metrics::text() const {
    Values values;
    {
        const std::lock_guard lock(published_mutex_);
        if (!published_) return {};
        values = *published_;
    }
    std::vector<prometheus::MetricFamily> families;
    for (const Family& family : families_) {
        prometheus::MetricFamily out;
        out.name = family.name;
        out.help = family.help;
        out.type = family.kind == Kind::counter ? MetricType::Counter
                   : family.kind == Kind::gauge || family.kind == Kind::table
                       ? MetricType::Gauge
                       : MetricType::Histogram;
        for (const Member& member : family.members) append(member, family.kind, values, out.metric);
        if (!out.metric.empty()) families.push_back(std::move(out));
    }
    return prometheus::TextSerializer().Serialize(families);
}

}  // namespace skerry
