// tests/support/temporary_directory.hpp — an empty directory that is gone, with all in it, at the end of the scope.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "tests/catch.hpp"

namespace skerry {

struct TemporaryDirectory {
    std::filesystem::path path;
    TemporaryDirectory() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "skerry-test-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path = pattern;
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() { std::filesystem::remove_all(path); }
};

}  // namespace skerry
