// What JavaScript asks of a thread. Each runs on that thread; an unknown number means that the thing has ended meanwhile.
#pragma once
#include <memory>

#include "hop.h"
#include "listener.h"
#include "session.h"
#include "worker.h"

namespace commands {

void listen(Worker& worker, uint64_t id, ListenerKind kind, std::shared_ptr<Owner> owner,
            std::shared_ptr<Descriptor> socket);
/** Tells kListenerClosed. */
void close_listener(Worker& worker, uint64_t id);
/** Its idle sessions end, busy ones with their last stream. */
void drain_owner(Worker& worker, uint64_t owner);
void forget_owner(Worker& worker, const std::shared_ptr<Owner>& owner);

/** A connection that a peer made becomes a session with the same number. */
void serve_session(Worker& worker, uint64_t id, const SharedContext& context);
/** A session inside a stream that was parked. Tells kSessionClosed when it cannot be opened. */
void open_inner_session(Worker& worker, uint64_t id, uint64_t carrier, const SharedContext& context);
/** The credentials of a session that was wanted; null: there are none. */
void use_credentials(Worker& worker, uint64_t id, const SharedContext& context);
void accept_session(Worker& worker, uint64_t id);
void close_session(Worker& worker, uint64_t id, bool graceful);

/** What is decided upon this connection or stream holds for those that are like it, too. Tells kForgotten. */
void remember(Worker& worker, uint64_t id, Decision decision);
/** The decision upon a connection or stream. */
void go(Worker& worker, uint64_t id, HopPointer hop);
/** A stream without a socket, parked when it is answered. */
void park(Worker& worker, uint64_t id, std::shared_ptr<Owner> owner, HopPointer hop);
/** A connection takes a stream of this session. */
void go_over(Worker& worker, uint64_t id, uint64_t session, HopPointer hop);
/** Refuses: streams are answered, connections closed. Nothing more is told. */
void dismiss(Worker& worker, uint64_t id, int status);
/** Resets both sides. */
void cut(Worker& worker, uint64_t id);

}  // namespace commands
