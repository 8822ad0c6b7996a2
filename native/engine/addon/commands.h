// What JavaScript asks of a thread. Each runs on that thread; an unknown number means that the thing has ended meanwhile.
#pragma once
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker.h"

namespace commands {

using Pairs = std::vector<std::string>;

struct OpenSession {
  uint64_t id;
  bool server;
  int fd;
  /** The stream to run over when there is no descriptor. */
  uint64_t carrier;
  std::shared_ptr<SSL_CTX> context;
  uint64_t timeout_ms;
};

/** Tells kSessionClosed when it cannot be opened. */
void open_session(Worker& worker, const OpenSession& order);
void accept_session(Worker& worker, uint64_t id);
void close_session(Worker& worker, uint64_t id, bool graceful);

struct Connect {
  uint64_t id;
  uint64_t session;
  /** -1: the stream will carry a session. */
  int fd;
  std::string authority;
  Pairs headers;
};
void connect(Worker& worker, const Connect& order);

/** Answers a stream of a server with a refusal. */
void answer(Worker& worker, uint64_t id, int status);

struct Serve {
  uint64_t id;
  int fd;
  Pairs headers;
  std::string preamble;
};
/** Answers 200 and joins. Tells kEnded when the stream has gone. */
void serve(Worker& worker, const Serve& order);

struct JoinPlain {
  uint64_t id;
  int client;
  int server;
  std::string preamble;
};
void join(Worker& worker, const JoinPlain& order);

/** Resets both sides. */
void cut(Worker& worker, uint64_t id);

}  // namespace commands
