# What the installed library is linked with. A static library brings its own list.
include(CMakeFindDependencyMacro)
find_dependency(absl)
find_dependency(PkgConfig)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
include(${CMAKE_CURRENT_LIST_DIR}/skerry-targets.cmake)
