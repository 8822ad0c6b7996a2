#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "captured.h"
#include "dial.h"
#include "engine.h"
#include "join.h"
#include "listener.h"
#include "session.h"
#include "session_pool.h"
#include "stream.h"

namespace {

/** An order may beget work, and work may beget more; beyond this the rest waits for the next turn. */
constexpr int kPassesPerTurn = 8;
constexpr size_t kFramedBytes = kEncryptBytes + kLargeFrame + 64;

uint64_t coarse_ms() {
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

template <typename T>
std::unique_ptr<Runnable> extract(std::unordered_map<uint64_t, std::unique_ptr<T>>& map, uint64_t id) {
  auto node = map.extract(id);
  return node.empty() ? nullptr : std::unique_ptr<Runnable>(std::move(node.mapped()));
}

/** Each entry as it is now: what is called may change the map. */
template <typename T>
void tick_each(const std::unordered_map<uint64_t, std::unique_ptr<T>>& map) {
  std::vector<T*> entries;
  entries.reserve(map.size());
  for (const auto& [id, entry] : map) entries.push_back(entry.get());
  for (T* entry : entries)
    if (!entry->buried) entry->tick();
}

}  // namespace

uint64_t monotonic_us() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

Worker::Worker(Shared& shared, size_t index)
    : received(new uint8_t[kReadBytes]),
      decrypted(new uint8_t[kReadBytes + kRecordBytes]),
      framed(new uint8_t[kFramedBytes]),
      shared_(shared),
      index_(index),
      pool_(std::make_unique<SessionPool>(*this)),
      decisions_(*this, kDecisionsMax),
      now_ms_(coarse_ms()) {
  if (getrandom(&random_state_, sizeof random_state_, 0) < 0 || random_state_ == 0) random_state_ = monotonic_us() | 1;
}

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

void Worker::put(Order* order) {
  const uint64_t one = 1;
  if (orders_.put(order) && write(wake_, &one, sizeof one) < 0) return;  // full: it is awake anyway
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  post([](Worker&) {});
  thread_.join();
}

void Worker::loop() {
  // signals are for threads that expect them
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  home_ = Descriptor(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  std::array<epoll_event, 512> ready;
  while (!stopping_) {
    const bool busy = !runnables_.empty() || !dirty_.empty();
    const int wait = events_.empty() ? kTickMs : static_cast<int>(kTellMs);
    const int count = epoll_wait(epoll_, ready.data(), ready.size(), busy ? 0 : wait);
    now_ms_ = coarse_ms();
    for (int i = 0; i < count; i++) {
      auto* runnable = static_cast<Runnable*>(ready[i].data.ptr);
      if (runnable != nullptr)
        runnable->ready(ready[i].events);
      else
        run_orders();
    }
    run_turn();
    if (now_ms_ - ticked_ms_ >= kTickMs) {
      ticked_ms_ = now_ms_;
      tick();
    }
    clear_graves();
    publish();
  }
  listeners_.clear();
  captured_.clear();
  joins_.clear();
  streams_.clear();
  sessions_.clear();
  graves_.clear();
}

void Worker::run_orders() {
  uint64_t count = 0;
  if (read(wake_, &count, sizeof count) < 0) return;
  for (Order* order = orders_.take(); order != nullptr;) {
    order->run(*this);
    Order* const next = order->next;
    delete order;
    order = next;
  }
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

void Worker::emit(Event event) {
  if (events_.empty()) told_ms_ = now_ms_;
  urgent_ = urgent_ || is_urgent(event.kind);
  events_.push_back(std::move(event));
}

void Worker::publish() {
  if (events_.empty()) return;
  if (!urgent_ && events_.size() < kTellEvents && now_ms_ - told_ms_ < kTellMs) return;
  urgent_ = false;
  shared_.events.push(index_, events_);
}

void Worker::tick() {
  tick_each(sessions_);
  tick_each(streams_);
  tick_each(joins_);
  tick_each(listeners_);
  for (Dial* dial : std::vector<Dial*>(dials_.begin(), dials_.end())) dial->tick();
  pool_->tick();
  run_turn();
}

bool Worker::watch(int fd, Runnable& runnable) {
  return watch(fd, runnable, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

bool Worker::watch(int fd, Runnable& runnable, uint32_t events) {
  epoll_event event = {};
  event.events = events;
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

const EngineOptions& Worker::options() const { return shared_.options; }
uint64_t Worker::next_id() { return shared_.ids.fetch_add(2, std::memory_order_relaxed); }

// xorshift64*: for drawing endpoints and trace numbers, which need not be secret
double Worker::random() {
  random_state_ ^= random_state_ >> 12;
  random_state_ ^= random_state_ << 25;
  random_state_ ^= random_state_ >> 27;
  return static_cast<double>((random_state_ * 0x2545f4914f6cdd1dULL) >> 11) / static_cast<double>(1ULL << 53);
}

std::string Worker::random_hex(size_t digits) {
  std::string text(digits, '0');
  for (char& digit : text) digit = "0123456789abcdef"[static_cast<size_t>(random() * 16)];
  return text;
}

int Worker::enter(const std::shared_ptr<Owner>& owner) {
  const bool is_home = owner == nullptr || owner->is_home;
  if (!is_home && owner->forgotten) return ECANCELED;
  if (is_home ? inside_ == nullptr : inside_ == owner) return 0;
  if (setns(is_home ? home_.get() : owner->netns.get(), CLONE_NEWNET) != 0) return errno;
  inside_ = is_home ? nullptr : owner;
  return 0;
}

void Worker::leave(Owner& owner) {
  if (inside_ != nullptr && inside_->id == owner.id) enter(nullptr);
  owner.left();
}

Session* Worker::find_session(uint64_t id) const { return find(sessions_, id); }
Stream* Worker::find_stream(uint64_t id) const { return find(streams_, id); }
Join* Worker::find_join(uint64_t id) const { return find(joins_, id); }
Captured* Worker::find_captured(uint64_t id) const { return find(captured_, id); }
Listener* Worker::find_listener(uint64_t id) const { return find(listeners_, id); }
Session& Worker::add(std::unique_ptr<Session> session) { return insert(sessions_, std::move(session)); }
Stream& Worker::add(std::unique_ptr<Stream> stream) { return insert(streams_, std::move(stream)); }
Join& Worker::add(std::unique_ptr<Join> join) { return insert(joins_, std::move(join)); }
Captured& Worker::add(std::unique_ptr<Captured> captured) { return insert(captured_, std::move(captured)); }
Listener& Worker::add(std::unique_ptr<Listener> listener) { return insert(listeners_, std::move(listener)); }
void Worker::bury(Session& session) { bury(extract(sessions_, session.id())); }
void Worker::bury(Stream& stream) { bury(extract(streams_, stream.id())); }
void Worker::bury(Join& join) { bury(extract(joins_, join.id())); }
void Worker::bury(Captured& captured) { bury(extract(captured_, captured.id())); }
void Worker::bury(Listener& listener) { bury(extract(listeners_, listener.id())); }

void Worker::bury(std::unique_ptr<Runnable> runnable) {
  if (!runnable) return;
  runnable->buried = true;
  graves_.push_back(std::move(runnable));
}
