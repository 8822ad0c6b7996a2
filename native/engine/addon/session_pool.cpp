#include "session_pool.h"

#include <algorithm>

#include "captured.h"
#include "session.h"
#include "stream.h"

namespace {

std::string entry_name(uint64_t owner, const std::string& key) { return std::to_string(owner) + " " + key; }

}  // namespace

SessionPool::Entry* SessionPool::find(const Captured& connection) {
  if (connection.hop() == nullptr || connection.hop()->is_plain()) return nullptr;
  const auto at = entries_.find(entry_name(connection.owner()->id, connection.hop()->key));
  return at == entries_.end() ? nullptr : at->second.get();
}

SessionPool::Entry* SessionPool::find(const Session& session) {
  if (session.pool_key().empty()) return nullptr;
  const auto at = entries_.find(entry_name(session.owner()->id, session.pool_key()));
  return at == entries_.end() ? nullptr : at->second.get();
}

void SessionPool::carry(Captured& connection) {
  if (connection.owner()->draining) {
    connection.fail({.kind = EventKind::kEnded,
                     .cause = EndCause::kSession,
                     .n = static_cast<int64_t>(CloseCause::kDraining),
                     .text = "pool draining"});
    return;
  }
  std::unique_ptr<Entry>& entry = entries_[entry_name(connection.owner()->id, connection.hop()->key)];
  if (!entry) {
    entry = std::make_unique<Entry>();
    entry->owner = connection.owner();
    entry->peer = connection.hop()->to;
    entry->key = connection.hop()->key;
  }
  if (Session* session = find_free(*entry)) {
    session->connect(connection, connection.hop());
    return;
  }
  connection.waited = true;
  entry->waiting.push_back(&connection);
  if (entry->opening == nullptr) open(*entry);
}

void SessionPool::open(Entry& entry) {
  auto session = std::make_unique<Session>(worker_, worker_.next_id(), entry.owner, entry.key);
  entry.opening = session.get();
  worker_.emit({.kind = EventKind::kSessionWanted, .id = session->id(), .a = entry.owner->id, .text = entry.key});
  worker_.add(std::move(session)).dial(entry.peer);
}

Session* SessionPool::find_free(const Entry& entry) const {
  for (Session* session : entry.sessions)
    if (session->has_room()) return session;
  return nullptr;
}

void SessionPool::forget(Captured& connection) {
  Entry* entry = connection.waited ? find(connection) : nullptr;
  if (entry != nullptr) std::erase(entry->waiting, &connection);
}

void SessionPool::opened(Session& session) {
  Entry* entry = find(session);
  if (entry == nullptr || entry->opening != &session) return;
  entry->opening = nullptr;
  entry->sessions.push_back(&session);
  released(session);
  if (!entry->waiting.empty() && entry->opening == nullptr) open(*entry);
}

void SessionPool::released(Session& session) {
  Entry* entry = find(session);
  if (entry == nullptr) return;
  while (!entry->waiting.empty() && session.has_room()) {
    Captured& next = *entry->waiting.front();
    entry->waiting.pop_front();
    session.connect(next, next.hop());
  }
}

void SessionPool::closed(Session& session, const Event& end) {
  Entry* entry = find(session);
  if (entry == nullptr) return;
  std::erase(entry->sessions, &session);
  if (entry->opening == &session) {
    entry->opening = nullptr;
    std::deque<Captured*> waiting;
    waiting.swap(entry->waiting);
    for (Captured* connection : waiting) {
      Event told = end;
      connection->waited = false;
      connection->fail(std::move(told));
    }
  }
  erase_if_empty(*entry);
}

void SessionPool::drain(uint64_t owner) {
  std::vector<Session*> sessions;
  for (const auto& [name, entry] : entries_) {
    if (entry->owner->id != owner) continue;
    sessions.insert(sessions.end(), entry->sessions.begin(), entry->sessions.end());
    if (entry->opening != nullptr) sessions.push_back(entry->opening);
  }
  for (Session* session : sessions) session->retire();
}

void SessionPool::tick() {
  std::vector<Session*> idle;
  const uint64_t limit = worker_.options().pool_idle_ms;
  for (const auto& [name, entry] : entries_)
    for (Session* session : entry->sessions)
      if (session->is_idle() && worker_.now_ms() - session->idle_since_ms() >= limit) idle.push_back(session);
  for (Session* session : idle) session->retire();
}

void SessionPool::erase_if_empty(Entry& entry) {
  if (entry.sessions.empty() && entry.waiting.empty() && entry.opening == nullptr)
    entries_.erase(entry_name(entry.owner->id, entry.key));
}
