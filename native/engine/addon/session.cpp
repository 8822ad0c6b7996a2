#include "session.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>

#include "session_pool.h"
#include "stream.h"

Session::Session(Worker& worker, uint64_t id, std::shared_ptr<Owner> owner, Descriptor socket)
    : worker_(worker),
      id_(id),
      server_(true),
      owner_(std::move(owner)),
      deadline_ms_(0),
      socket_(std::move(socket)),
      carrier_(nullptr),
      pinged_ms_(worker.now_ms()) {
  pipe_.output = &out_;
  worker_.count_inbound_sessions(1);
}

Session::Session(Worker& worker, uint64_t id, Stream& carrier)
    : worker_(worker), id_(id), server_(false), deadline_ms_(0), carrier_(&carrier), pinged_ms_(worker.now_ms()) {
  pipe_.output = &out_;
}

Session::Session(Worker& worker, uint64_t id, std::shared_ptr<Owner> owner, const std::string& pool_key)
    : worker_(worker),
      id_(id),
      server_(false),
      owner_(std::move(owner)),
      pool_key_(pool_key),
      deadline_ms_(0),
      carrier_(nullptr),
      pinged_ms_(worker.now_ms()) {
  pipe_.output = &out_;
}

Session::~Session() {
  if (server_) worker_.count_inbound_sessions(-1);
}

void Session::dial(const Address& peer) {
  dial_ = std::make_unique<Dial>(worker_, *this);
  dial_->start(owner_, peer, Address());
}

void Session::dialed(Descriptor socket) {
  socket_ = std::move(socket);
  worker_.bury(std::move(dial_));
  begin();
}

void Session::dial_failed(int error) { die(strerror(error), CloseCause::kDial, error); }

void Session::use(SharedContext context) {
  context_ = std::move(context);
  begin();
}

void Session::reject() {
  rejected_ = true;
  begin();
}

void Session::begin() {
  if (buried || dial_ != nullptr || ssl_) return;
  if (rejected_) {
    die("there is no certificate for it");
    return;
  }
  if (!context_) return;
  deadline_ms_ = worker_.now_ms() + worker_.options().connect_timeout_ms;
  ERR_clear_error();
  ssl_ = make_connection(context_.get(), server_, pipe_);
  if (!ssl_ || (carrier_ == nullptr && !worker_.watch(socket_.get(), *this))) {
    die("the session could not be set up");
    return;
  }
  if (!server_) handshake();
  worker_.mark_dirty(*this);
}

void Session::ready(uint32_t events) {
  if (buried) return;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    readable_ = true;
    worker_.schedule(*this);
  }
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
    if (!writable_) worker_.mark_dirty(*this);
    writable_ = true;
  }
}

void Session::run() {
  pull();
  if (!buried) worker_.mark_dirty(*this);
}

void Session::pull() {
  if (phase_ != SessionPhase::kVerdict && !inbox_.empty()) {
    Bytes waiting;
    waiting.swap(inbox_);
    feed(waiting.data(), waiting.size());
  }
  if (input_ended_ && inbox_.empty() && !buried) {
    die("the outer stream ended");
    return;
  }
  for (int round = 0; carrier_ == nullptr && !buried && readable_ && phase_ != SessionPhase::kVerdict; round++) {
    if (round == kRoundsPerTurn) {
      worker_.schedule(*this);
      return;
    }
    const ssize_t count = recv(socket_.get(), worker_.received, kReadBytes, 0);
    if (count > 0) {
      feed(worker_.received, static_cast<size_t>(count));
    } else if (count == 0) {
      const bool early = phase_ == SessionPhase::kHandshake;
      die(early ? "the peer closed the connection during the handshake" : "the peer closed the session",
          early ? CloseCause::kTls : CloseCause::kEnded);
    } else if (errno == EAGAIN) {
      readable_ = false;
    } else {
      die(strerror(errno));
    }
  }
}

