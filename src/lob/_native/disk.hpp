// A thread that waits for the disk, compiled apart from the book as the draws are.
#pragma once

#include <nanobind/nanobind.h>

namespace touchstone::py {

/// Add `DiskThread` to the module, where the system is Linux.
void bind_disk(nanobind::module_& module);

}  // namespace touchstone::py
