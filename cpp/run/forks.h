// Forks of the process, by whomever. The child has none of the other threads, and a lock that one of them holds at that
// moment (LibTorch has some, MKL's memory manager has one) stays locked there for ever. So a fork waits for a moment in
// which no thread computes, and what has threads knows in the child that they are not there.
#pragma once

namespace a3c {

// How many forks lie between the program's first process and this one. What has threads remembers it: where it has
// changed, those threads are the parent's, and joining or detaching them would hang or crash.
int forks();

// Between the two, whichever thread calls them, no fork happens; the first waits for one that is under way. They are
// counted. A fork waits for the last end_computing(), at most ten seconds.
void begin_computing();
void end_computing();

// While it lives, this thread computes.
class Computing {
 public:
  Computing() { begin_computing(); }
  ~Computing() { end_computing(); }
  Computing(const Computing&) = delete;
  Computing& operator=(const Computing&) = delete;
};

// While it lives, a thread that computes only waits: the moment for a fork.
class Waiting {
 public:
  Waiting() { end_computing(); }
  ~Waiting() { begin_computing(); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
};

// For a thread that computes for long, where it holds no lock: a fork that waits happens here.
void let_fork();

}  // namespace a3c
