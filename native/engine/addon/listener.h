// A listening socket as one thread sees it. Every thread watches the same socket and is woken alone (EPOLLEXCLUSIVE);
// what it accepts goes to the thread that has least to do.
//
//  - Nothing is accepted while too many connections wait for JavaScript; they stay in the kernel's queue.
//  - Without descriptors or memory accepting pauses; it never spins.
// Source: accept4(2), epoll_ctl(2), netfilter's SO_ORIGINAL_DST.
#pragma once
#include <memory>

#include "address.h"
#include "owner.h"
#include "worker.h"

enum class ListenerKind : uint8_t { kOutbound = 0, kInboundPlaintext = 1, kInboundHbone = 2 };

class Listener final : public Runnable {
 public:
  Listener(Worker& worker, uint64_t id, ListenerKind kind, std::shared_ptr<Owner> owner,
           std::shared_ptr<Descriptor> socket);
  ~Listener() override;

  uint64_t id() const { return id_; }
  void ready(uint32_t events) override;
  void run() override;
  void tick();

 private:
  void pause();
  /** False when there is nothing to accept. */
  bool accept_one();
  void hand_over(Descriptor socket, const Address& remote);
  Worker& choose_worker() const;

  Worker& worker_;
  const uint64_t id_;
  const ListenerKind kind_;
  const std::shared_ptr<Owner> owner_;
  const std::shared_ptr<Descriptor> socket_;
  bool paused_ = true;
  uint64_t paused_ms_ = 0;
};
