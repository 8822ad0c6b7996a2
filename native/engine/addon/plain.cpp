#include "plain.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

Plain::Plain(Worker& worker, Descriptor socket, Runnable& owner)
    : worker_(worker), socket_(std::move(socket)), owner_(owner) {
  if (!worker_.watch(socket_.get(), *this)) broken_ = true;
}

Plain::~Plain() {
  if (socket_.get() >= 0) worker_.unwatch(socket_.get());
}

void Plain::ready(uint32_t events) {
  if (buried) return;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable_ = true;
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) ending_ = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writable_ = true;
  if (events & EPOLLERR) broken_ = true;
  worker_.schedule(owner_);
}

ssize_t Plain::read(uint8_t* into, size_t size) {
  if (!readable_) return -EAGAIN;
  const ssize_t count = recv(socket_.get(), into, size, 0);
  if (count > 0) {
    bytes_read += static_cast<uint64_t>(count);
    if (static_cast<size_t>(count) < size && !ending_) readable_ = false;
    return count;
  }
  if (count == 0) {
    readable_ = false;
    return 0;
  }
  if (errno == EAGAIN) readable_ = false;
  return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t Plain::write(const iovec* parts, size_t count) {
  if (!writable_) return -EAGAIN;
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  const ssize_t written = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
  if (written >= 0) {
    bytes_written += static_cast<uint64_t>(written);
    size_t wanted = 0;
    for (size_t i = 0; i < count && wanted <= static_cast<size_t>(written); i++) wanted += parts[i].iov_len;
    // the kernel tells when there is room again
    if (static_cast<size_t>(written) < wanted) writable_ = false;
    return written;
  }
  if (errno == EAGAIN) writable_ = false;
  return errno == EINTR ? -EAGAIN : -errno;
}

void Plain::shutdown_write() { shutdown(socket_.get(), SHUT_WR); }

void Plain::reset() {
  if (socket_.get() >= 0) worker_.unwatch(socket_.get());
  socket_.reset();
}

int Plain::release() {
  worker_.unwatch(socket_.get());
  return socket_.release();
}

bool is_hangup(int error) {
  return error == ECONNRESET || error == EPIPE || error == ENOTCONN || error == ECANCELED;
}
