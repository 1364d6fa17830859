#include "env/process/process_client.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "env/actions.h"

namespace a3c {
namespace {

#ifdef P_PIDFD
constexpr idtype_t kPidfd = P_PIDFD;
#else
constexpr auto kPidfd = static_cast<idtype_t>(3);  // older headers do not name it
#endif

}  // namespace

ProcessClient::ProcessClient(const ProcessSpecs& specs, std::shared_ptr<void> owner)
    : owner_(std::move(owner)), specs_(specs), has_finals_(specs.layout.finals > 0) {
  const auto num_envs = static_cast<size_t>(specs_.env.num_envs);
  memory_ =
      mmap(nullptr, static_cast<size_t>(specs_.layout.size), PROT_READ | PROT_WRITE, MAP_SHARED, specs_.memory, 0);
  if (memory_ == MAP_FAILED)
    throw std::runtime_error("the memory shared with the environments cannot be mapped: " +
                             std::string(std::strerror(errno)));
  reward_.resize(num_envs);
  for (std::vector<uint8_t>* flags : {&done_, &bootstraps_, &episode_ended_, &valid_, &starts_})
    flags->resize(num_envs);
  const std::vector<int>& choices = specs_.env.action.choices;
  if (specs_.env.action.masked)
    mask_bytes_ = specs_.env.num_envs * std::accumulate(choices.begin(), choices.end(), int64_t{0});
  masks_.resize(static_cast<size_t>(mask_bytes_));
  if (has_finals_) has_final_.resize(num_envs);
  batch_ = {reward_.data(),     reward_.data(),        done_.data(),  //
            bootstraps_.data(), episode_ended_.data(), valid_.data(), starts_.data()};
  if (mask_bytes_ > 0) batch_.action_masks = masks_.data();
}

ProcessClient::~ProcessClient() {
  munmap(memory_, static_cast<size_t>(specs_.layout.size));
}

const StepBatch& ProcessClient::recv(void* observations) {
  wait();
  throw_if_it_failed();
  const int num_envs = specs_.env.num_envs;
  std::memcpy(observations, at<void>(specs_.layout.observations),
              static_cast<size_t>(num_envs * specs_.env.observation.bytes()));
  const double* rewards = at<double>(specs_.layout.rewards);
  std::transform(rewards, rewards + num_envs, reward_.begin(),
                 [](double reward) { return static_cast<float>(reward); });
  std::copy_n(at<uint8_t>(specs_.layout.masks), mask_bytes_, masks_.data());
  const uint8_t* flags = at<uint8_t>(specs_.layout.flags);
  bool cut = false;
  for (int i = 0; i < num_envs; ++i) {
    const bool terminated = flags[i] & kTerminated;
    done_[i] = episode_ended_[i] = (flags[i] & (kTerminated | kTruncated)) != 0;
    bootstraps_[i] = !terminated && (flags[i] & kCut) == 0;
    valid_[i] = (flags[i] & kResetStep) == 0;
    starts_[i] = (flags[i] & kStarts) != 0;
    if (has_finals_) has_final_[i] = (flags[i] & kCut) != 0;
    cut |= (flags[i] & kCut) != 0;
  }
  batch_.final_observations = cut ? at<void>(specs_.layout.finals) : nullptr;
  batch_.has_final = cut ? has_final_.data() : nullptr;
  return batch_;
}

void ProcessClient::send(const float* actions) {
  const ActionSpec& spec = specs_.env.action;
  auto* choices = at<int64_t>(specs_.layout.actions);
  auto* numbers = at<double>(specs_.layout.actions);
  for (int i = 0; i < specs_.env.num_envs; ++i, actions += spec.size()) {
    try {
      check_action(spec, actions);
      if (mask_bytes_ > 0) check_allowed(spec, masks_.data() + i * (mask_bytes_ / specs_.env.num_envs), actions);
    } catch (const std::out_of_range& error) {
      throw std::out_of_range("environment " + std::to_string(i) + ": " + error.what());
    }
    for (int j = 0; j < spec.size(); ++j) {
      if (spec.continuous())
        *numbers++ = to_environment(spec, j, actions[j]);
      else
        *choices++ = static_cast<int64_t>(actions[j]);
    }
  }
  const uint64_t one = 1;
  while (write(specs_.go, &one, sizeof one) != sizeof one)
    if (errno != EINTR) throw std::runtime_error("the process of the environments cannot be told to step");
}

void ProcessClient::wait() {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::duration<double>(specs_.limit_seconds);
  for (;;) {
    pollfd events[] = {{specs_.done, POLLIN, 0}, {specs_.pidfd, POLLIN, 0}};
    const double left = std::chrono::duration<double, std::milli>(deadline - Clock::now()).count();
    const int found = poll(events, 2, static_cast<int>(std::clamp(std::ceil(left), 0.0, 1e9)));
    if (found < 0 && errno != EINTR)
      throw std::runtime_error("the process of the environments cannot be waited for: " +
                               std::string(std::strerror(errno)));
    if (found < 0) continue;
    uint64_t count;
    if (events[0].revents & POLLIN && read(specs_.done, &count, sizeof count) == sizeof count) return;
    if (events[1].revents) throw_how_it_ended();
    if (found == 0) {
      std::ostringstream text;
      text << "the environments have not stepped within " << specs_.limit_seconds << " seconds";
      throw std::runtime_error(text.str());
    }
  }
}

void ProcessClient::throw_if_it_failed() const {
  uint32_t size;
  std::memcpy(&size, at<void>(specs_.layout.message), sizeof size);
  if (size == 0) return;
  const auto most = static_cast<size_t>(specs_.layout.message_bytes) - sizeof size;
  throw std::runtime_error(std::string(at<char>(specs_.layout.message) + sizeof size, std::min<size_t>(size, most)));
}

void ProcessClient::throw_how_it_ended() const {
  throw_if_it_failed();
  siginfo_t info{};
  std::string how = "ended";
  if (waitid(kPidfd, static_cast<id_t>(specs_.pidfd), &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid != 0) {
    how = info.si_code == CLD_EXITED ? "exited with status " + std::to_string(info.si_status)
                                     : "was killed by signal " + std::to_string(info.si_status) + ", " +
                                           std::string(strsignal(info.si_status));
  }
  throw std::runtime_error("the process of the environments " + how);
}

}  // namespace a3c
