#include "join.h"

#include <errno.h>

Join::Join(Worker& worker, uint64_t id, Descriptor client, Descriptor server, const std::string& preamble)
    : worker_(worker),
      id_(id),
      client_(worker, std::move(client), *this),
      server_(worker, std::move(server), *this),
      up_{client_, server_},
      down_{server_, client_} {
  up_.waiting.append(preamble.data(), preamble.size());
  worker_.count_connections(1);
}

Join::~Join() {
  worker_.count_connections(-1);
  worker_.count_buffered(-static_cast<int64_t>(accounted_));
}

void Join::run() {
  const bool sound = move(up_) && move(down_);
  const size_t waiting = up_.waiting.size() + down_.waiting.size();
  worker_.count_buffered(static_cast<int64_t>(waiting) - static_cast<int64_t>(accounted_));
  accounted_ = waiting;
  if (!sound || (up_.ended && down_.ended)) end(error_);
}

bool Join::move(Way& way) {
  for (int round = 0; !way.ended; round++) {
    while (!way.waiting.empty()) {
      const iovec part = {const_cast<uint8_t*>(way.waiting.data()), way.waiting.size()};
      const ssize_t written = way.to.write(&part, 1);
      if (written == -EAGAIN) return true;
      if (written < 0) {
        error_ = static_cast<int>(-written);
        return false;
      }
      way.waiting.consume(static_cast<size_t>(written));
    }
    if (round == kRoundsPerTurn) {
      worker_.schedule(*this);
      return true;
    }
    const ssize_t count = way.from.read(worker_.received, kLargeFrame);
    if (count == -EAGAIN) return true;
    if (count < 0) {
      error_ = static_cast<int>(-count);
      return false;
    }
    if (count == 0) {
      way.ended = true;
      way.to.shutdown_write();
      return true;
    }
    const iovec part = {worker_.received, static_cast<size_t>(count)};
    const ssize_t written = way.to.write(&part, 1);
    if (written < 0 && written != -EAGAIN) {
      error_ = static_cast<int>(-written);
      return false;
    }
    const size_t done = written < 0 ? 0 : static_cast<size_t>(written);
    way.waiting.append(worker_.received + done, static_cast<size_t>(count) - done);
  }
  return true;
}

void Join::cut() { end(ECONNRESET); }

void Join::end(int error) {
  if (buried) return;
  if (error != 0) {
    client_.reset();
    server_.reset();
  }
  tell({.kind = EventKind::kEnded,
        .cause = error == 0 || is_hangup(error) ? EndCause::kOrder : EndCause::kSystem,
        .n = error,
        .a = client_.bytes_read,
        .b = client_.bytes_written,
        .us = monotonic_us() - started_us});
  worker_.bury(*this);
}

void Join::tell(Event event) {
  if (twin != 0) {
    event.id = twin;
    worker_.emit(event);
  }
  event.id = id_;
  worker_.emit(std::move(event));
}

void Join::tick() {
  const uint64_t now = worker_.now_ms();
  if (now - reported_ms_ < kReportMs) return;
  const uint64_t received = client_.bytes_read;
  const uint64_t sent = client_.bytes_written;
  if (received == reported_received_ && sent == reported_sent_) return;
  tell({.kind = EventKind::kProgress, .a = received - reported_received_, .b = sent - reported_sent_});
  reported_ms_ = now;
  reported_received_ = received;
  reported_sent_ = sent;
}
