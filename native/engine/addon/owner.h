// A pod as the engine knows it: a number and the network namespace in which its sockets are made.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

#include "descriptor.h"

struct Owner {
  uint64_t id;
  /** Empty: the namespace of the process. */
  Descriptor netns;
  /** Any thread: no session is opened for it any more. */
  std::atomic<bool> draining{false};

  Owner(uint64_t number, Descriptor descriptor) : id(number), netns(std::move(descriptor)) {}
};
