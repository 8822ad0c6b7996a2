#include "captured.h"

#include <errno.h>

#include "join.h"
#include "session_pool.h"

Captured::Captured(Worker& worker, uint64_t id, std::shared_ptr<Owner> owner, Descriptor socket, std::string key,
                   std::string source)
    : worker_(worker),
      id_(id),
      owner_(std::move(owner)),
      socket_(std::move(socket)),
      key_(std::move(key)),
      source_(std::move(source)),
      started_us_(monotonic_us()) {
  worker_.count_connections(1);
}

Captured::~Captured() { worker_.count_connections(-1); }

void Captured::go(HopPointer hop) {
  if (hop_ != nullptr && hop_ != hop) return;
  hop_ = std::move(hop);
  if (!hop_->is_plain()) {
    worker_.pool().carry(*this);
    return;
  }
  dial_ = std::make_unique<Dial>(worker_, *this);
  dial_->start(hop_->owner ? hop_->owner : owner_, hop_->to, hop_->source);
}

void Captured::dialed(Descriptor server) {
  auto join = std::make_unique<Join>(worker_, id_, std::move(socket_), std::move(server), hop_->preamble);
  join->started_us = started_us_;
  join->twin = hop_->twin;
  if (hop_->twin != 0) worker_.emit({.kind = EventKind::kEstablished, .id = id_, .list = hop_->headers});
  leave();
  worker_.schedule(worker_.add(std::move(join)));
}

void Captured::dial_failed(int error) {
  Event end = {.kind = EventKind::kEnded, .cause = EndCause::kDial, .n = error};
  if (hop_->twin != 0) {
    // the client's end hears what a peer would have answered
    end_twin(end);
    end.cause = EndCause::kStatus;
    end.n = kUnavailable;
  }
  fail(std::move(end));
}

void Captured::fail(Event end) {
  end.id = id_;
  end.us = monotonic_us() - started_us_;
  end_twin(end);
  worker_.emit(std::move(end));
  leave();
}

void Captured::end_twin(Event end) {
  if (hop_ == nullptr || hop_->twin == 0 || twin_told_) return;
  twin_told_ = true;
  end.id = hop_->twin;
  end.us = monotonic_us() - started_us_;
  worker_.emit(std::move(end));
}

void Captured::cut() {
  socket_.reset();
  fail({.kind = EventKind::kEnded, .n = ECONNRESET});
}

void Captured::dismiss() { leave(); }

Descriptor Captured::release() {
  Descriptor socket = std::move(socket_);
  leave();
  return socket;
}

void Captured::leave() {
  if (buried) return;
  worker_.pool().forget(*this);
  worker_.bury(std::move(dial_));
  socket_.close();
  worker_.bury(*this);
}
