// Node-API face of the engine. Main thread only; arguments were checked by src/engine/native/addon.ts.
#include <fcntl.h>
#include <node_api.h>
#include <openssl/crypto.h>
#include <openssl/opensslv.h>

#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "commands.h"
#include "engine.h"
#include "tls.h"

namespace {

constexpr napi_type_tag kEngineTag = {0x6b1d3c5f9a2e4870, 0x91c4e7a2b85d0f36};
constexpr napi_type_tag kOwnerTag = {0x83d1c5a0b7e2496f, 0x5c0e1f7a9d26b384};
constexpr napi_type_tag kContextTag = {0x2fa90c7e51d84b63, 0xd3806f1b9c27e54a};

using Context = SharedContext;
using OwnerPointer = std::shared_ptr<Owner>;

napi_value undefined() { return nullptr; }

template <typename T>
void finalize(napi_env, void* data, void*) {
  delete static_cast<T*>(data);
}

void stop_engine(void* data) { static_cast<Engine*>(data)->stop(); }

/** An engine that is collected or outlived by its process is stopped first. */
void finalize_engine(napi_env env, void* data, void*) {
  napi_remove_env_cleanup_hook(env, stop_engine, data);
  delete static_cast<Engine*>(data);
}

Engine* engine_of(Arguments& arguments) { return arguments.handle<Engine>(0, kEngineTag); }

/** The thread that arguments 0 (engine) and 1 (its number) name. An engine that was stopped takes no orders. */
Worker* worker_of(Arguments& arguments) {
  Engine* engine = engine_of(arguments);
  const double index = arguments.number(1);
  if (arguments.fits && engine->workers().empty()) {
    arguments.fits = false;
    return nullptr;
  }
  Worker* found = arguments.fits ? engine->worker(static_cast<size_t>(index)) : nullptr;
  arguments.check(found != nullptr);
  return found;
}

/** Runs `task` on every thread. */
template <typename Task>
void post_all(Engine& engine, const Task& task) {
  for (const auto& worker : engine.workers()) worker->post(task);
}

/** start(threads, options, onEvents) -> engine */
napi_value start(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto threads = static_cast<size_t>(arguments.number(0));
  if (!arguments.fits) return undefined();
  const auto whole = [&](const char* name) { return static_cast<uint32_t>(arguments.field(1, name)); };
  EngineOptions options = {.stream_window = whole("streamWindow"),
                           .connection_window = whole("connectionWindow"),
                           .frame_size = whole("frameSize"),
                           .streams_per_session = whole("streamsPerSession"),
                           .pool_idle_ms = whole("poolIdleMs"),
                           .connect_timeout_ms = whole("connectTimeoutMs")};
  options.sockets = {.mark = static_cast<int64_t>(arguments.field(1, "mark", -1)),
                     .source_mark = static_cast<int64_t>(arguments.field(1, "sourceMark", -1)),
                     .keepalive_time_s = static_cast<int>(whole("keepaliveTimeS")),
                     .keepalive_interval_s = static_cast<int>(whole("keepaliveIntervalS")),
                     .keepalive_retries = static_cast<int>(whole("keepaliveRetries")),
                     .user_timeout_ms = static_cast<int>(whole("userTimeoutMs")),
                     .congestion = arguments.text_field(1, "congestion")};
  auto engine = std::make_unique<Engine>();
  if (!engine->start(env, arguments.value(2), threads, std::move(options))) {
    napi_throw_error(env, nullptr, "culvert-engine: a thread could not be started");
    return undefined();
  }
  napi_value handle = nullptr;
  Engine* raw = engine.release();
  napi_add_env_cleanup_hook(env, stop_engine, raw);
  napi_create_external(env, raw, finalize_engine, nullptr, &handle);
  napi_type_tag_object(env, handle, &kEngineTag);
  return handle;
}

/** stop(engine): nothing is told afterwards. */
napi_value stop(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Engine* engine = engine_of(arguments);
  if (arguments.fits) engine->stop();
  return undefined();
}

/** bufferedBytes(engine) -> number */
napi_value buffered_bytes(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Engine* engine = arguments.handle<Engine>(0, kEngineTag);
  napi_value result = nullptr;
  if (arguments.fits) napi_create_double(env, static_cast<double>(engine->buffered_bytes()), &result);
  return result;
}

/** createContext(key, chain, roots) -> context, or the text of what is wrong */
napi_value create_context(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const std::string key = arguments.text(0);
  const std::string chain = arguments.text(1);
  const std::string roots = arguments.text(2);
  if (!arguments.fits) return undefined();
  std::string error;
  SslContext made = make_context(key, chain, roots, error);
  napi_value result = nullptr;
  if (!made) {
    napi_create_string_latin1(env, error.data(), error.size(), &result);
    return result;
  }
  auto context = std::make_unique<Context>(std::move(made));
  napi_create_external(env, context.release(), finalize<Context>, nullptr, &result);
  napi_type_tag_object(env, result, &kContextTag);
  return result;
}

/** addOwner(engine, netnsFd) -> owner. Takes a duplicate of the descriptor; -1: the namespace of the process. */
napi_value add_owner(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  engine_of(arguments);
  const int netns = arguments.integer(1);
  if (!arguments.fits) return undefined();
  static uint64_t last = 0;
  const int copy = netns < 0 ? -1 : fcntl(netns, F_DUPFD_CLOEXEC, 0);
  if (netns >= 0 && copy < 0) {
    napi_throw_error(env, nullptr, "culvert-engine: no descriptor for the namespace of a pod");
    return undefined();
  }
  auto owner = std::make_unique<OwnerPointer>(std::make_shared<Owner>(++last, Descriptor(copy)));
  napi_value result = nullptr;
  napi_create_external(env, owner.release(), finalize<OwnerPointer>, nullptr, &result);
  napi_type_tag_object(env, result, &kOwnerTag);
  return result;
}

/** ownerId(owner) -> number, as events tell it */
napi_value owner_id(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const OwnerPointer* owner = arguments.handle<OwnerPointer>(0, kOwnerTag);
  napi_value result = nullptr;
  if (arguments.fits) napi_create_double(env, static_cast<double>((*owner)->id), &result);
  return result;
}

/** drainOwner(engine, owner): no new session. */
napi_value drain_owner(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Engine* engine = engine_of(arguments);
  const OwnerPointer* owner = arguments.handle<OwnerPointer>(1, kOwnerTag);
  if (!arguments.fits) return undefined();
  (*owner)->draining = true;
  post_all(*engine, [id = (*owner)->id](Worker& on) { commands::drain_owner(on, id); });
  return undefined();
}

/** forgetOwner(engine, owner): its connections and sessions have ended. */
napi_value forget_owner(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Engine* engine = engine_of(arguments);
  const OwnerPointer* owner = arguments.handle<OwnerPointer>(1, kOwnerTag);
  if (!arguments.fits || !(*owner)->forget(engine->workers().size())) return undefined();
  post_all(*engine, [owner = *owner](Worker& on) { commands::forget_owner(on, owner); });
  return undefined();
}

/** listen(engine, id, kind, owner, fd): takes a duplicate of the listening descriptor. */
napi_value listen(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Engine* engine = engine_of(arguments);
  const uint64_t id = arguments.id(1);
  const auto kind = static_cast<ListenerKind>(arguments.integer(2));
  const OwnerPointer* owner = arguments.handle<OwnerPointer>(3, kOwnerTag);
  const int fd = arguments.integer(4);
  if (!arguments.fits) return undefined();
  auto socket = std::make_shared<Descriptor>(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  post_all(*engine, [=, owner = *owner](Worker& on) { commands::listen(on, id, kind, owner, socket); });
  return undefined();
}

/** closeListener(engine, id): every thread tells kListenerClosed. */
napi_value close_listener(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Engine* engine = engine_of(arguments);
  const uint64_t id = arguments.id(1);
  if (arguments.fits) post_all(*engine, [id](Worker& on) { commands::close_listener(on, id); });
  return undefined();
}

/** serveSession(engine, worker, id, context) */
napi_value serve_session(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  const Context* context = arguments.handle<Context>(3, kContextTag);
  if (arguments.fits)
    worker->post([id, context = *context](Worker& on) { commands::serve_session(on, id, context); });
  return undefined();
}

/** openInnerSession(engine, worker, id, carrier, context) */
napi_value open_inner_session(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  const uint64_t carrier = arguments.id(3);
  const Context* context = arguments.handle<Context>(4, kContextTag);
  if (arguments.fits)
    worker->post([=, context = *context](Worker& on) { commands::open_inner_session(on, id, carrier, context); });
  return undefined();
}

/** useCredentials(engine, worker, id, context or null) */
napi_value use_credentials(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  Context context;
  if (!arguments.is_null(3)) {
    const Context* given = arguments.handle<Context>(3, kContextTag);
    if (arguments.fits) context = *given;
  }
  if (arguments.fits) worker->post([=](Worker& on) { commands::use_credentials(on, id, context); });
  return undefined();
}

/** acceptSession(engine, worker, id) */
napi_value accept_session(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  if (arguments.fits) worker->post([id](Worker& on) { commands::accept_session(on, id); });
  return undefined();
}

/** closeSession(engine, worker, id, graceful) */
napi_value close_session(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  const bool graceful = arguments.flag(3);
  if (arguments.fits) worker->post([id, graceful](Worker& on) { commands::close_session(on, id, graceful); });
  return undefined();
}

/** Arguments from `first`: ip, port, sourceIp, preamble, headers. */
std::shared_ptr<Hop> plain_hop(Arguments& arguments, size_t first) {
  auto hop = std::make_shared<Hop>();
  const std::string source = arguments.text(first + 2);
  hop->to = parse_address(arguments.text(first), static_cast<uint16_t>(arguments.integer(first + 1)));
  hop->source = parse_address(source, 0);
  hop->preamble = arguments.bytes(first + 3);
  hop->headers = arguments.list(first + 4);
  arguments.check(!hop->to.empty() && (source.empty() || !hop->source.empty()));
  return hop;
}

/** Arguments from `first`: key, ip, port, authority, headers. */
HopPointer tunnel_hop(Arguments& arguments, size_t first) {
  auto hop = std::make_shared<Hop>();
  hop->key = arguments.text(first);
  hop->to = parse_address(arguments.text(first + 1), static_cast<uint16_t>(arguments.integer(first + 2)));
  hop->authority = arguments.text(first + 3);
  hop->headers = arguments.list(first + 4);
  arguments.check(!hop->to.empty() && !hop->key.empty());
  return hop;
}

/** remember(engine, worker, id, generation, number, candidates): each [weight, is a tunnel, as forward() or tunnel()] */
napi_value remember(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  Decision decision = {.number = arguments.id(4), .generation = arguments.id(3), .candidates = {}};
  arguments.each(5, [&](Arguments& entry) {
    const double weight = entry.number(0);
    decision.candidates.push_back({weight, entry.flag(1) ? tunnel_hop(entry, 2) : plain_hop(entry, 2)});
  });
  arguments.check(!decision.candidates.empty());
  if (arguments.fits)
    worker->post([id, decision = std::move(decision)](Worker& on) { commands::remember(on, id, decision); });
  return undefined();
}

/** setGeneration(engine, number): what was decided in another one is asked again. */
napi_value set_generation(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Engine* engine = engine_of(arguments);
  const uint64_t number = arguments.id(1);
  if (arguments.fits) engine->advance(number);
  return undefined();
}

/** forward(engine, worker, id, ip, port, sourceIp, preamble, headers) */
napi_value forward(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  const HopPointer hop = plain_hop(arguments, 3);
  if (arguments.fits) worker->post([id, hop](Worker& on) { commands::go(on, id, hop); });
  return undefined();
}

/** joinLocal(engine, worker, id, twin, owner, ip, port, sourceIp, preamble, headers) */
napi_value join_local(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  const OwnerPointer* owner = arguments.handle<OwnerPointer>(4, kOwnerTag);
  auto hop = plain_hop(arguments, 5);
  hop->twin = arguments.id(3);
  if (!arguments.fits) return undefined();
  hop->owner = *owner;
  worker->post([id, hop](Worker& on) { commands::go(on, id, hop); });
  return undefined();
}

/** tunnel(engine, worker, id, key, ip, port, authority, headers) */
napi_value tunnel(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  const HopPointer hop = tunnel_hop(arguments, 3);
  if (arguments.fits) worker->post([id, hop](Worker& on) { commands::go(on, id, hop); });
  return undefined();
}

/** park(engine, worker, id, owner, key, ip, port, authority, headers) */
napi_value park(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  const OwnerPointer* owner = arguments.handle<OwnerPointer>(3, kOwnerTag);
  const auto hop = tunnel_hop(arguments, 4);
  if (arguments.fits) worker->post([id, owner = *owner, hop](Worker& on) { commands::park(on, id, owner, hop); });
  return undefined();
}

/** goOver(engine, worker, id, session, authority, headers) */
napi_value go_over(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  const uint64_t session = arguments.id(3);
  auto hop = std::make_shared<Hop>();
  hop->authority = arguments.text(4);
  hop->headers = arguments.list(5);
  if (arguments.fits) worker->post([=](Worker& on) { commands::go_over(on, id, session, hop); });
  return undefined();
}

/** dismiss(engine, worker, id, status) */
napi_value dismiss(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  const int status = arguments.integer(3);
  if (arguments.fits) worker->post([id, status](Worker& on) { commands::dismiss(on, id, status); });
  return undefined();
}

/** cut(engine, worker, id) */
napi_value cut(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = worker_of(arguments);
  const uint64_t id = arguments.id(2);
  if (arguments.fits) worker->post([id](Worker& on) { commands::cut(on, id); });
  return undefined();
}

/** versions() -> [OpenSSL found, OpenSSL compiled against] */
napi_value versions(napi_env env, napi_callback_info) {
  const double numbers[] = {static_cast<double>(OpenSSL_version_num()), static_cast<double>(OPENSSL_VERSION_NUMBER)};
  napi_value array = nullptr;
  napi_create_array_with_length(env, std::size(numbers), &array);
  for (uint32_t i = 0; i < std::size(numbers); i++) {
    napi_value number = nullptr;
    napi_create_double(env, numbers[i], &number);
    napi_set_element(env, array, i, number);
  }
  return array;
}

constexpr struct {
  const char* name;
  napi_callback function;
} kFunctions[] = {
    {"start", start},
    {"stop", stop},
    {"bufferedBytes", buffered_bytes},
    {"createContext", create_context},
    {"addOwner", add_owner},
    {"ownerId", owner_id},
    {"drainOwner", drain_owner},
    {"forgetOwner", forget_owner},
    {"listen", listen},
    {"closeListener", close_listener},
    {"serveSession", serve_session},
    {"openInnerSession", open_inner_session},
    {"useCredentials", use_credentials},
    {"acceptSession", accept_session},
    {"closeSession", close_session},
    {"remember", remember},
    {"setGeneration", set_generation},
    {"forward", forward},
    {"joinLocal", join_local},
    {"tunnel", tunnel},
    {"park", park},
    {"goOver", go_over},
    {"dismiss", dismiss},
    {"cut", cut},
    {"versions", versions},
};

}  // namespace

NAPI_MODULE_INIT() {
  for (const auto& [name, function] : kFunctions) {
    napi_value made = nullptr;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &made) != napi_ok ||
        napi_set_named_property(env, exports, name, made) != napi_ok)
      return nullptr;
  }
  return exports;
}
