// An HBONE session: TLS 1.3 over a socket or over a stream of another session, and HTTP/2 on it.
//
//  - No HTTP/2 is spoken before JavaScript accepted the chain that the peer presented.
//  - It is told as closed exactly once.
//  - nghttp2's callbacks only note what happened; consequences are drawn when nghttp2 has returned.
#pragma once
#include <nghttp2/nghttp2.h>

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "descriptor.h"
#include "dial.h"
#include "hop.h"
#include "tls.h"
#include "worker.h"

struct Http2Free {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};
using Http2 = std::unique_ptr<nghttp2_session, Http2Free>;

enum class SessionPhase : uint8_t { kHandshake, kVerdict, kOpen };

using SharedContext = std::shared_ptr<SSL_CTX>;

class Session final : public Runnable, public DialClient {
 public:
  /** A peer's, over the socket that it connected to `owner`. */
  Session(Worker& worker, uint64_t id, std::shared_ptr<Owner> owner, Descriptor socket);
  /** Ours, inside a stream. */
  Session(Worker& worker, uint64_t id, Stream& carrier);
  /** Ours, shared under `pool_key`. Begins when it is dialled and its credentials are known. */
  Session(Worker& worker, uint64_t id, std::shared_ptr<Owner> owner, const std::string& pool_key);
  ~Session() override;

  uint64_t id() const { return id_; }
  const std::shared_ptr<Owner>& owner() const { return owner_; }
  const std::string& pool_key() const { return pool_key_; }
  void dial(const Address& peer);
  /** The certificate to present is known. */
  void use(SharedContext context);
  /** There is no certificate; a dial that fails first is what is told. */
  void reject();
  void ready(uint32_t events) override;
  void run() override;
  /** Sends what there is to send, once. */
  void flush();
  void tick();

  /** JavaScript accepted the peer. */
  void accept();
  /** GOAWAY; open streams go on when `graceful`. One that is not open yet goes away gracefully when it is. */
  void close(bool graceful);
  /** No new streams; ends when the last has ended. */
  void retire();
  /** The connection becomes a stream. */
  void connect(Captured& connection, const HopPointer& hop);
  /** Whether one more stream may be opened. */
  bool has_room() const;
  bool is_idle() const { return announced_ && streams_.empty(); }
  uint64_t idle_since_ms() const { return idle_since_ms_; }
  void respond(Stream& stream, int status, const std::vector<std::string>& headers, bool is_end);

  /** What was decided for streams of this peer, by authority. */
  Decisions& decisions() { return decisions_; }

  // for streams
  void resume(Stream& stream);
  void credit(Stream& stream, size_t size);
  bool has_no_window(const Stream& stream) const;
  /** The stream is not heard of any more; when `reset` its peer is told, unless it has closed. */
  void forget(Stream& stream, bool reset);
  Worker& worker() { return worker_; }

  // for the stream that carries this session
  void receive(const uint8_t* data, size_t size);
  ssize_t take_sealed(uint8_t* into, size_t size);
  void carrier_gone();
  void receive_end();

  bool dirty = false;

 private:
  friend struct Http2Callbacks;

  void dialed(Descriptor socket) override;
  void dial_failed(int error) override;
  void begin();
  void announce();
  void start_http2();
  void pull();
  void feed(const uint8_t* data, size_t size);
  void handshake();
  void decrypt();
  void parse(size_t size);
  void settle_touched();
  /** Frames and encrypts what there is, up to the limit. False when broken. */
  bool produce();
  bool encrypt();
  void send_waiting();
  /** The last GOAWAY: it ends when its streams have. */
  void say_goodbye();
  void send_sealed(Bytes& sealed);
  void touch(Stream& stream);
  void die(const std::string& why, CloseCause cause = CloseCause::kEnded, int error = 0);
  ssize_t read_data(int32_t number, size_t length, uint32_t* flags);
  void send_data(const uint8_t* frame_header, size_t length);

  Worker& worker_;
  const uint64_t id_;
  const bool server_;
  const std::shared_ptr<Owner> owner_;
  const std::string pool_key_;
  std::unique_ptr<Dial> dial_;
  SharedContext context_;
  uint64_t deadline_ms_;
  SessionPhase phase_ = SessionPhase::kHandshake;
  Descriptor socket_;
  Stream* carrier_;
  TlsPipe pipe_;
  SslConnection ssl_;
  Http2 http2_;
  Decisions decisions_{worker_, kStreamDecisionsMax};
  Bytes out_;
  Bytes inbox_;
  std::unordered_set<Stream*> streams_;
  std::vector<Stream*> touched_;
  std::vector<int32_t> held_;
  size_t framed_ = 0;
  size_t received_ = 0;
  bool readable_ = true;
  bool writable_ = true;
  bool closing_ = false;
  /** A server that shall go away once it is open. */
  bool leaving_ = false;
  /** When the notice that it goes away was sent; 0: it was not. */
  uint64_t noticed_ms_ = 0;
  bool dead_ = false;
  bool input_ended_ = false;
  bool ping_waits_ = false;
  bool settled_ = false;
  /** The pool knows it. */
  bool announced_ = false;
  bool going_away_ = false;
  bool rejected_ = false;
  uint64_t pinged_ms_;
  uint64_t idle_since_ms_ = 0;
};
