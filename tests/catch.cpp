#include "tests/catch.hpp"  // what the precompiled header of the tests is compiled with