void Session::feed(const uint8_t* data, size_t size) {
  pipe_.input = data;
  pipe_.input_size = size;
  if (phase_ == SessionPhase::kHandshake) handshake();
  if (phase_ == SessionPhase::kOpen && !buried) decrypt();
  if (pipe_.input_size > 0 && !buried) inbox_.append(pipe_.input, pipe_.input_size);
  pipe_.input_size = 0;
}

void Session::handshake() {
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_.get());
  if (done == 1) {
    if (!speaks_http2(ssl_.get())) {
      die("the peer does not speak HTTP/2", CloseCause::kTls);
      return;
    }
    std::vector<std::string> chain = peer_chain(ssl_.get());
    if (chain.empty()) {
      die("the peer's certificate was not verified", CloseCause::kTls);
      return;
    }
    phase_ = SessionPhase::kVerdict;
    worker_.emit({.kind = EventKind::kHandshake, .id = id_, .list = std::move(chain)});
    return;
  }
  if (SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_READ) {
    const std::string why = tls_error(ssl_.get());
    send_waiting();
    die(why, CloseCause::kTls);
  }
}

void Session::accept() {
  if (phase_ != SessionPhase::kVerdict) return;
  phase_ = SessionPhase::kOpen;
  start_http2();
  if (leaving_) close(true);
  worker_.schedule(*this);
}

void Session::decrypt() {
  for (;;) {
    size_t size = 0;
    int count = 0;
    ERR_clear_error();
    while (size < kReadBytes &&
           (count = SSL_read(ssl_.get(), worker_.decrypted + size, static_cast<int>(kReadBytes + kRecordBytes - size))) >
               0)
      size += static_cast<size_t>(count);
    const int error = count > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), count);
    const std::string why = error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL ? tls_error(ssl_.get()) : "";
    if (size > 0) parse(size);
    if (buried) return;
    if (error == SSL_ERROR_NONE) continue;
    if (error == SSL_ERROR_ZERO_RETURN)
      die("the peer closed the session");
    else if (error != SSL_ERROR_WANT_READ)
      die(why);
    return;
  }
}

void Session::settle_touched() {
  while (!touched_.empty() && !buried) {
    std::vector<Stream*> touched;
    touched.swap(touched_);
    for (Stream* stream : touched) {
      stream->touched = false;
      stream->settle();
    }
  }
}

void Session::flush() {
  if (!out_.empty()) send_waiting();
  if (buried || phase_ != SessionPhase::kOpen) return;
  Bytes& sealed = worker_.sealed();
  for (int round = 0; carrier_ != nullptr ? out_.size() < kSendBytes : out_.empty(); round++) {
    if (round == kRoundsPerTurn) {
      worker_.mark_dirty(*this);
      return;
    }
    const size_t before = out_.size();
    if (carrier_ == nullptr) pipe_.output = &sealed;
    const bool sound = produce();
    pipe_.output = &out_;
    const bool more = !held_.empty();
    const bool moved = carrier_ == nullptr ? !sealed.empty() : out_.size() > before;
    if (carrier_ == nullptr) send_sealed(sealed);
    if (buried) return;
    if (!sound) {
      die("frames could not be made", CloseCause::kHttp2);
      return;
    }
    settle_touched();
    if (buried) return;
    if (!more || !moved) break;
  }
  if (carrier_ != nullptr && !out_.empty() && carrier_->deferred && carrier_->session != nullptr)
    carrier_->session->resume(*carrier_);
  const bool idle = !nghttp2_session_want_write(http2_.get()) && out_.empty();
  if (idle && ((closing_ && streams_.empty()) || !nghttp2_session_want_read(http2_.get()))) {
    SSL_shutdown(ssl_.get());
    send_waiting();
    die("the session ended");
  }
}

void Session::send_waiting() {
  if (carrier_ != nullptr) {
    if (!out_.empty() && carrier_->deferred && carrier_->session != nullptr) carrier_->session->resume(*carrier_);
    return;
  }
  while (!out_.empty() && writable_) {
    const ssize_t sent = send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      out_.consume(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      writable_ = false;
    } else {
      if (!dead_) die(strerror(errno));
      return;
    }
  }
}

