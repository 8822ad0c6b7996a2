// Two plain sockets joined: passthrough and inbound plain text.
#pragma once
#include <memory>
#include <string>

#include "plain.h"
#include "worker.h"

class Join final : public Runnable {
 public:
  /** `client` is the side that connected to the tunnel; `preamble` is written to `server` first and not counted. */
  Join(Worker& worker, uint64_t id, Descriptor client, Descriptor server, const std::string& preamble);
  ~Join() override;

  uint64_t id() const { return id_; }
  void ready(uint32_t) override {}
  void run() override;
  void tick();
  void cut();

  /** When the client was accepted. */
  uint64_t started_us = 0;
  /** Same node: the server's end is told under this number, too. */
  uint64_t twin = 0;

 private:
  struct Way {
    Plain& from;
    Plain& to;
    Bytes waiting = {};
    bool ended = false;
  };

  /** False when the way is broken. */
  bool move(Way& way);
  void end(int error);
  void tell(Event event);

  Worker& worker_;
  const uint64_t id_;
  Plain client_;
  Plain server_;
  Way up_;
  Way down_;
  int error_ = 0;
  size_t accounted_ = 0;
  uint64_t reported_ms_ = 0;
  uint64_t reported_received_ = 0;
  uint64_t reported_sent_ = 0;
};
