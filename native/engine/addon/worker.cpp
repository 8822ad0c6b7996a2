#include "worker.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <array>

#include "join.h"
#include "session.h"
#include "stream.h"

namespace {

/** A command may beget work, and work may beget more; beyond this the rest waits for the next turn. */
constexpr int kPassesPerTurn = 8;
constexpr size_t kFramedBytes = kEncryptBytes + kLargeFrame + 64;

uint64_t monotonic_ms() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

template <typename T>
T* find(const std::unordered_map<uint64_t, std::unique_ptr<T>>& map, uint64_t id) {
  const auto at = map.find(id);
  return at == map.end() ? nullptr : at->second.get();
}

template <typename T>
T& insert(std::unordered_map<uint64_t, std::unique_ptr<T>>& map, std::unique_ptr<T> value) {
  T& inserted = *value;
  map[inserted.id()] = std::move(value);
  return inserted;
}

}  // namespace

Worker::Worker(EventQueue& events, const SessionLimits& limits, std::atomic<uint64_t>& ids)
    : received(new uint8_t[kReadBytes]),
      decrypted(new uint8_t[kReadBytes + kRecordBytes]),
      framed(new uint8_t[kFramedBytes]),
      queue_(events),
      limits_(limits),
      ids_(ids),
      now_ms_(monotonic_ms()) {}

Worker::~Worker() {
  stop();
  if (epoll_ >= 0) ::close(epoll_);
  if (wake_ >= 0) ::close(wake_);
  delete[] received;
  delete[] decrypted;
  delete[] framed;
}

bool Worker::start() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (epoll_ < 0 || wake_ < 0) return false;
  epoll_event event = {};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) != 0) return false;
  thread_ = std::thread([this] { loop(); });
  return true;
}

void Worker::post(Command command) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    wake = commands_.empty();
    commands_.push_back(std::move(command));
  }
  const uint64_t one = 1;
  if (wake && write(wake_, &one, sizeof one) < 0) return;  // full: it is awake anyway
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  post([](Worker&) {});
  thread_.join();
}

void Worker::loop() {
  std::array<epoll_event, 512> ready;
  while (!stopping_) {
    const bool busy = !runnables_.empty() || !dirty_.empty();
    const int count = epoll_wait(epoll_, ready.data(), ready.size(), busy ? 0 : kTickMs);
    now_ms_ = monotonic_ms();
    for (int i = 0; i < count; i++) {
      auto* runnable = static_cast<Runnable*>(ready[i].data.ptr);
      if (runnable != nullptr)
        runnable->ready(ready[i].events);
      else
        run_commands();
    }
    run_turn();
    if (now_ms_ - ticked_ms_ >= kTickMs) {
      ticked_ms_ = now_ms_;
      tick();
    }
    clear_graves();
    queue_.push(events_);
  }
  joins_.clear();
  streams_.clear();
  sessions_.clear();
  graves_.clear();
}

void Worker::run_commands() {
  uint64_t count = 0;
  std::vector<Command> commands;
  if (read(wake_, &count, sizeof count) < 0) return;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const Command& command : commands) command(*this);
}

void Worker::run_turn() {
  for (int pass = 0; pass < kPassesPerTurn && !(runnables_.empty() && dirty_.empty()); pass++) {
    std::vector<Runnable*> runnables;
    runnables.swap(runnables_);
    for (Runnable* runnable : runnables) {
      runnable->scheduled = false;
      if (!runnable->buried) runnable->run();
    }
    // what is ready is taken in first, so that everything it causes leaves in one send
    if (pass == 0 && !runnables_.empty()) continue;
    std::vector<Session*> dirty;
    dirty.swap(dirty_);
    for (Session* session : dirty) {
      session->dirty = false;
      if (!session->buried) session->flush();
    }
  }
}

void Worker::clear_graves() {
  if (graves_.empty()) return;
  std::erase_if(runnables_, [](const Runnable* runnable) { return runnable->buried; });
  std::erase_if(dirty_, [](const Session* session) { return session->buried; });
  graves_.clear();
}

void Worker::tick() {
  std::vector<Session*> sessions;
  for (const auto& [id, session] : sessions_) sessions.push_back(session.get());
  for (Session* session : sessions)
    if (!session->buried) session->tick();
  std::vector<Stream*> streams;
  for (const auto& [id, stream] : streams_) streams.push_back(stream.get());
  for (Stream* stream : streams)
    if (!stream->buried) stream->tick();
  for (const auto& [id, join] : joins_) join->tick();
  run_turn();
}

bool Worker::watch(int fd, Runnable& runnable) {
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &runnable;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Worker::unwatch(int fd) { epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr); }

void Worker::schedule(Runnable& runnable) {
  if (runnable.scheduled || runnable.buried) return;
  runnable.scheduled = true;
  runnables_.push_back(&runnable);
}

void Worker::mark_dirty(Session& session) {
  if (session.dirty || session.buried) return;
  session.dirty = true;
  dirty_.push_back(&session);
}

Session* Worker::find_session(uint64_t id) const { return find(sessions_, id); }
Stream* Worker::find_stream(uint64_t id) const { return find(streams_, id); }
Join* Worker::find_join(uint64_t id) const { return find(joins_, id); }
Session& Worker::add(std::unique_ptr<Session> session) { return insert(sessions_, std::move(session)); }
Stream& Worker::add(std::unique_ptr<Stream> stream) { return insert(streams_, std::move(stream)); }
Join& Worker::add(std::unique_ptr<Join> join) { return insert(joins_, std::move(join)); }

void Worker::bury(Session& session) {
  auto node = sessions_.extract(session.id());
  if (!node.empty()) bury(std::unique_ptr<Runnable>(std::move(node.mapped())));
}

void Worker::bury(Stream& stream) {
  auto node = streams_.extract(stream.id());
  if (!node.empty()) bury(std::unique_ptr<Runnable>(std::move(node.mapped())));
}

void Worker::bury(Join& join) {
  auto node = joins_.extract(join.id());
  if (!node.empty()) bury(std::unique_ptr<Runnable>(std::move(node.mapped())));
}

void Worker::bury(std::unique_ptr<Runnable> runnable) {
  runnable->buried = true;
  graves_.push_back(std::move(runnable));
}
