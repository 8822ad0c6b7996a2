#include "dial.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace {

constexpr int kSourceRefused = -1;

bool set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value) == 0; }

bool set_liveness(int fd, const SocketOptions& options) {
  if (options.keepalive_time_s > 0 &&
      !(set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) && set(fd, IPPROTO_TCP, TCP_KEEPIDLE, options.keepalive_time_s) &&
        set(fd, IPPROTO_TCP, TCP_KEEPINTVL, options.keepalive_interval_s) &&
        set(fd, IPPROTO_TCP, TCP_KEEPCNT, options.keepalive_retries)))
    return false;
  return options.user_timeout_ms == 0 || set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options.user_timeout_ms);
}

bool set_transparent(int fd, int family) {
  return family == AF_INET ? set(fd, IPPROTO_IP, IP_TRANSPARENT, 1) && set(fd, IPPROTO_IP, IP_FREEBIND, 1)
                           : set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1) && set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
}

}  // namespace

Dial::Dial(Worker& worker, DialClient& client)
    : worker_(worker), client_(client), deadline_ms_(worker.now_ms() + worker.options().connect_timeout_ms) {
  worker_.add(*this);
}

Dial::~Dial() { worker_.remove(*this); }

void Dial::start(const std::shared_ptr<Owner>& owner, const Address& to, const Address& source) {
  int error = worker_.enter(owner);
  if (error == 0) error = open(to, source);
  if (error == kSourceRefused) error = open(to, Address());
  if (error == EINPROGRESS) {
    // on the same node the answer is there before connect(2) returns
    error = connect(socket_.get(), to.get(), to.length) == 0 || errno == EISCONN ? 0 : errno;
    if (error == EALREADY) {
      watched_ = worker_.watch(socket_.get(), *this);
      if (watched_) return;
      error = errno;
    }
  }
  finish(error);
}

int Dial::open(const Address& to, const Address& source) {
  const SocketOptions& options = worker_.options().sockets;
  const bool foreign = !source.empty();
  const int64_t mark = foreign && options.source_mark >= 0 ? options.source_mark : options.mark;
  socket_ = Descriptor(socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = socket_.get();
  if (fd < 0) return errno;
  if (mark >= 0 && !set(fd, SOL_SOCKET, SO_MARK, static_cast<int>(mark))) return errno;
  if (!set(fd, IPPROTO_TCP, TCP_NODELAY, 1) || !set_liveness(fd, options)) return errno;
  if (!options.congestion.empty())
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, options.congestion.data(),
               static_cast<socklen_t>(options.congestion.size()));
  if (foreign) {
    if (source.family() != to.family()) return kSourceRefused;
    if (!set_transparent(fd, to.family())) return errno;
    // the port is chosen at connect, when the whole tuple is known
    if (!set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)) return errno;
    if (bind(fd, source.get(), source.length) != 0) return kSourceRefused;
  }
  return connect(fd, to.get(), to.length) == 0 ? 0 : errno;
}

void Dial::ready(uint32_t) {
  if (buried || done_) return;
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  finish(error);
}

void Dial::finish(int error) {
  done_ = true;
  error_ = error;
  if (watched_) worker_.unwatch(socket_.get());
  if (error != 0) socket_.close();
  worker_.schedule(*this);
}

void Dial::run() {
  if (error_ != 0)
    client_.dial_failed(error_);
  else
    client_.dialed(std::move(socket_));
}

void Dial::tick() {
  if (!done_ && worker_.now_ms() >= deadline_ms_) finish(ETIMEDOUT);
}
