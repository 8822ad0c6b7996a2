// What the engine's threads tell JavaScript: a queue per engine, delivered in batches on the main thread.
#pragma once
#include <node_api.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

/** Numbers are shared with src/engine/native/addon.ts. */
enum class EventKind : uint8_t {
  kHandshake = 0,      // id of a session; list: DER chain of the peer, leaf first
  kSessionClosed = 1,  // text: why; n: a CloseCause
  kSettings = 2,       // n: the peer's limit of streams
  kGoaway = 3,
  kStream = 4,       // id of a new stream, a: session; text: method, list: authority, then header names and values
  kEstablished = 5,  // a CONNECT was answered 200; list: response headers
  kRefused = 6,      // n: descriptor, given back; text: why
  kEnded = 7,        // a: received, b: sent; n: detail of the cause; cause; list: response headers
  kProgress = 8,     // a: received, b: sent, since the last report
};

enum class CloseCause : uint8_t { kEnded = 0, kTls = 1, kHttp2 = 2 };

enum class EndCause : uint8_t { kOrder = 0, kSystem = 1, kStatus = 2, kAborted = 3, kNoAnswer = 4 };

struct Event {
  EventKind kind;
  EndCause cause = EndCause::kOrder;
  int64_t n = 0;
  uint64_t id = 0;
  uint64_t a = 0;
  uint64_t b = 0;
  std::string text = {};
  std::vector<std::string> list = {};
};

/** Any thread pushes; the main thread delivers. */
class EventQueue {
 public:
  /** Main thread. False when JavaScript is shutting down. */
  bool open(napi_env env, napi_value callback);
  /** Any thread. Takes what is in `events` and leaves it empty. */
  void push(std::vector<Event>& events);
  /** Main thread: nothing is delivered afterwards. */
  void close();

 private:
  static void deliver(napi_env env, napi_value callback, void* context, void* data);

  napi_threadsafe_function function_ = nullptr;
  std::mutex mutex_;
  std::vector<Event> waiting_;
  bool woken_ = false;
  bool closed_ = false;
};
