// What the engine's threads tell JavaScript: a queue per engine, delivered in batches on the main thread.
#pragma once
#include <node_api.h>

#include <cstdint>
#include <string>
#include <vector>

#include "inbox.h"

/** Numbers are shared with src/engine/native/addon.ts. */
enum class EventKind : uint8_t {
  kHandshake = 0,       // id: a session; list: DER chain of the peer, leaf first
  kSessionClosed = 1,   // id: a session; text: why; n: a CloseCause; a: errno of a dial
  kSettings = 2,        // id: a session; n: the peer's limit of streams
  kAccepted = 3,        // id: a new connection; a: listener; text: addresses, each "ip port", the original one only if known
  kStream = 4,          // id: a new stream, session; text: method, list: authority, then header names and values
  kEstablished = 5,     // id: a CONNECT was answered 200; list: response headers
  kSessionWanted = 6,   // id: a new session to a peer; a: owner; text: key; it is dialled already
  kEnded = 7,           // a: received, b: sent, us: duration; n: detail of the cause; cause, session; text: why;
                        // list: response headers
  kProgress = 8,        // a: received, b: sent, since the last report
  kListenerClosed = 9,  // id: a listener; this thread accepts nothing from it any more
  kReused = 10,         // id: a new connection or stream that took a remembered decision, a; n: the candidate; the rest
                        // as for kAccepted (b: listener) or kStream
  kForgotten = 11,      // id: a decision that is not used here any more
};

enum class CloseCause : uint8_t { kEnded = 0, kTls = 1, kHttp2 = 2, kDial = 3, kDraining = 4 };

enum class EndCause : uint8_t {
  kOrder = 0,
  kSystem = 1,    // n: errno
  kStatus = 2,    // n: HTTP status
  kAborted = 3,   // the application hung up before an answer
  kNoAnswer = 4,  // n: ms
  kRefused = 5,   // text: why the peer or the session did not take the stream
  kDial = 6,      // n: errno
  kSession = 7,   // the session it waited for could not be opened: session; n: a CloseCause, a: errno; text: why
};

struct Event {
  EventKind kind;
  EndCause cause = EndCause::kOrder;
  int64_t n = 0;
  uint64_t id = 0;
  uint64_t session = 0;
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t us = 0;
  std::string text = {};
  std::vector<std::string> list = {};
};

/** Whether somebody waits for JavaScript to hear it. */
constexpr bool is_urgent(EventKind kind) {
  switch (kind) {
    case EventKind::kEnded:
    case EventKind::kProgress:
    case EventKind::kEstablished:
    case EventKind::kReused:
    case EventKind::kForgotten:
      return false;
    default:
      return true;
  }
}

/** What one thread told at a time. */
struct EventBatch {
  size_t thread;
  std::vector<Event> events;
  EventBatch* next = nullptr;
};

/** Any thread pushes; the main thread delivers. */
class EventQueue {
 public:
  /** Main thread. False when JavaScript is shutting down. */
  bool open(napi_env env, napi_value callback);
  /** Any thread. Takes what is in `events` and leaves it empty. */
  void push(size_t thread, std::vector<Event>& events);
  /** Main thread, when every other thread has ended: nothing is delivered afterwards. */
  void close();

 private:
  static void deliver(napi_env env, napi_value callback, void* context, void* data);

  napi_threadsafe_function function_ = nullptr;
  Inbox<EventBatch> waiting_;
};
