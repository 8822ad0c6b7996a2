// The plain end of a connection: a non-blocking TCP socket, watched edge-triggered.
#pragma once
#include <sys/uio.h>

#include <cstdint>

#include "descriptor.h"
#include "worker.h"

class Plain final : public Runnable {
 public:
  /** Owns `socket`; `owner` is scheduled whenever something changed and outlives this. */
  Plain(Worker& worker, Descriptor socket, Runnable& owner);
  ~Plain() override;

  void ready(uint32_t events) override;
  void run() override {}

  /** More than 0: bytes; 0: end; -EAGAIN: wait; other negative: errno of a broken connection. */
  ssize_t read(uint8_t* into, size_t size);
  /** As read; never 0 for a size above 0. */
  ssize_t write(const iovec* parts, size_t count);
  void shutdown_write();
  /** Closes with RST. */
  void reset();
  /** Gives the descriptor up unread. */
  int release();

  bool readable() const { return readable_; }
  bool writable() const { return writable_; }
  /** The kernel says that the connection is broken; what came before may still be read. */
  bool broken() const { return broken_; }

  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;

 private:
  Worker& worker_;
  Descriptor socket_;
  Runnable& owner_;
  bool readable_ = true;
  bool writable_ = true;
  /** Bytes before the peer's FIN may be followed by no further event: read on until the end is seen. */
  bool ending_ = false;
  bool broken_ = false;
};

/** Ends that a peer causes by hanging up: the connection ended, it did not fail. */
bool is_hangup(int error);
