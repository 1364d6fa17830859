// The end of a child of a fork.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

namespace a3c {

// Not _exit(): ThreadSanitizer would there take the parent's threads, which nobody joins in the child, for leaked ones.
[[noreturn]] inline void leave_child(int status) {
  for (;;) syscall(SYS_exit_group, status);
}

}  // namespace a3c
