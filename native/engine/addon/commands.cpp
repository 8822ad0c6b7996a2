#include "commands.h"

#include "join.h"
#include "session.h"
#include "stream.h"

namespace commands {

void open_session(Worker& worker, const OpenSession& order) {
  Descriptor socket(order.fd);
  Stream* carrier = order.fd < 0 ? worker.find_stream(order.carrier) : nullptr;
  if (order.fd < 0 && (carrier == nullptr || carrier->phase != StreamPhase::kParked)) {
    worker.emit({.kind = EventKind::kSessionClosed, .id = order.id, .text = "the outer stream ended"});
    return;
  }
  Session& session = worker.add(
      std::make_unique<Session>(worker, order.id, order.server, std::move(socket), carrier, order.timeout_ms));
  if (carrier != nullptr) {
    carrier->attach(session);
    carrier->phase = StreamPhase::kJoined;
  }
  if (!session.start(order.context.get())) {
    session.close(false);
    return;
  }
  if (carrier != nullptr) carrier->run();
}

void accept_session(Worker& worker, uint64_t id) {
  Session* session = worker.find_session(id);
  if (session != nullptr) session->accept();
}

void close_session(Worker& worker, uint64_t id, bool graceful) {
  Session* session = worker.find_session(id);
  if (session != nullptr) session->close(graceful);
}

void connect(Worker& worker, const Connect& order) {
  Session* session = worker.find_session(order.session);
  if (session == nullptr) {
    worker.emit({.kind = EventKind::kRefused, .n = order.fd, .id = order.id, .text = "the session closed"});
    return;
  }
  Stream& stream = worker.add(std::make_unique<Stream>(worker, order.id, *session, StreamPhase::kRequested));
  if (order.fd >= 0) stream.attach(Descriptor(order.fd), "");
  session->connect(stream, order.authority, order.headers);
}

void answer(Worker& worker, uint64_t id, int status) {
  Stream* stream = worker.find_stream(id);
  if (stream == nullptr || stream->session == nullptr || stream->phase != StreamPhase::kDeciding) return;
  stream->session->respond(*stream, status, {}, true);
  stream->dismiss();
}

void serve(Worker& worker, const Serve& order) {
  Descriptor socket(order.fd);
  Stream* stream = worker.find_stream(order.id);
  if (stream == nullptr || stream->session == nullptr) {
    socket.reset();
    worker.emit({.kind = EventKind::kEnded, .id = order.id});
    return;
  }
  stream->attach(std::move(socket), order.preamble);
  stream->phase = StreamPhase::kJoined;
  stream->session->respond(*stream, 200, order.headers, false);
  worker.schedule(*stream);
}

void join(Worker& worker, const JoinPlain& order) {
  Join& join = worker.add(std::make_unique<Join>(worker, order.id, Descriptor(order.client), Descriptor(order.server),
                                                 order.preamble));
  worker.schedule(join);
}

void cut(Worker& worker, uint64_t id) {
  if (Stream* stream = worker.find_stream(id)) stream->cut();
  if (Join* join = worker.find_join(id)) join->cut();
}

}  // namespace commands
