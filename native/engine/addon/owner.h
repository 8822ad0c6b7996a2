// A pod as the engine knows it: a number and the network namespace in which its sockets are made.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

#include "descriptor.h"

struct Owner {
  const uint64_t id;
  /** In the namespace of the process. */
  const bool is_home;
  /** Closed when the last thread has left it, whoever still holds the owner; empty when it is at home. */
  Descriptor netns;
  /** Any thread: no session is opened for it any more. */
  std::atomic<bool> draining{false};
  /** Any thread: nobody enters its namespace any more. */
  std::atomic<bool> forgotten{false};

  Owner(uint64_t number, Descriptor descriptor)
      : id(number), is_home(descriptor.get() < 0), netns(std::move(descriptor)) {}

  /** Before the threads are told to leave. False: they were told before. */
  bool forget(size_t threads) {
    if (forgotten.exchange(true)) return false;
    threads_inside_ = threads;
    return true;
  }
  /** Once by every thread; it does not enter afterwards. */
  void left() {
    if (--threads_inside_ == 0) netns.close();
  }

 private:
  std::atomic<size_t> threads_inside_{0};
};
