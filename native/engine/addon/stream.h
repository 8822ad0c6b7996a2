// One CONNECT stream and what it is joined with: a plain socket, or a session inside it (a tunnel in a tunnel).
//
//  - A stream is told as ended exactly once, or as refused; afterwards its number is unknown.
//  - What the peer sent is credited to its stream when the other side took it, so the peer's window bounds the queue.
//  - A reset of one side becomes a reset of the other; FIN and END_STREAM travel on their own.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "captured.h"
#include "dial.h"
#include "hop.h"
#include "plain.h"
#include "worker.h"

enum class StreamPhase : uint8_t { kRequested, kDeciding, kParked, kJoined };

class Stream final : public Runnable, public DialClient {
 public:
  /** A peer's, that waits for JavaScript's decision. */
  Stream(Session& session, int32_t number);
  /** Ours; the connection's socket becomes its other end, and the connection is gone. */
  Stream(Session& session, Captured& connection, const HopPointer& hop);
  ~Stream() override;

  uint64_t id() const { return id_; }
  void ready(uint32_t) override {}
  void run() override;
  void tick();

  /** Server side: dials the application, then answers 200 and joins, or answers 503. */
  void go(HopPointer hop);
  void attach(Session& inner) { inner_ = &inner; }
  /** Client side: the session is lost before an answer, or the peer never took the stream up. */
  void refuse(const char* why);
  /** JavaScript ends it; it is told as ended. */
  void cut();
  /** Server side: answered with a refusal, nothing more is told. */
  void dismiss(int answer);
  void inner_gone();
  void session_gone();

  /** In a parse: data lies in the worker's buffer until settle(). */
  void receive(const uint8_t* data, size_t size) { fresh_.push_back({const_cast<uint8_t*>(data), size}); }
  void answered();
  /** Delivers what came and draws the consequences of what happened. May end the stream. */
  void settle();
  /** For DATA: as Plain::read. */
  ssize_t read(uint8_t* into, size_t size);
  void grow(size_t wanted, size_t got);

  int32_t number;
  Session* session;
  StreamPhase phase;
  std::vector<std::string> headers;
  size_t header_bytes = 0;
  std::string method;
  std::string authority;
  int status = 0;
  size_t frame_bytes;
  bool touched = false;
  bool deferred = false;
  bool peer_ended = false;
  bool closed = false;
  uint32_t close_code = 0;
  bool end_sent = false;
  int failure = 0;

 private:
  void dialed(Descriptor socket) override;
  void dial_failed(int error) override;
  /** The socket to join with; a server's preamble goes before what the peer sent. */
  void attach(Descriptor socket, const std::string& preamble);
  void deliver();
  void flush_queue();
  void settle_closed();
  void took(size_t size);
  void end(EndCause cause, int64_t detail, const char* why = "");
  void leave(bool reset = true);
  void vanish();
  void account();
  uint64_t bytes_received() const;
  uint64_t bytes_sent() const;

  Worker& worker_;
  const uint64_t id_;
  const bool server_;
  const uint64_t session_id_;
  const std::shared_ptr<Owner> owner_;
  const uint64_t started_ms_;
  const uint64_t started_us_;
  HopPointer hop_;
  std::unique_ptr<Dial> dial_;
  /** The session may have died unnoticed before this stream: a second try is due. */
  int attempts_ = 0;
  std::unique_ptr<Plain> plain_;
  Session* inner_ = nullptr;
  Bytes queue_;
  std::vector<iovec> fresh_;
  size_t preamble_ = 0;
  size_t preamble_left_ = 0;
  size_t accounted_ = 0;
  bool shut_ = false;
  /** The session inside has ended: END_STREAM is sent, what still comes is thrown away. */
  bool emptied_ = false;
  uint64_t emptied_ms_ = 0;
  uint64_t reported_ms_ = 0;
  uint64_t reported_received_ = 0;
  uint64_t reported_sent_ = 0;
};
