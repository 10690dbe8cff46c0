#include "tests/tidy/source.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>

namespace skerry::tidy {

namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// Blanks comments and the inside of literals; newlines stay.
class Blanker {
  public:
    explicit Blanker(std::string_view text) : text_(text), code_(text) {}

    std::string run() {
        while (at_ < text_.size()) {
            if (starts("//"))
                blank_to(text_.find('\n', at_));
            else if (starts("/*"))
                blank_to(after(text_.find("*/", at_ + 2), 2));
            else if (starts("R\"") && (at_ == 0 || !is_word(text_[at_ - 1])))
                raw_string();
            else if (text_[at_] == '"')
                literal('"');
            else if (text_[at_] == '\'' && (at_ == 0 || !is_word(text_[at_ - 1])))  // not 1'000
                literal('\'');
            else
                ++at_;
        }
        return std::move(code_);
    }

  private:
    [[nodiscard]] bool starts(std::string_view what) const {
        return text_.substr(at_).starts_with(what);
    }
    static std::size_t after(std::size_t found, std::size_t count) {
        return found == std::string_view::npos ? found : found + count;
    }
    void blank_to(std::size_t end) {
        end = std::min(end, text_.size());
        for (; at_ < end; ++at_)
            if (code_[at_] != '\n') code_[at_] = ' ';
    }
    void literal(char quote) {
        std::size_t end = at_ + 1;
        while (end < text_.size() && text_[end] != quote && text_[end] != '\n')
            end += text_[end] == '\\' ? 2 : 1;
        ++at_;
        blank_to(end);
        if (at_ < text_.size()) ++at_;
    }
    void raw_string() {
        const std::size_t open = text_.find('(', at_);
        if (open == std::string_view::npos) return blank_to(text_.size());
        const std::string close = ")" + std::string(text_.substr(at_ + 2, open - at_ - 2)) + "\"";
        blank_to(after(text_.find(close, open), close.size()));
    }

    std::string_view text_;
    std::string code_;
    std::size_t at_ = 0;
};

void blank_preprocessor(std::string& code) {
    bool continued = false;
    for (std::size_t start = 0; start < code.size();) {
        const std::size_t end = std::min(code.find('\n', start), code.size());
        const std::size_t first = code.find_first_not_of(" \t", start);
        const bool directive = continued || (first < end && code[first] == '#');
        continued = directive && end > start && code[end - 1] == '\\';
        if (directive)
            std::fill(code.begin() + static_cast<std::ptrdiff_t>(start),
                      code.begin() + static_cast<std::ptrdiff_t>(end), ' ');
        start = end + 1;
    }
}

std::string squeezed(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (std::isspace(static_cast<unsigned char>(c)) == 0)
            out.push_back(c);
        else if (!out.empty() && out.back() != ' ')
            out.push_back(' ');
    }
    if (!out.empty() && out.back() == ' ') out.pop_back();
    return out;
}

// Is there an assignment outside parentheses: an initialiser rather than a signature?
bool assigns(const std::string& head) {
    int depth = 0;
    for (std::size_t i = 0; i < head.size(); ++i) {
        if (head[i] == '(') ++depth;
        if (head[i] == ')') --depth;
        if (head[i] != '=' || depth != 0) continue;
        const bool comparison =
            (i > 0 && std::string_view("=<>!").find(head[i - 1]) != std::string_view::npos) ||
            (i + 1 < head.size() && head[i + 1] == '=');
        if (!comparison && !head.substr(0, i).ends_with("operator")) return true;
    }
    return false;
}

Scope classify(Scope around, const std::string& head) {
    static const std::regex name_space(R"(^(inline )?namespace\b|^extern "\s*"$)");
    static const std::regex type(
        R"(^(template ?<.*> ?)?(requires .*)?(typedef )?(class|struct|union|enum)\b)");
    if (around == Scope::function || around == Scope::other) return Scope::other;
    if (std::regex_search(head, name_space)) return Scope::name_space;
    if (std::regex_search(head, type)) return Scope::type;
    if (head.find('(') != std::string::npos && !assigns(head)) return Scope::function;
    return Scope::other;
}

// Walks over the braces of `code` and notes functions and statements.
class Walker {
  public:
    explicit Walker(Source& source) : source_(source) {}

