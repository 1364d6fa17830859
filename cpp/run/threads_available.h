// Whether the system gives the threads that a run needs, found out before anything depends on them.
#pragma once

namespace a3c {

// How many of `count` more threads this process can have at a time: starts them, and returns once they have ended. A
// limit (of the user, of a cgroup, of memory for their stacks) makes it fewer. Throws nothing.
int threads_available(int count) noexcept;

}  // namespace a3c
