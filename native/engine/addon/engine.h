// The engine as JavaScript holds it: its threads and the queue of what they tell. Main thread only.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "event.h"
#include "worker.h"

class Engine {
 public:
  ~Engine() { stop(); }

  bool start(napi_env env, napi_value callback, size_t threads, const SessionLimits& limits) {
    if (!events_.open(env, callback)) return false;
    open_ = true;
    for (size_t i = 0; i < threads; i++) {
      workers_.push_back(std::make_unique<Worker>(events_, limits, ids_));
      if (!workers_.back()->start()) return false;
    }
    return true;
  }

  /** Ends the threads with all that is open. Idempotent. */
  void stop() {
    workers_.clear();
    if (open_) events_.close();
    open_ = false;
  }

  size_t threads() const { return workers_.size(); }
  Worker* worker(size_t index) const { return index < workers_.size() ? workers_[index].get() : nullptr; }
  int64_t buffered_bytes() const {
    int64_t bytes = 0;
    for (const auto& worker : workers_) bytes += worker->buffered_bytes();
    return bytes;
  }

 private:
  EventQueue events_;
  /** Odd numbers are given here, even ones by JavaScript. */
  std::atomic<uint64_t> ids_{1};
  std::vector<std::unique_ptr<Worker>> workers_;
  bool open_ = false;
};
