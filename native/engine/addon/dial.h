// One TCP connection being made out of a pod's namespace.
//
//  - Its client is told once, in a later step than start(): connected, or the errno of what failed.
//  - A source address that cannot be bound is left to the kernel.
#pragma once
#include "address.h"
#include "descriptor.h"
#include "owner.h"
#include "worker.h"

class DialClient {
 public:
  /** A connected socket that nobody watches yet. */
  virtual void dialed(Descriptor socket) = 0;
  virtual void dial_failed(int error) = 0;

 protected:
  ~DialClient() = default;
};

class Dial final : public Runnable {
 public:
  /** `client` outlives this. */
  Dial(Worker& worker, DialClient& client);
  ~Dial() override;

  void start(const std::shared_ptr<Owner>& owner, const Address& to, const Address& source);
  void ready(uint32_t events) override;
  void run() override;
  void tick();

 private:
  /** 0, or an errno; -1 when the source address cannot be bound. */
  int open(const Address& to, const Address& source);
  void finish(int error);

  Worker& worker_;
  DialClient& client_;
  Descriptor socket_;
  uint64_t deadline_ms_;
  int error_ = 0;
  bool watched_ = false;
  bool done_ = false;
};
