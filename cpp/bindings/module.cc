#include "bindings/python.h"

PYBIND11_MODULE(a3c_fast_core, m) {
  m.doc() = "The training loop of a3c_fast: workers, environments, network, learning. Use the package a3c_fast.";
  m.attr("__version__") = A3C_VERSION;
  a3c::bindings::bind_exported_network(m);
  a3c::bindings::bind_configs(m);  // before the rest, whose constructors take them
  a3c::bindings::bind_env_client(m);
  a3c::bindings::bind_networks(m);
  a3c::bindings::bind_policy(m);
  a3c::bindings::bind_learning(m);
  a3c::bindings::bind_engine(m);
  a3c::bindings::bind_process(m);
}
