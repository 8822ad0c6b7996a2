#include "listener.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
// after netinet/in.h: it then leaves out what both define
#include <linux/netfilter_ipv4.h>

#include "captured.h"
#include "engine.h"

namespace {

/** linux/netfilter_ipv6/ip6_tables.h, whose other content clashes with netinet/in.h. */
constexpr int kOriginalDestination6 = 80;

/** Errors of a connection that died in the queue: accept(2) says to go on. */
bool is_transient(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENONET:
      return true;
    default:
      return false;
  }
}

std::string text_of(const Address& address) { return address.ip() + " " + std::to_string(address.port()); }

/** As in the header `forwarded`. */
std::string authority_of(const Address& address) {
  const std::string ip = address.ip();
  const std::string port = std::to_string(address.port());
  return ip.find(':') == std::string::npos ? ip + ":" + port : "[" + ip + "]:" + port;
}

struct Addresses {
  /** "remote local", and where the client meant to go when the kernel knows. */
  std::string told;
  /** Who goes where, without the client's port. */
  std::string key;
};

/** Nothing is told when the connection has been reset meanwhile. */
Addresses addresses_of(int fd, const Address& remote, ListenerKind kind) {
  Address local;
  local.length = sizeof local.storage;
  if (getsockname(fd, local.get(), &local.length) != 0) return {};
  const std::string told = text_of(remote) + " " + text_of(local);
  if (kind == ListenerKind::kInboundHbone) return {told, ""};
  Address original;
  original.length = sizeof(sockaddr_in);
  bool known = getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &original.storage, &original.length) == 0;
  if (!known) {
    original.length = sizeof(sockaddr_in6);
    known = getsockopt(fd, SOL_IPV6, kOriginalDestination6, &original.storage, &original.length) == 0;
  }
  const std::string destination = text_of(known ? original : local);
  return {known ? told + " " + destination : told, remote.ip() + " " + destination};
}

}  // namespace

Listener::Listener(Worker& worker, uint64_t id, ListenerKind kind, std::shared_ptr<Owner> owner,
                   std::shared_ptr<Descriptor> socket)
    : worker_(worker), id_(id), kind_(kind), owner_(std::move(owner)), socket_(std::move(socket)) {
  tick();
}

Listener::~Listener() {
  if (!paused_) worker_.unwatch(socket_->get());
}

void Listener::ready(uint32_t) {
  if (!buried) worker_.schedule(*this);
}

void Listener::run() {
  for (int i = 0; i < kAcceptsPerTurn && !paused_; i++) {
    if (!worker_.has_room()) {
      pause();
      return;
    }
    if (!accept_one()) return;
  }
}

bool Listener::accept_one() {
  Address remote;
  remote.length = sizeof remote.storage;
  Descriptor socket(accept4(socket_->get(), remote.get(), &remote.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket.get() < 0) {
    if (is_transient(errno)) return true;
    if (errno != EAGAIN) pause();
    return false;
  }
  hand_over(std::move(socket), remote);
  return true;
}

void Listener::hand_over(Descriptor socket, const Address& remote) {
  Addresses addresses = addresses_of(socket.get(), remote, kind_);
  if (addresses.told.empty()) return;
  std::string key = addresses.key.empty() ? "" : std::to_string(id_) + " " + addresses.key;
  auto take = [id = id_, owner = owner_, socket = std::move(socket), told = std::move(addresses.told),
               key = std::move(key), source = authority_of(remote)](Worker& worker) mutable {
    Captured& made = worker.add(std::make_unique<Captured>(worker, worker.next_id(), std::move(owner),
                                                           std::move(socket), std::move(key), std::move(source)));
    const Decision* known = worker.decisions().find(made.key());
    if (known == nullptr) {
      worker.emit({.kind = EventKind::kAccepted, .id = made.id(), .a = id, .text = std::move(told)});
      return;
    }
    const size_t drawn = worker.decisions().draw(*known);
    worker.emit({.kind = EventKind::kReused,
                 .n = static_cast<int64_t>(drawn),
                 .id = made.id(),
                 .a = known->number,
                 .b = id,
                 .text = std::move(told)});
    made.go(known->candidates[drawn].hop);
  };
  Worker& chosen = choose_worker();
  if (&chosen == &worker_)
    take(worker_);
  else
    chosen.post(std::move(take));
}

Worker& Listener::choose_worker() const {
  const bool is_session = kind_ == ListenerKind::kInboundHbone;
  const auto load = [&](const Worker& worker) { return is_session ? worker.inbound_sessions() : worker.connections(); };
  Worker* least = &worker_;
  int64_t lowest = load(worker_) - (is_session ? kSessionSlack : kPlainSlack);
  for (const auto& other : worker_.shared().workers) {
    if (load(*other) >= lowest) continue;
    lowest = load(*other);
    least = other.get();
  }
  return *least;
}

void Listener::pause() {
  worker_.unwatch(socket_->get());
  paused_ = true;
  paused_ms_ = worker_.now_ms();
}

void Listener::tick() {
  if (!paused_ || worker_.now_ms() - paused_ms_ < kPauseMs) return;
  paused_ = !worker_.watch(socket_->get(), *this, EPOLLIN | EPOLLEXCLUSIVE);
}