void Session::send_sealed(Bytes& sealed) {
  size_t done = 0;
  while (done < sealed.size() && writable_) {
    const ssize_t sent = send(socket_.get(), sealed.data() + done, sealed.size() - done, MSG_NOSIGNAL);
    if (sent >= 0) {
      done += static_cast<size_t>(sent);
    } else if (errno == EAGAIN) {
      writable_ = false;
    } else {
      const std::string why = strerror(errno);
      sealed.reset();
      die(why);
      return;
    }
  }
  out_.append(sealed.data() + done, sealed.size() - done);
  sealed.reset();
}

void Session::close(bool graceful) {
  if (buried) return;
  if (phase_ != SessionPhase::kOpen) {
    leaving_ = server_;
    if (!server_ || !graceful) die("the session was given up");
    return;
  }
  if (server_ && graceful) {
    if (noticed_ms_ == 0 && !closing_) {
      nghttp2_submit_shutdown_notice(http2_.get());
      noticed_ms_ = worker_.now_ms();
      worker_.mark_dirty(*this);
    }
    return;
  }
  say_goodbye();
  if (graceful) return;
  flush();
  die("the session was closed");
}

void Session::say_goodbye() {
  closing_ = true;
  nghttp2_submit_goaway(http2_.get(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(http2_.get()),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  worker_.mark_dirty(*this);
}

void Session::retire() {
  if (phase_ != SessionPhase::kOpen)
    die("pool draining", CloseCause::kDraining);
  else if (!closing_)
    close(true);
}

void Session::die(const std::string& why, CloseCause cause, int error) {
  if (dead_) return;
  dead_ = true;
  worker_.bury(std::move(dial_));
  const std::unordered_set<Stream*> streams(std::move(streams_));
  streams_.clear();
  touched_.clear();
  for (Stream* stream : streams) stream->session_gone();
  Stream* const carrier = carrier_;
  carrier_ = nullptr;
  if (carrier != nullptr) carrier->inner_gone();
  // those who were on it or waited for it are told first: it can then be asked why it failed
  const auto number = static_cast<int64_t>(cause);
  const auto detail = static_cast<uint64_t>(error);
  worker_.pool().closed(*this, {.kind = EventKind::kEnded,
                                .cause = EndCause::kSession,
                                .n = number,
                                .session = id_,
                                .a = detail,
                                .text = why});
  worker_.emit({.kind = EventKind::kSessionClosed, .n = number, .id = id_, .a = detail, .text = why});
  worker_.bury(*this);
}

void Session::tick() {
  const uint64_t now = worker_.now_ms();
  if (phase_ != SessionPhase::kOpen) {
    if (ssl_ && now >= deadline_ms_) die("no TLS handshake in time", CloseCause::kTls);
    return;
  }
  if (noticed_ms_ != 0 && !closing_ && now - noticed_ms_ >= kGoawayGraceMs) say_goodbye();
  if (!settled_ && now >= deadline_ms_ + kHandshakeGraceMs) {
    die("no SETTINGS in time", CloseCause::kHttp2);
  } else if (ping_waits_ && now - pinged_ms_ >= kPingTimeoutMs) {
    die("no answer to PING");
  } else if (!ping_waits_ && now - pinged_ms_ >= kPingIntervalMs) {
    pinged_ms_ = now;
    ping_waits_ = nghttp2_submit_ping(http2_.get(), NGHTTP2_FLAG_NONE, nullptr) == 0;
    worker_.mark_dirty(*this);
  }
}

void Session::receive(const uint8_t* data, size_t size) {
  inbox_.append(data, size);
  worker_.schedule(*this);
}

ssize_t Session::take_sealed(uint8_t* into, size_t size) {
  if (out_.empty()) return -EAGAIN;
  const size_t taken = out_.size() < size ? out_.size() : size;
  memcpy(into, out_.data(), taken);
  out_.consume(taken);
  worker_.mark_dirty(*this);
  return static_cast<ssize_t>(taken);
}

void Session::receive_end() {
  input_ended_ = true;
  worker_.schedule(*this);
}

void Session::carrier_gone() {
  carrier_ = nullptr;
  die("the outer stream ended");
}
