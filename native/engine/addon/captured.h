// A connection that was accepted and has no other end yet: it waits for JavaScript's decision, for its dial, or for a
// session to its peer.
//
//  - It is told as ended exactly once, unless it becomes a stream or a join, or JavaScript dismisses it.
//  - Without a socket it stands for a stream that will carry a session.
#pragma once
#include <memory>

#include "dial.h"
#include "hop.h"
#include "worker.h"

class Captured final : public Runnable, public DialClient {
 public:
  /** @param key of what decides it; `source` is "ip:port" of who connected */
  Captured(Worker& worker, uint64_t id, std::shared_ptr<Owner> owner, Descriptor socket, std::string key = {},
           std::string source = {});
  ~Captured() override;

  uint64_t id() const { return id_; }
  void ready(uint32_t) override {}
  void run() override {}

  /** Plain: dials and joins. HBONE: takes a stream of a pooled session. */
  void go(HopPointer hop);
  void fail(Event end);
  /** The application sees a reset. */
  void cut();
  /** JavaScript ends it and needs not be told. */
  void dismiss();
  /** Its socket belongs to the caller; this is gone. */
  Descriptor release();

  const std::shared_ptr<Owner>& owner() const { return owner_; }
  const HopPointer& hop() const { return hop_; }
  const std::string& key() const { return key_; }
  const std::string& source() const { return source_; }
  uint64_t started_us() const { return started_us_; }
  void keep_start(uint64_t us) { started_us_ = us; }
  /** Sessions that went away under it before the peer answered. */
  int attempts = 0;
  /** It has waited for the session that is being opened. */
  bool waited = false;

 private:
  void dialed(Descriptor socket) override;
  void dial_failed(int error) override;
  void end_twin(Event end);
  void leave();

  Worker& worker_;
  const uint64_t id_;
  const std::shared_ptr<Owner> owner_;
  Descriptor socket_;
  const std::string key_;
  const std::string source_;
  HopPointer hop_;
  std::unique_ptr<Dial> dial_;
  uint64_t started_us_;
  bool twin_told_ = false;
};
