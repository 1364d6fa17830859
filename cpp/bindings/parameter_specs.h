#pragma once

#include <vector>

#include "bindings/python.h"
#include "model/parameter_spec.h"

namespace a3c::bindings {

// A tuple of (name, shape, channels_last, offset), in the order of the flat vector.
inline py::tuple specs_of(const std::vector<ParameterSpec>& specs) {
  py::list list;
  for (const ParameterSpec& spec : specs)
    list.append(py::make_tuple(spec.name, py::tuple(py::cast(spec.shape)), spec.channels_last, spec.offset));
  return py::tuple(list);
}

}  // namespace a3c::bindings
