#include "commands.h"

#include "captured.h"
#include "join.h"
#include "session_pool.h"
#include "stream.h"

namespace commands {

void listen(Worker& worker, uint64_t id, ListenerKind kind, std::shared_ptr<Owner> owner,
            std::shared_ptr<Descriptor> socket) {
  worker.add(std::make_unique<Listener>(worker, id, kind, std::move(owner), std::move(socket)));
}

void close_listener(Worker& worker, uint64_t id) {
  if (Listener* listener = worker.find_listener(id)) worker.bury(*listener);
  worker.emit({.kind = EventKind::kListenerClosed, .id = id});
}

void drain_owner(Worker& worker, uint64_t owner) { worker.pool().drain(owner); }

void forget_owner(Worker& worker, const std::shared_ptr<Owner>& owner) { worker.leave(*owner); }

void serve_session(Worker& worker, uint64_t id, const SharedContext& context) {
  Captured* captured = worker.find_captured(id);
  if (captured == nullptr) {
    worker.emit({.kind = EventKind::kSessionClosed, .id = id, .text = "the peer closed the session"});
    return;
  }
  const std::shared_ptr<Owner> owner = captured->owner();
  worker.add(std::make_unique<Session>(worker, id, owner, captured->release())).use(context);
}

void open_inner_session(Worker& worker, uint64_t id, uint64_t carrier_id, const SharedContext& context) {
  Stream* carrier = worker.find_stream(carrier_id);
  if (carrier == nullptr || carrier->phase != StreamPhase::kParked) {
    worker.emit({.kind = EventKind::kSessionClosed, .id = id, .text = "the outer stream ended"});
    return;
  }
  Session& session = worker.add(std::make_unique<Session>(worker, id, *carrier));
  carrier->attach(session);
  carrier->phase = StreamPhase::kJoined;
  session.use(context);
  carrier->run();
}

void use_credentials(Worker& worker, uint64_t id, const SharedContext& context) {
  Session* session = worker.find_session(id);
  if (session == nullptr) return;
  if (context)
    session->use(context);
  else
    session->reject();
}

void accept_session(Worker& worker, uint64_t id) {
  if (Session* session = worker.find_session(id)) session->accept();
}

void close_session(Worker& worker, uint64_t id, bool graceful) {
  if (Session* session = worker.find_session(id)) session->close(graceful);
}

void remember(Worker& worker, uint64_t id, Decision decision) {
  const Captured* captured = worker.find_captured(id);
  Stream* stream = worker.find_stream(id);
  if (captured != nullptr && !captured->key().empty())
    worker.decisions().remember(captured->key(), std::move(decision));
  else if (stream != nullptr && stream->session != nullptr)
    stream->session->decisions().remember(stream->authority, std::move(decision));
  else
    worker.emit({.kind = EventKind::kForgotten, .id = decision.number});
}

void go(Worker& worker, uint64_t id, HopPointer hop) {
  if (Captured* captured = worker.find_captured(id))
    captured->go(std::move(hop));
  else if (Stream* stream = worker.find_stream(id))
    stream->go(std::move(hop));
  else if (hop->twin != 0)
    worker.emit({.kind = EventKind::kEnded, .id = hop->twin});
}

void park(Worker& worker, uint64_t id, std::shared_ptr<Owner> owner, HopPointer hop) {
  worker.add(std::make_unique<Captured>(worker, id, std::move(owner), Descriptor())).go(std::move(hop));
}

void go_over(Worker& worker, uint64_t id, uint64_t session_id, HopPointer hop) {
  Captured* captured = worker.find_captured(id);
  if (captured == nullptr) return;
  if (Session* session = worker.find_session(session_id)) {
    session->connect(*captured, hop);
    return;
  }
  captured->fail({.kind = EventKind::kEnded, .cause = EndCause::kRefused, .text = "the session closed"});
}

void dismiss(Worker& worker, uint64_t id, int status) {
  if (Captured* captured = worker.find_captured(id))
    captured->dismiss();
  else if (Stream* stream = worker.find_stream(id))
    stream->dismiss(status);
}

void cut(Worker& worker, uint64_t id) {
  if (Captured* captured = worker.find_captured(id)) captured->cut();
  if (Stream* stream = worker.find_stream(id)) stream->cut();
  if (Join* join = worker.find_join(id)) join->cut();
}

}  // namespace commands
