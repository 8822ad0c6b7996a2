// The engine as JavaScript holds it: its threads and the queue of what they tell. Main thread only, unless it says so.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "event.h"
#include "worker.h"

/** What every thread may use. */
struct Shared {
  EngineOptions options;
  EventQueue events;
  /** Odd numbers are given here, even ones by JavaScript. */
  std::atomic<uint64_t> ids{1};
  /** Of what decisions rest upon: JavaScript says that something changed. */
  std::atomic<uint64_t> generation{0};
  /** Fixed while threads run. */
  std::vector<std::unique_ptr<Worker>> workers;
};

class Engine {
 public:
  ~Engine() { stop(); }

  bool start(napi_env env, napi_value callback, size_t threads, EngineOptions options) {
    shared_.options = std::move(options);
    if (!shared_.events.open(env, callback)) return false;
    open_ = true;
    for (size_t i = 0; i < threads; i++) shared_.workers.push_back(std::make_unique<Worker>(shared_, i));
    for (const auto& worker : shared_.workers)
      if (!worker->start()) return false;
    return true;
  }

  /** Ends the threads with all that is open. Idempotent. */
  void stop() {
    // they hand things to each other: all have ended before one is freed
    for (const auto& worker : shared_.workers) worker->stop();
    shared_.workers.clear();
    if (open_) shared_.events.close();
    open_ = false;
  }

  Worker* worker(size_t index) const { return index < shared_.workers.size() ? shared_.workers[index].get() : nullptr; }
  const std::vector<std::unique_ptr<Worker>>& workers() const { return shared_.workers; }
  /** What was decided before is not used again. */
  void advance(uint64_t generation) { shared_.generation.store(generation, std::memory_order_release); }
  int64_t buffered_bytes() const {
    int64_t bytes = 0;
    for (const auto& worker : shared_.workers) bytes += worker->buffered_bytes();
    return bytes;
  }

 private:
  Shared shared_;
  bool open_ = false;
};
