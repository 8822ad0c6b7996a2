// One engine thread: its epoll, its listeners, connections, sessions, streams and joins. Everything here runs on that
// thread unless it says so.
//
// A turn: wait, run what became ready (accept, read, decrypt, parse, deliver), run orders, then flush every session that
// has something to send, once, then publish the events of the turn. What JavaScript need not act upon waits a little, so
// that it is told together.
#pragma once
#include <atomic>
#include <memory>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "bytes.h"
#include "decisions.h"
#include "event.h"
#include "limits.h"
#include "owner.h"

class Captured;
class Dial;
class Join;
class Listener;
class Session;
class SessionPool;
class Stream;
class Worker;
struct Shared;

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

/** An order from another thread. */
struct Order {
  virtual ~Order() = default;
  virtual void run(Worker& worker) = 0;
  Order* next = nullptr;
};

class Worker {
 public:
  Worker(Shared& shared, size_t index);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /** Main thread. False when the system refused. */
  bool start();
  /** Any thread: `task(worker)` runs on this one, in the order of posting. */
  template <typename Task>
  void post(Task task) {
    struct Posted final : Order {
      explicit Posted(Task given) : task(std::move(given)) {}
      void run(Worker& worker) override { task(worker); }
      Task task;
    };
    put(new Posted(std::move(task)));
  }
  /** Main thread: ends the thread and everything on it. */
  void stop();
  /** Any thread. */
  int64_t buffered_bytes() const { return buffered_.load(std::memory_order_relaxed); }
  /** Any thread: what it has to do, for spreading what is new. */
  int64_t connections() const { return connections_.load(std::memory_order_relaxed); }
  int64_t inbound_sessions() const { return inbound_sessions_.load(std::memory_order_relaxed); }

  size_t index() const { return index_; }
  Shared& shared() { return shared_; }
  const EngineOptions& options() const;
  bool watch(int fd, Runnable& runnable);
  bool watch(int fd, Runnable& runnable, uint32_t events);
  void unwatch(int fd);
  void schedule(Runnable& runnable);
  void mark_dirty(Session& session);
  void emit(Event event);
  /** What was emitted is told at the end of this turn. */
  void hurry() { urgent_ = true; }
  void count_buffered(int64_t delta) { buffered_.fetch_add(delta, std::memory_order_relaxed); }
  void count_connections(int64_t delta) { connections_.fetch_add(delta, std::memory_order_relaxed); }
  void count_inbound_sessions(int64_t delta) { inbound_sessions_.fetch_add(delta, std::memory_order_relaxed); }
  /** Numbers that JavaScript did not give; unique in the engine. */
  uint64_t next_id();
  uint64_t now_ms() const { return now_ms_; }
  /** In [0, 1). */
  double random();
  std::string random_hex(size_t digits);
  /** Sockets that this thread makes from now on are of the owner's namespace. 0 or an errno. */
  int enter(const std::shared_ptr<Owner>& owner);
  /** The namespace of an owner that is gone is not held any longer. */
  void leave(Owner& owner);

  Session* find_session(uint64_t id) const;
  Stream* find_stream(uint64_t id) const;
  Join* find_join(uint64_t id) const;
  Captured* find_captured(uint64_t id) const;
  Listener* find_listener(uint64_t id) const;
  Session& add(std::unique_ptr<Session> session);
  Stream& add(std::unique_ptr<Stream> stream);
  Join& add(std::unique_ptr<Join> join);
  Captured& add(std::unique_ptr<Captured> captured);
  Listener& add(std::unique_ptr<Listener> listener);
  void add(Dial& dial) { dials_.insert(&dial); }
  void remove(Dial& dial) { dials_.erase(&dial); }
  void bury(Session& session);
  void bury(Stream& stream);
  void bury(Join& join);
  void bury(Captured& captured);
  void bury(Listener& listener);
  void bury(std::unique_ptr<Runnable> runnable);
  SessionPool& pool() { return *pool_; }
  Decisions& decisions() { return decisions_; }
  /** Connections here wait for JavaScript. */
  bool has_room() const { return captured_.size() < kUndecidedMax; }

  /** Scratch of one turn's step. What one connection wrote is overwritten by its length, never read beyond it. */
  uint8_t* const received;
  uint8_t* const decrypted;
  uint8_t* const framed;
  Bytes& sealed() { return sealed_; }

 private:
  void put(Order* order);
  void loop();
  void run_orders();
  void run_turn();
  void tick();
  void clear_graves();
  void publish();

  Shared& shared_;
  const size_t index_;
  int epoll_ = -1;
  int wake_ = -1;
  Descriptor home_;
  std::shared_ptr<Owner> inside_;
  std::thread thread_;
  std::atomic<int64_t> buffered_{0};
  std::atomic<int64_t> connections_{0};
  std::atomic<int64_t> inbound_sessions_{0};
  std::atomic<bool> stopping_{false};
  Inbox<Order> orders_;
  std::vector<Event> events_;
  bool urgent_ = false;
  uint64_t told_ms_ = 0;
  std::vector<Runnable*> runnables_;
  std::vector<Session*> dirty_;
  std::vector<std::unique_ptr<Runnable>> graves_;
  std::unordered_map<uint64_t, std::unique_ptr<Session>> sessions_;
  std::unordered_map<uint64_t, std::unique_ptr<Stream>> streams_;
  std::unordered_map<uint64_t, std::unique_ptr<Join>> joins_;
  std::unordered_map<uint64_t, std::unique_ptr<Captured>> captured_;
  std::unordered_map<uint64_t, std::unique_ptr<Listener>> listeners_;
  std::unordered_set<Dial*> dials_;
  std::unique_ptr<SessionPool> pool_;
  Decisions decisions_;
  Bytes sealed_;
  uint64_t random_state_ = 0;
  uint64_t now_ms_ = 0;
  uint64_t ticked_ms_ = 0;
};

/** Microseconds of a clock that only goes forward. */
uint64_t monotonic_us();
