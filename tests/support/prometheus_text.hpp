// tests/support/prometheus_text.hpp — a strict reader of Prometheus' text format 0.0.4: what it takes, a scraper takes.
//
// Strict   HELP, then TYPE, then the samples of one family, all together; names and labels of the allowed form; values
//          that are numbers; no sample twice; histograms whose buckets ascend, end with +Inf and agree with _count.
#pragma once

#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace skerry {

struct ExposedSample {
    std::string name;
    std::map<std::string, std::string> labels;
    double value = 0;
};
struct ExposedFamily {
    std::string name, type, help;
    std::vector<ExposedSample> samples;
};

class PrometheusText {
  public:
    // Throws std::runtime_error, with the line.
    static std::vector<ExposedFamily> read(const std::string& text) {
        PrometheusText reader;
        std::size_t at = 0;
        while (at < text.size()) {
            const std::size_t end = text.find('\n', at);
            if (end == std::string::npos) throw std::runtime_error("the last line does not end");
            const std::string line = text.substr(at, end - at);
            try {
                reader.take(line);
            } catch (const std::runtime_error& error) {
                throw std::runtime_error(std::string(error.what()) + ": " + line);
            }
            at = end + 1;
        }
        reader.end_family();
        return reader.families_;
    }

  private:
    using Labels = std::map<std::string, std::string>;

    static void must(bool holds, const char* what) {
        if (!holds) throw std::runtime_error(what);
    }

    void take(const std::string& line) {
        static const std::regex comment("# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)");
        std::smatch found;
        if (line.starts_with("#")) {
            must(std::regex_match(line, found, comment), "a comment of no known form");
            found[1] == "HELP" ? begin_family(found[2], found[3]) : set_type(found[2], found[3]);
            return;
        }
        must(!families_.empty() && !families_.back().type.empty(), "a sample before its TYPE");
        add(sample(line));
    }

    void begin_family(const std::string& name, const std::string& help) {
        end_family();
        must(names_.insert(name).second, "a family twice, or in pieces");
        families_.push_back({name, {}, help, {}});
    }

    void set_type(const std::string& name, const std::string& type) {
        must(!families_.empty() && families_.back().name == name, "TYPE without HELP before it");
        must(families_.back().type.empty() && families_.back().samples.empty(), "TYPE twice");
        must(type == "counter" || type == "gauge" || type == "histogram", "an unknown type");
        must((type == "counter") == name.ends_with("_total"),
             "a counter, and no other, is a _total");
        families_.back().type = type;
    }

    static ExposedSample sample(const std::string& line) {
        static const std::regex name("[a-zA-Z_:][a-zA-Z0-9_:]*");
        static const std::regex label(
            "([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\\\]|\\\\[\\\\n\"])*)\"(,|\\})");
        ExposedSample out;
        std::smatch found;
        must(std::regex_search(line, found, name, std::regex_constants::match_continuous),
             "a name");
        out.name = found[0];
        std::string rest = found.suffix();
        if (rest.starts_with("{")) {
            rest.erase(0, 1);
            for (bool more = true; more;) {
                must(std::regex_search(rest, found, label, std::regex_constants::match_continuous),
                     "a label");
                must(out.labels.emplace(found[1], found[2]).second, "a label twice");
                more = found[3] == ",";
                rest = std::string(found.suffix());
            }
        }
        must(rest.size() > 1 && rest[0] == ' ' && rest.find(' ', 1) == std::string::npos,
             "one blank, then the value, and no more");
        out.value = number(rest.substr(1));
        return out;
    }

    static double number(const std::string& text) {
        if (text == "+Inf") return HUGE_VAL;
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        must(end == text.c_str() + text.size() && std::isfinite(value),
             "a value that is no number");
        return value;
    }

    void add(ExposedSample sample) {
        ExposedFamily& family = families_.back();
        const bool histogram = family.type == "histogram";
        const std::string suffix =
            sample.name.starts_with(family.name) ? sample.name.substr(family.name.size()) : "?";
        must(histogram ? suffix == "_bucket" || suffix == "_sum" || suffix == "_count"
                       : suffix.empty(),
             "a sample of another family");
        must(sample.labels.contains("le") == (suffix == "_bucket"), "le, and only on buckets");
        must(family.type == "gauge" || sample.value >= 0, "a negative count");
        must(samples_.emplace(sample.name, sample.labels).second, "a sample twice");
        family.samples.push_back(std::move(sample));
    }

    void end_family() {
        if (families_.empty()) return;
        const ExposedFamily& family = families_.back();
        must(!family.samples.empty(), "a family without samples");
        if (family.type != "histogram") return;
        struct Series {
            std::vector<std::pair<double, double>> buckets;
            std::optional<double> sum, count;
        };
        std::map<Labels, Series> all;
        for (const ExposedSample& sample : family.samples) {
            Labels labels = sample.labels;
            labels.erase("le");
            Series& series = all[labels];
            if (sample.name.ends_with("_sum"))
                series.sum = sample.value;
            else if (sample.name.ends_with("_count"))
                series.count = sample.value;
            else
                series.buckets.emplace_back(number(sample.labels.at("le")), sample.value);
        }
        for (const auto& [labels, series] : all) {
            must(series.sum && series.count && !series.buckets.empty(), "half a histogram");
            for (std::size_t i = 1; i < series.buckets.size(); ++i)
                must(series.buckets[i - 1].first < series.buckets[i].first &&
                         series.buckets[i - 1].second <= series.buckets[i].second,
                     "buckets that do not ascend");
            must(std::isinf(series.buckets.back().first), "no bucket for all");
            must(series.buckets.back().second == *series.count, "buckets that are not the count");
        }
    }

    std::vector<ExposedFamily> families_;
    std::set<std::string> names_;
    std::set<std::pair<std::string, Labels>> samples_;
};

}  // namespace skerry
