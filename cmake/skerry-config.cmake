# What the installed library is linked with. A static library brings its own list.
include(CMakeFindDependencyMacro)
find_dependency(absl)
find_dependency(PkgConfig)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
include(${CMAKE_CURRENT_LIST_DIR}/skerry-targets.cmake)
