#include "stream.h"

#include <errno.h>
#include <limits.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "session.h"


Stream::Stream(Session& session, int32_t number)
    : number(number),
      session(&session),
      phase(StreamPhase::kDeciding),
      frame_bytes(kSmallFrame),
      worker_(session.worker()),
      id_(worker_.next_id()),
      server_(true),
      session_id_(session.id()),
      owner_(session.owner()),
      started_ms_(worker_.now_ms()),
      started_us_(monotonic_us()) {
  worker_.count_connections(1);
}

Stream::Stream(Session& session, Captured& connection, const HopPointer& hop)
    : number(0),
      session(&session),
      phase(StreamPhase::kRequested),
      frame_bytes(kSmallFrame),
      worker_(session.worker()),
      id_(connection.id()),
      server_(false),
      session_id_(session.id()),
      owner_(connection.owner()),
      started_ms_(worker_.now_ms()),
      started_us_(connection.started_us()),
      hop_(hop),
      attempts_(connection.attempts + 1) {
  worker_.count_connections(1);
  Descriptor socket = connection.release();
  if (socket.get() >= 0) plain_ = std::make_unique<Plain>(worker_, std::move(socket), *this);
}

Stream::~Stream() {
  worker_.count_connections(-1);
  worker_.count_buffered(-static_cast<int64_t>(accounted_));
}

void Stream::go(HopPointer hop) {
  if (phase != StreamPhase::kDeciding || hop_ != nullptr) return;
  hop_ = std::move(hop);
  dial_ = std::make_unique<Dial>(worker_, *this);
  dial_->start(owner_, hop_->to, hop_->source);
}

void Stream::dialed(Descriptor socket) {
  worker_.bury(std::move(dial_));
  attach(std::move(socket), hop_->preamble);
  phase = StreamPhase::kJoined;
  if (session != nullptr) session->respond(*this, 200, hop_->headers, false);
  worker_.schedule(*this);
}

void Stream::dial_failed(int error) {
  if (session != nullptr) session->respond(*this, kUnavailable, {}, true);
  leave(false);
  end(EndCause::kDial, error);
}

void Stream::attach(Descriptor socket, const std::string& preamble) {
  plain_ = std::make_unique<Plain>(worker_, std::move(socket), *this);
  if (preamble.empty()) return;
  Bytes queue;
  queue.append(preamble.data(), preamble.size());
  queue.append(queue_.data(), queue_.size());
  queue_.swap(queue);
  preamble_ = preamble_left_ = preamble.size();
}

void Stream::run() {
  if (phase == StreamPhase::kRequested && plain_ && plain_->broken()) {
    end(EndCause::kAborted, 0);
    return;
  }
  if (session != nullptr && phase == StreamPhase::kJoined) {
    if (deferred)
      session->resume(*this);
    else if (plain_ && plain_->broken() && !end_sent && session->has_no_window(*this))
      failure = ECONNRESET;
  }
  settle();
}

void Stream::answered() {
  if (status != 200) {
    end(EndCause::kStatus, status);
    return;
  }
  worker_.emit({.kind = EventKind::kEstablished, .id = id_, .list = headers});
  if (!plain_) worker_.hurry();
  phase = plain_ ? StreamPhase::kJoined : StreamPhase::kParked;
  if (plain_) session->resume(*this);
}

void Stream::settle() {
  if (buried) return;
  if (status != 0 && phase == StreamPhase::kRequested && session != nullptr) {
    answered();
    if (buried) return;
  }
  deliver();
  if (failure != 0) {
    if (plain_) plain_->reset();
    end(is_hangup(failure) ? EndCause::kOrder : EndCause::kSystem, failure);
    return;
  }
  if (closed) {
    settle_closed();
    return;
  }
  if (peer_ended && inner_ != nullptr && !shut_) {
    shut_ = true;
    inner_->receive_end();
  }
  if (peer_ended && queue_.empty() && plain_ && !shut_ && phase == StreamPhase::kJoined) {
    shut_ = true;
    plain_->shutdown_write();
  }
}

void Stream::settle_closed() {
  leave();
  if (phase == StreamPhase::kRequested) {
    refuse("the peer closed the stream");
  } else if (close_code != NGHTTP2_NO_ERROR || phase != StreamPhase::kJoined) {
    if (plain_) plain_->reset();
    end(EndCause::kOrder, 0);
  } else if (queue_.empty()) {
    end(EndCause::kOrder, 0);
  }
}

void Stream::deliver() {
  if (emptied_) {
    for (const iovec& part : fresh_) took(part.iov_len);
    fresh_.clear();
    queue_.clear();
    account();
    return;
  }
  if (inner_ != nullptr && phase == StreamPhase::kJoined) {
    if (!queue_.empty()) {
      inner_->receive(queue_.data(), queue_.size());
      took(queue_.size());
      queue_.clear();
    }
    for (const iovec& part : fresh_) {
      inner_->receive(static_cast<const uint8_t*>(part.iov_base), part.iov_len);
      took(part.iov_len);
    }
    fresh_.clear();
    account();
    return;
  }
  const bool open = plain_ && phase == StreamPhase::kJoined && failure == 0;
  if (open) flush_queue();
  size_t next = 0;
  while (open && queue_.empty() && next < fresh_.size() && failure == 0) {
    const ssize_t written = plain_->write(&fresh_[next], std::min<size_t>(fresh_.size() - next, IOV_MAX));
    if (written < 0) {
      if (written != -EAGAIN) failure = static_cast<int>(-written);
      break;
    }
    took(static_cast<size_t>(written));
    for (size_t left = static_cast<size_t>(written); left > 0;) {
      iovec& part = fresh_[next];
      const size_t step = std::min(left, part.iov_len);
      part.iov_base = static_cast<uint8_t*>(part.iov_base) + step;
      part.iov_len -= step;
      left -= step;
      if (part.iov_len == 0) next++;
    }
  }
  for (; next < fresh_.size(); next++) queue_.append(fresh_[next].iov_base, fresh_[next].iov_len);
  fresh_.clear();
  account();
}

