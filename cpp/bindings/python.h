// The only file that includes pybind11. The GIL is dropped around every call that waits or computes, never around
// construction or raising. No torch header comes in here: torch bundles a pybind11 of its own.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>

namespace py = pybind11;
using namespace py::literals;

namespace a3c::bindings {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Bytes = py::array_t<uint8_t, py::array::c_style | py::array::forcecast>;

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

// Calls `body`, which touches nothing of Python's, without the GIL, and throws what it throws. pybind11's
// gil_scoped_release takes the GIL back in a destructor: where the interpreter ends meanwhile it ends a daemon thread
// there, and an exit out of a destructor is the end of the whole process.
template <typename Body>
void without_gil(const Body& body) {
  std::exception_ptr failure;
  PyThreadState* const thread = PyEval_SaveThread();
  try {
    body();
  } catch (...) {
    failure = std::current_exception();
  }
  PyEval_RestoreThread(thread);
  if (failure) std::rethrow_exception(failure);
}

// What a body returns that is called so.
template <typename Body>
auto value_without_gil(const Body& body) {
  std::optional<decltype(body())> value;
  without_gil([&] { value = body(); });
  return *value;
}

template <typename T>
py::array_t<T> copy_of(const T* data, py::ssize_t size) {
  return py::array_t<T>(size, data);
}

// What the module a3c_fast_core is made of, a file each.
void bind_exported_network(py::module_& m);
void bind_configs(py::module_& m);
void bind_env_client(py::module_& m);
void bind_networks(py::module_& m);
void bind_policy(py::module_& m);
void bind_learning(py::module_& m);
void bind_engine(py::module_& m);
void bind_process(py::module_& m);

}  // namespace a3c::bindings
