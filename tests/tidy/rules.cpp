#include "tests/tidy/rules.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <regex>
#include <set>

namespace skerry::tidy {

namespace {

bool exempt(const Source& source, std::size_t line, std::string_view rule) {
    std::string mark = "// tidy: ";
    mark.append(rule).append(", because ");
    for (const std::size_t n : {line, line - 1})
        if (n >= 1 && n <= source.lines.size() &&
            source.lines[n - 1].find(mark) != std::string::npos)
            return true;
    return false;
}

void report(Findings& findings, std::string_view rule, const Source& source, std::size_t line,
            std::string what) {
    if (!exempt(source, line, rule))
        findings.push_back({std::string(rule), source.path, line, std::move(what)});
}

bool is_test(const Source& source) { return source.in("tests/") || source.in("bench/"); }

// Every place where `pattern` stands in the code.
void report_matches(Findings& findings, std::string_view rule, const Source& source,
                    const std::regex& pattern) {
    for (auto it = std::sregex_iterator(source.code.begin(), source.code.end(), pattern);
         it != std::sregex_iterator(); ++it)
        report(findings, rule, source, source.line_at(static_cast<std::size_t>(it->position())),
               it->str());
}

const std::regex& impure_code() {
    static const std::regex pattern(
        R"(\b(std::rand|srand|random_device|system_clock|steady_clock|high_resolution_clock|gettimeofday|clock_gettime|)"
        R"(std::time\b|std::j?thread|std::async|std::mutex|std::shared_mutex|condition_variable|pthread_\w+|::socket\b))");
    return pattern;
}

// Why a core must not see this header; empty: it may.
std::string impure_include(const Include& include) {
    static const std::set<std::string> names{
        "thread",     "mutex",   "shared_mutex", "condition_variable", "future",    "semaphore",
        "stop_token", "netdb.h", "poll.h",       "pthread.h",          "unistd.h",  "fcntl.h",
        "lmdb.h",     "zmq.h",   "zmq.hpp",      "zmq_addon.hpp",      "httplib.h", "asio.hpp"};
    static const std::regex folders(R"(^(sys|netinet|arpa|asio|openssl|spdlog|prometheus)/)");
    if (!include.angled) return {};
    if (names.contains(include.name) || std::regex_search(include.name, folders))
        return "<" + include.name + ">";
    return {};
}

// The library of a header in angle brackets; empty: the language, the system, or one that anybody
// may use.
std::string library_of(const std::string& name) {
    static const std::regex system(
        R"(^((sys|netinet|arpa|linux|bits)/.*|(unistd|fcntl|netdb|poll|pthread|signal|stdlib|string|stdio|errno|dirent|)"
        R"(time|getopt|termios|dlfcn|cxxabi|execinfo|immintrin)\.h)$)");
    if (name.find('.') == std::string::npos && name.find('/') == std::string::npos) return {};
    if (std::regex_match(name, system) || name.starts_with("absl/")) return {};
    const std::size_t slash = name.find('/');
    std::string library =
        slash != std::string::npos ? name.substr(0, slash) : name.substr(0, name.find('.'));
    return library == "zmq_addon" ? "zmq" : library;
}

std::string folder_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

std::string layer_of(const std::string& path) { return path.substr(0, path.find('/')); }

}  // namespace

std::vector<std::string> sources_of_targets(const Tree& tree, bool (*wanted)(std::string_view)) {
    static const std::regex target(R"(add_(?:library|executable)\s*\(\s*(\w+)([^)]*)\))");
    static const std::regex file(R"([\w./-]+\.[ch]pp)");
    std::vector<std::string> sources;
    for (const auto& [path, text] : tree.cmake) {
        for (auto it = std::sregex_iterator(text.begin(), text.end(), target);
             it != std::sregex_iterator(); ++it) {
            if (!wanted((*it)[1].str())) continue;
            const std::string words = (*it)[2];
            for (auto word = std::sregex_iterator(words.begin(), words.end(), file);
                 word != std::sregex_iterator(); ++word)
                sources.push_back((std::filesystem::path(folder_of(path)) / word->str())
                                      .lexically_normal()
                                      .generic_string());
        }
    }
    return sources;
}

bool is_core(const Tree& tree, const std::string& path) {
    const auto named = [&path](const std::vector<std::string>& sources) {
        const std::string stem = path.substr(0, path.rfind('.'));
        return std::ranges::any_of(
            sources, [&](const std::string& s) { return s.substr(0, s.rfind('.')) == stem; });
    };
    if (named(sources_of_targets(tree,
                                 [](std::string_view name) { return name == "skerry_replica"; })))
        return true;
    const std::string layer = layer_of(path);
    if (layer != "crdt" && layer != "store" && layer != "net" && layer != "sim") return false;
    return !named(
        sources_of_targets(tree, [](std::string_view name) { return name.ends_with("_io"); }));
}

Findings header_block(const Tree& tree) {
    Findings findings;
    for (const auto& [path, source] : tree.sources) {
        if (!source.is_header()) continue;
        if (source.lines.empty() || !source.lines[0].starts_with("// " + path + " — "))
            report(findings, "header_block", source, 1,
                   "the first line is not \"// " + path + " — what it is\"");
    }
    return findings;
}

Findings own_header_first(const Tree& tree) {
    Findings findings;
    for (const auto& [path, source] : tree.sources) {
        const std::string header = source.stem() + ".hpp";
        if (source.is_header() || tree.find(header) == nullptr) continue;
        if (source.includes.empty() || source.includes[0].name != header)
            report(findings, "own_header_first", source,
                   source.includes.empty() ? 1 : source.includes[0].line, header + " comes first");
    }
    return findings;
}

Findings lengths(const Tree& tree) {
    Findings findings;
    for (const auto& [path, source] : tree.sources) {
        const bool generated =
            !source.lines.empty() && source.lines[0].find("generated") != std::string::npos;
        if (!generated && source.lines.size() > kFileLinesMax)
            report(findings, "lengths", source, 1,
                   std::to_string(source.lines.size()) + " lines in the file");
        for (const Function& function : source.functions) {
            const std::size_t count = function.last_line - function.first_line + 1;
            if (!generated && count > kFunctionLinesMax)
                report(findings, "lengths", source, function.first_line,
                       std::to_string(count) + " lines in the function");
        }
    }
    return findings;
}

Findings using_namespace(const Tree& tree) {
    static const std::regex pattern(R"(\busing\s+namespace\b)");
    Findings findings;
    for (const auto& [path, source] : tree.sources)
        if (!is_test(source) || source.is_header())
            report_matches(findings, "using_namespace", source, pattern);
    return findings;
}

Findings mutable_globals(const Tree& tree) {
    static const std::regex no_variable(
        R"(^(__extension__|using|typedef|static_assert|template|friend|class|struct|union|enum|concept|namespace|extern template|asm)\b)");
    static const std::regex constant(R"(\b(const|constexpr)\b)");
    static const std::regex variable(R"(^[\w:<>,*&\[\] ]+[ *&>]\w+( ?\[.*\])*$)");
    static const std::regex pointer_to_const(R"(\bconst\b[^*]*\* ?\w+$)");
    Findings findings;
    for (const auto& [path, source] : tree.sources) {
        if (is_test(source)) continue;
        for (const Statement& statement : source.statements) {
            const bool is_static = statement.text.starts_with("static ") ||
                                   statement.text.starts_with("inline static ") ||
                                   statement.text.starts_with("thread_local ");
            if (statement.scope != Scope::name_space && !is_static) continue;
            const std::string head = statement.text.substr(0, statement.text.find_first_of("={"));
            const std::string declared = head.substr(0, head.find_last_not_of(' ') + 1);
            if (std::regex_search(declared, no_variable) || !std::regex_match(declared, variable))
                continue;
            const bool is_constant = std::regex_search(declared, constant) &&
                                     (declared.find("constexpr") != std::string::npos ||
                                      !std::regex_search(declared, pointer_to_const));
            if (!is_constant) report(findings, "mutable_globals", source, statement.line, declared);
        }
    }
    return findings;
}

Findings impure_cores(const Tree& tree) {
    Findings findings;
    for (const auto& [path, source] : tree.sources) {
        if (!is_core(tree, path)) continue;
        report_matches(findings, "impure_cores", source, impure_code());
        std::vector<const Source*> open{&source};
        std::set<std::string> seen{path};
        while (!open.empty()) {
            const Source& next = *open.back();
            open.pop_back();
            for (const Include& include : next.includes) {
                const std::string impure = impure_include(include);
                if (!impure.empty() && !exempt(next, include.line, "impure_cores")) {
                    const std::string through = &next == &source ? "" : " through " + next.path;
                    report(findings, "impure_cores", source, &next == &source ? include.line : 1,
                           impure + through);
                }
                if (const Source* below = tree.find(include.name);
                    below != nullptr && seen.insert(below->path).second)
                    open.push_back(below);
            }
        }
    }
    return findings;
}

Findings include_directions(const Tree& tree) {
    static const std::map<std::string, std::set<std::string>> below{
        {"crdt", {"crdt"}},
        {"store", {"crdt", "store"}},
        {"net", {"crdt", "net"}},
        {"node", {"crdt", "store", "net", "node"}},
        {"sim", {"crdt", "store", "net", "node", "sim"}},
    };
    Findings findings;
    for (const auto& [path, source] : tree.sources) {
        const auto allowed = below.find(layer_of(path));
        if (allowed == below.end()) continue;
        for (const Include& include : source.includes) {
            if (include.angled) continue;
            const std::string layer = layer_of(include.name);
            if (!allowed->second.contains(layer))
                report(findings, "include_directions", source, include.line,
                       allowed->first + " includes " + include.name);
            else if (layer != allowed->first && is_core(tree, path) && !is_core(tree, include.name))
                report(findings, "include_directions", source, include.line,
                       "a core includes the shell " + include.name);
        }
    }
    return findings;
}

Findings third_party(const Tree& tree) {
    Findings findings;
    std::map<std::string, std::map<std::string, const Source*>> users;  // library -> path
    std::map<std::string, std::map<std::string, std::size_t>> lines;
    for (const auto& [path, source] : tree.sources) {
        if (is_test(source) && !source.is_header()) continue;
        for (const Include& include : source.includes) {
            const std::string library = include.angled ? library_of(include.name) : std::string();
            if (library.empty()) continue;
            users[library][path] = &source;
            lines[library].emplace(path, include.line);
        }
    }
    for (const auto& [library, by_path] : users) {
        const Source& first = *by_path.begin()->second;
        const std::string folder = folder_of(first.path);
        // A folder within a layer may share a library; a layer may not.
        const bool folder_may = folder.find('/') != std::string::npos;
        for (const auto& [path, source] : by_path) {
            if (source->stem() == first.stem() || (folder_may && folder_of(path) == folder))
                continue;
            report(findings, "third_party", *source, lines[library][path],
                   library + " is the business of " + first.path);
        }
    }
    return findings;
}

Findings unbuilt_tests(const Tree& tree) {
    Findings findings;
    for (const auto& [path, source] : tree.sources) {
        if (source.is_header() || !source.in("tests/")) continue;
        const bool built = std::ranges::any_of(tree.cmake, [&path](const auto& file) {
            const std::string folder = folder_of(file.first) + "/";
            if (!path.starts_with(folder)) return false;
            const std::string name = path.substr(folder.size());
            for (std::size_t at = file.second.find(name); at != std::string::npos;
                 at = file.second.find(name, at + 1)) {
                const std::string_view around = " \t\n()\"";
                const std::size_t end = at + name.size();
                if (at > 0 && around.find(file.second[at - 1]) != std::string_view::npos &&
                    end < file.second.size() &&
                    around.find(file.second[end]) != std::string_view::npos)
                    return true;
            }
            return false;
        });
        if (!built) report(findings, "unbuilt_tests", source, 1, "no target builds it");
    }
    return findings;
}

Findings unordered_in_encoded(const Tree& tree) {
    static const std::regex unordered(
        R"(\b(unordered_(multi)?(map|set)|flat_hash_(map|set)|node_hash_(map|set))\b)");
    static const std::regex encodes(R"(\b(Packer|encode|pack|digest)\b *[&(])");
    Findings findings;
    for (const auto& [path, source] : tree.sources) {
        if (!source.is_header() || is_test(source)) continue;
        if (source.in("crdt/") || std::regex_search(source.code, encodes))
            report_matches(findings, "unordered_in_encoded", source, unordered);
    }
    return findings;
}

Findings all_rules(const Tree& tree) {
    Findings all;
    for (const auto rule : std::array{header_block, own_header_first, lengths, using_namespace,
                                      mutable_globals, impure_cores, include_directions,
                                      third_party, unbuilt_tests, unordered_in_encoded}) {
        const Findings found = rule(tree);
        all.insert(all.end(), found.begin(), found.end());
    }
    return all;
}

}  // namespace skerry::tidy
