// What Python asks of the process: LibTorch's settings, and threads.
#include <memory>

#include "bindings/python.h"
#include "model/threads.h"
#include "run/threads_available.h"

namespace a3c::bindings {
namespace {

// A context manager.
struct BoundNewThreadTorch {
  std::unique_ptr<NewThreadTorch> entered;
};

}  // namespace

void bind_process(py::module_& m) {
  py::class_<BoundNewThreadTorch>(m, "NewThreadTorch")
      .def(py::init<>())
      .def("__enter__", [](BoundNewThreadTorch& self) { self.entered = std::make_unique<NewThreadTorch>(); })
      .def("__exit__", [](BoundNewThreadTorch& self, const py::args&) { self.entered.reset(); });
  m.def("torch_threads", &torch_threads);
  m.def(
      "threads_available",
      [](int count) {
        int available = 0;
        without_gil([&] { available = threads_available(count); });
        return available;
      },
      "count"_a);
}

}  // namespace a3c::bindings
