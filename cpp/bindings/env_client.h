#pragma once

#include <memory>
#include <stdexcept>

#include "env/env_client.h"

namespace a3c::bindings {

// A client on its way into an engine, which takes it over.
struct ClientBox {
  std::unique_ptr<EnvClient> client;
  bool begun = false;              // it was received from: its next observations are not those of the reset
  bool waits_for_actions = false;  // and not sent to since: another recv() would hang

  EnvClient& get() const {
    if (!client) throw std::logic_error("these environments already belong to an engine");
    return *client;
  }
};

}  // namespace a3c::bindings