void Stream::flush_queue() {
  while (!queue_.empty()) {
    const iovec part = {const_cast<uint8_t*>(queue_.data()), queue_.size()};
    const ssize_t written = plain_->write(&part, 1);
    if (written < 0) {
      if (written != -EAGAIN) failure = static_cast<int>(-written);
      return;
    }
    queue_.consume(static_cast<size_t>(written));
    const size_t ours = std::min(preamble_left_, static_cast<size_t>(written));
    preamble_left_ -= ours;
    took(static_cast<size_t>(written) - ours);
  }
}

ssize_t Stream::read(uint8_t* into, size_t size) {
  if (inner_ != nullptr) return inner_->take_sealed(into, size);
  if (emptied_) return 0;
  return plain_ ? plain_->read(into, size) : -EAGAIN;
}

void Stream::grow(size_t wanted, size_t got) {
  if (got >= frame_bytes)
    frame_bytes = std::min(frame_bytes * 2, kLargeFrame);
  else if (got < kSmallFrame && wanted >= frame_bytes)
    frame_bytes = kSmallFrame;
}

void Stream::refuse(const char* why) {
  leave();
  if (attempts_ >= kAttemptsMax || !plain_ || hop_->key.empty()) {
    end(EndCause::kRefused, 0, why);
    return;
  }
  auto again = std::make_unique<Captured>(worker_, id_, owner_, Descriptor(plain_->release()));
  again->keep_start(started_us_);
  again->attempts = attempts_;
  vanish();
  worker_.add(std::move(again)).go(hop_);
}

void Stream::cut() {
  if (plain_) plain_->reset();
  end(EndCause::kOrder, ECONNRESET);
}

void Stream::dismiss(int answer) {
  if (session != nullptr && phase == StreamPhase::kDeciding) session->respond(*this, answer, {}, true);
  leave(false);
  vanish();
}

void Stream::inner_gone() {
  inner_ = nullptr;
  emptied_ = true;
  emptied_ms_ = worker_.now_ms();
  if (session != nullptr) session->resume(*this);
}

void Stream::session_gone() {
  session = nullptr;
  closed = true;
  if (close_code == NGHTTP2_NO_ERROR) close_code = NGHTTP2_CANCEL;
  settle();
}

void Stream::tick() {
  const uint64_t now = worker_.now_ms();
  if (phase == StreamPhase::kRequested && now - started_ms_ > kAnswerTimeoutMs) {
    end(EndCause::kNoAnswer, kAnswerTimeoutMs);
    return;
  }
  if (emptied_ && now - emptied_ms_ > kLingerMs) {
    end(EndCause::kOrder, 0);
    return;
  }
  if (phase != StreamPhase::kJoined || !plain_ || now - reported_ms_ < kReportMs) return;
  const uint64_t received = bytes_received();
  const uint64_t sent = bytes_sent();
  if (received == reported_received_ && sent == reported_sent_) return;
  worker_.emit({.kind = EventKind::kProgress,
                .id = id_,
                .a = received - reported_received_,
                .b = sent - reported_sent_});
  reported_ms_ = now;
  reported_received_ = received;
  reported_sent_ = sent;
}

void Stream::took(size_t size) {
  if (session != nullptr && !closed && size > 0) session->credit(*this, size);
}

void Stream::end(EndCause cause, int64_t detail, const char* why) {
  if (buried) return;
  Session* const inner = inner_;
  inner_ = nullptr;
  worker_.emit({.kind = EventKind::kEnded,
                .cause = cause,
                .n = detail,
                .id = id_,
                .session = session_id_,
                .a = bytes_received(),
                .b = bytes_sent(),
                .us = monotonic_us() - started_us_,
                .text = why,
                .list = server_ ? std::vector<std::string>() : headers});
  if (!plain_) worker_.hurry();
  leave();
  vanish();
  if (inner != nullptr) inner->carrier_gone();
}

void Stream::vanish() {
  worker_.bury(std::move(dial_));
  worker_.bury(*this);
}

void Stream::leave(bool reset) {
  if (session == nullptr) return;
  Session& from = *session;
  session = nullptr;
  from.forget(*this, reset);
}

void Stream::account() {
  const size_t size = queue_.size();
  if (size == accounted_) return;
  worker_.count_buffered(static_cast<int64_t>(size) - static_cast<int64_t>(accounted_));
  accounted_ = size;
}

uint64_t Stream::bytes_received() const {
  if (!plain_) return 0;
  if (!server_) return plain_->bytes_read;
  return plain_->bytes_written > preamble_ ? plain_->bytes_written - preamble_ : 0;
}

uint64_t Stream::bytes_sent() const {
  if (!plain_) return 0;
  return server_ ? plain_->bytes_read : plain_->bytes_written;
}