    void run() {
        const std::string& code = source_.code;
        for (std::size_t i = 0; i < code.size(); ++i) {
            switch (code[i]) {
                case '(':
                    ++parens_;
                    break;
                case ')':
                    --parens_;
                    break;
                case '{':
                    open(i);
                    break;
                case '}':
                    close(i);
                    break;
                case ';':
                    end_statement(i);
                    break;
                case ':':
                    access_specifier(i);
                    break;
                default:
                    break;
            }
        }
    }

  private:
    struct Frame {
        Scope scope;
        std::size_t head;
        int parens;
    };

    [[nodiscard]] Scope scope() const {
        return frames_.empty() ? Scope::name_space : frames_.back().scope;
    }
    [[nodiscard]] std::string head_to(std::size_t end) const {
        return squeezed(std::string_view(source_.code).substr(head_, end - head_));
    }
    [[nodiscard]] std::size_t head_line() const {
        const std::size_t first = source_.code.find_first_not_of(" \n\t", head_);
        return source_.line_at(std::min(first, source_.code.size()));
    }

    void open(std::size_t at) {
        const Scope inner = parens_ > 0 ? Scope::other : classify(scope(), head_to(at));
        frames_.push_back({inner, head_, parens_});
        parens_ = 0;
        head_ = at + 1;
    }
    void close(std::size_t at) {
        if (frames_.empty()) return;
        const Frame frame = frames_.back();
        frames_.pop_back();
        head_ = frame.head;
        parens_ = frame.parens;
        if (frame.scope == Scope::function)
            source_.functions.push_back({head_line(), source_.line_at(at)});
        // An initialiser in braces is part of its statement, as far as a rule looks at that; a
        // block is not.
        const bool in_declarations = scope() == Scope::name_space || scope() == Scope::type;
        const bool goes_on =
            frame.parens > 0 || in_declarations || head_to(at).starts_with("static ");
        if (frame.scope != Scope::other || !goes_on) head_ = at + 1;
    }
    void end_statement(std::size_t at) {
        if (parens_ > 0) return;
        std::string text = head_to(at);
        if (!text.empty()) source_.statements.push_back({head_line(), scope(), std::move(text)});
        head_ = at + 1;
    }
    void access_specifier(std::size_t at) {
        const std::string head = head_to(at);
        if (head == "public" || head == "private" || head == "protected") head_ = at + 1;
    }

    Source& source_;
    std::vector<Frame> frames_;
    std::size_t head_ = 0;
    int parens_ = 0;
};

std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

bool Source::in(std::string_view folder) const { return path.starts_with(folder); }

std::size_t Source::line_at(std::size_t offset) const {
    const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(offset, text.size()));
    return 1 + static_cast<std::size_t>(std::count(text.begin(), end, '\n'));
}

Source parse(std::string path, std::string text) {
    static const std::regex include(R"re(^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>))re");
    Source source;
    source.path = std::move(path);
    source.text = std::move(text);
    source.code = Blanker(source.text).run();
    std::istringstream all(source.text);
    std::istringstream code(source.code);
    for (std::string line, bare; std::getline(all, line); source.lines.push_back(line)) {
        std::getline(code, bare);
        std::smatch match;
        if (bare.find("#") == std::string::npos || !std::regex_search(line, match, include))
            continue;
        const bool angled = match[2].matched;
        source.includes.push_back({source.lines.size() + 1, match[angled ? 2 : 1], angled});
    }
    blank_preprocessor(source.code);
    Walker(source).run();
    return source;
}

void Tree::add(std::string path, std::string text) {
    if (path.ends_with("CMakeLists.txt"))
        cmake[path] = std::move(text);
    else
        sources[path] = parse(path, std::move(text));
}

const Source* Tree::find(const std::string& path) const {
    const auto found = sources.find(path);
    return found == sources.end() ? nullptr : &found->second;
}

Tree read_tree(const std::string& root) {
    Tree tree;
    for (auto it = std::filesystem::recursive_directory_iterator(root);
         it != std::filesystem::recursive_directory_iterator(); ++it) {
        const std::string name = it->path().filename().string();
        if (it->is_directory() &&
            (name.starts_with('.') || name == "build" || name == "node_modules")) {
            it.disable_recursion_pending();
            continue;
        }
        const bool wanted =
            name.ends_with(".hpp") || name.ends_with(".cpp") || name == "CMakeLists.txt";
        if (!wanted || !it->is_regular_file()) continue;
        tree.add(it->path().lexically_relative(root).generic_string(), read_file(it->path()));
    }
    return tree;
}

}  // namespace skerry::tidy
