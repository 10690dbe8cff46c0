"""The library as another project meets it: installed, found by CMake, linked with the example of the documentation."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import run_checks  # noqa: E402
from cluster import ROOT  # noqa: E402

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(embeds LANGUAGES CXX)
find_package(skerry 0.1 REQUIRED)
add_executable(two_replicas two_replicas.cpp)
target_link_libraries(two_replicas PRIVATE skerry::skerry)
"""


def check_find_package():
    with tempfile.TemporaryDirectory(prefix="skerry-library-") as place:
        def run(*command):
            done = subprocess.run(command, cwd=place, capture_output=True, text=True)
            assert done.returncode == 0, "%s\n%s%s" % (" ".join(command), done.stdout, done.stderr)
            return done.stdout

        run("cmake", "--install", os.path.join(ROOT, "build", "release"), "--prefix", os.path.join(place, "installed"))
        with open(os.path.join(place, "CMakeLists.txt"), "w") as project:
            project.write(PROJECT)
        with open(os.path.join(ROOT, "docs", "examples", "two_replicas.cpp")) as example, \
                open(os.path.join(place, "two_replicas.cpp"), "w") as copy:
            copy.write(example.read())
        run("cmake", "-B", "build", "-DCMAKE_PREFIX_PATH=" + os.path.join(place, "installed"))
        run("cmake", "--build", "build")
        said = run(os.path.join("build", "two_replicas"), os.path.join(place, "data"))
        assert "visits=111 cart=bread" in said, said


if __name__ == "__main__":
    sys.exit(run_checks("library", globals()))
