// Where there are no kernels of our own, on every CPU but x86-64's: LibTorch takes every network. This executable has a
// dispatch.cc of its own, compiled without them (CMakeLists.txt), in the place of the library's.
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "configs.h"
#include "model/kernels/dispatch.h"
#include "model/network.h"
#include "run/engine.h"

namespace a3c {
namespace {

struct Unset {  // for the tests after one that fails
  ~Unset() { unsetenv("A3C_FAST_ISA"); }
};

EnvSpec images() {
  return {2, array_of({4, 84, 84}), discrete({3})};
}

ModelConfig paper() {
  ModelConfig config = model_of(images());
  config.kind = ModelKind::paper;
  return config;
}

TEST(libtorch_takes_every_network) {
  CHECK(!has_kernels());
  ModelConfig nature = paper(), small = paper(), linear = model_of(small_spec());
  nature.kind = ModelKind::nature;
  small.kind = ModelKind::small;
  linear.hidden_sizes = {};
  for (const ModelConfig& config : {paper(), nature, small, linear, model_of(small_spec())})
    CHECK_EQUAL(std::string(network_isa(config)), "libtorch");
  CHECK(lacks_kernels(paper()));
  CHECK(lacks_kernels(nature));
  CHECK(lacks_kernels(model_of(small_spec())));
  CHECK(!lacks_kernels(small));  // they have none anywhere
  CHECK(!lacks_kernels(linear));
}

TEST(kernels_that_are_not_there_are_refused_by_name) {
  const Unset unset;
  for (const std::string isa : {"amx", "avx512_bf16", "avx512", "avx2"}) {
    setenv("A3C_FAST_ISA", isa.c_str(), 1);
    const std::string sentence = "this CPU does not have " + isa;
    CHECK_THROWS(network_isa(paper()), sentence.c_str());
    CHECK_THROWS(network_isa(model_of(small_spec())), sentence.c_str());
  }
  setenv("A3C_FAST_ISA", "neon", 1);
  CHECK_THROWS(network_isa(paper()), "may name are amx, avx512_bf16, avx512, avx2, libtorch");
  for (const char* isa : {"libtorch", ""}) {
    setenv("A3C_FAST_ISA", isa, 1);
    CHECK_EQUAL(std::string(network_isa(paper())), "libtorch");
  }
}

TEST(there_is_no_bf16) {
  ModelConfig config = paper();
  config.precision = Precision::bf16;
  CHECK_THROWS(network_isa(config), "neither AMX nor AVX512_BF16");
  config.precision = Precision::automatic;
  CHECK_EQUAL(std::string(network_isa(config)), "libtorch");
}

TEST(a_run_learns) {
  ModelConfig recurrent = model_of(small_spec());
  recurrent.lstm_size = 8;
  const std::pair<ModelConfig, EnvSpec> cases[] = {
      {paper(), images()}, {model_of(small_spec()), small_spec()}, {recurrent, small_spec()}};
  for (const auto& [model, spec] : cases) {
    FakeEnvConfig fake = fake_config();
    fake.spec = spec;
    std::vector<std::unique_ptr<EnvClient>> clients;
    for (int i = 0; i < 2; ++i) clients.push_back(std::make_unique<FakeEnv>(fake));
    Engine engine(small_config(), model, std::move(clients));
    std::vector<float> before(static_cast<size_t>(engine.num_parameters())), after = before;
    engine.read_parameters(before.data());
    engine.start(40);
    CHECK(engine.wait(check::kPatience));
    CHECK(!engine.failure());
    CHECK(engine.stats().updates > 0);
    engine.read_parameters(after.data());
    CHECK(after != before);
    for (const float value : after) CHECK(std::isfinite(value));
  }
}

}  // namespace
}  // namespace a3c
