// Seeded draws of executions, compiled apart from the book: one unit of both is so large that GCC
// no longer inlines the book's paths (a feed replay took a tenth longer).
#pragma once

#include <nanobind/nanobind.h>

namespace touchstone::py {

/// Add `Stream`, `split_lots`, `counts_of` and `seed_state` to the module.
void bind_draws(nanobind::module_& module);

}  // namespace touchstone::py
