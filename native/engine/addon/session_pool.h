// The HBONE sessions that one thread opened to peers, and the connections that wait for one.
//
//  - A session carries the streams of exactly one key of one owner.
//  - One at its limit, or at its peer's, is not used until a stream ends; then another is opened.
//  - At most one session per key is being opened; what comes of it is shared by all who wait.
//  - A session that closed or heard GOAWAY takes no new stream; its open streams go on.
// Source: RFC 9113 sections 5.1.2 (concurrency) and 6.8 (GOAWAY).
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "address.h"
#include "event.h"
#include "owner.h"

class Captured;
class Session;
class Worker;

class SessionPool {
 public:
  explicit SessionPool(Worker& worker) : worker_(worker) {}

  void carry(Captured& connection);
  /** It waits no longer. */
  void forget(Captured& connection);
  /** The peer accepted us: those who wait get their streams. */
  void opened(Session& session);
  /** A stream ended. */
  void released(Session& session);
  /** It takes no more streams. `end` is told of those who waited for it. */
  void closed(Session& session, const Event& end);
  /** No new session of the owner; its idle ones close, busy ones when their last stream ends. */
  void drain(uint64_t owner);
  void tick();

 private:
  struct Entry {
    std::shared_ptr<Owner> owner;
    Address peer;
    std::string key;
    std::vector<Session*> sessions;
    std::deque<Captured*> waiting;
    Session* opening = nullptr;
  };

  Entry* find(const Captured& connection);
  Entry* find(const Session& session);
  Session* find_free(const Entry& entry) const;
  void open(Entry& entry);
  void erase_if_empty(Entry& entry);

  Worker& worker_;
  std::unordered_map<std::string, std::unique_ptr<Entry>> entries_;
};
