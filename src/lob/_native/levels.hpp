// Depth read from JSON, compiled apart from the book as the draws are.
#pragma once

#include <nanobind/nanobind.h>

namespace touchstone::py {

/// Add `touches` to the module.
void bind_levels(nanobind::module_& module);

}  // namespace touchstone::py
