// One engine thread: its epoll, its sessions, streams and joins. Everything here runs on that thread unless it says so.
//
// A turn: wait, run what became ready (read, decrypt, parse, deliver), run commands, then flush every session that has
// something to send, once, then publish the events of the turn.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "bytes.h"
#include "event.h"
#include "limits.h"

class Join;
class Session;
class Stream;
class Worker;

/** Something with work to do in a turn. The worker frees it when the turn in which it was buried has ended. */
class Runnable {
 public:
  virtual ~Runnable() = default;
  /** What epoll said. */
  virtual void ready(uint32_t events) = 0;
  virtual void run() = 0;

  bool scheduled = false;
  bool buried = false;
};

class Worker {
 public:
  using Command = std::function<void(Worker&)>;

  Worker(EventQueue& events, const SessionLimits& limits, std::atomic<uint64_t>& ids);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /** Main thread. False when the system refused. */
  bool start();
  /** Main thread. */
  void post(Command command);
  /** Main thread: ends the thread and everything on it. */
  void stop();
  /** Any thread. */
  int64_t buffered_bytes() const { return buffered_.load(std::memory_order_relaxed); }

  bool watch(int fd, Runnable& runnable);
  void unwatch(int fd);
  void schedule(Runnable& runnable);
  void mark_dirty(Session& session);
  void emit(Event event) { events_.push_back(std::move(event)); }
  void count_buffered(int64_t delta) { buffered_.fetch_add(delta, std::memory_order_relaxed); }
  /** Numbers that JavaScript did not give; unique in the engine. */
  uint64_t next_id() { return ids_.fetch_add(2, std::memory_order_relaxed); }
  uint64_t now_ms() const { return now_ms_; }
  const SessionLimits& limits() const { return limits_; }

  Session* find_session(uint64_t id) const;
  Stream* find_stream(uint64_t id) const;
  Join* find_join(uint64_t id) const;
  Session& add(std::unique_ptr<Session> session);
  Stream& add(std::unique_ptr<Stream> stream);
  Join& add(std::unique_ptr<Join> join);
  void bury(Session& session);
  void bury(Stream& stream);
  void bury(Join& join);
  void bury(std::unique_ptr<Runnable> runnable);

  /** Scratch of one turn's step. What one connection wrote is overwritten by its length, never read beyond it. */
  uint8_t* const received;
  uint8_t* const decrypted;
  uint8_t* const framed;
  Bytes& sealed() { return sealed_; }

 private:
  void loop();
  void run_commands();
  void run_turn();
  void tick();
  void clear_graves();

  EventQueue& queue_;
  const SessionLimits limits_;
  std::atomic<uint64_t>& ids_;
  int epoll_ = -1;
  int wake_ = -1;
  std::thread thread_;
  std::atomic<int64_t> buffered_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<Command> commands_;
  std::vector<Event> events_;
  std::vector<Runnable*> runnables_;
  std::vector<Session*> dirty_;
  std::vector<std::unique_ptr<Runnable>> graves_;
  std::unordered_map<uint64_t, std::unique_ptr<Session>> sessions_;
  std::unordered_map<uint64_t, std::unique_ptr<Stream>> streams_;
  std::unordered_map<uint64_t, std::unique_ptr<Join>> joins_;
  Bytes sealed_;
  uint64_t now_ms_ = 0;
  uint64_t ticked_ms_ = 0;
};
