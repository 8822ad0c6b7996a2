// Node-API face of the engine. Main thread only; arguments were checked by src/engine/native/addon.ts.
#include <node_api.h>
#include <openssl/crypto.h>
#include <openssl/opensslv.h>

#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "engine.h"
#include "tls.h"

namespace {

constexpr size_t kArgumentsMax = 8;
constexpr napi_type_tag kEngineTag = {0x6b1d3c5f9a2e4870, 0x91c4e7a2b85d0f36};
constexpr napi_type_tag kContextTag = {0x2fa90c7e51d84b63, 0xd3806f1b9c27e54a};

using Context = std::shared_ptr<SSL_CTX>;

/** Arguments by position. The first that does not fit throws a TypeError; `fits` then stays false. */
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = kArgumentsMax;
    napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);
  }

  double number(size_t index) {
    double value = 0;
    check(napi_get_value_double(env_, values_[index], &value) == napi_ok);
    return value;
  }
  uint64_t id(size_t index) { return static_cast<uint64_t>(number(index)); }
  int integer(size_t index) { return static_cast<int>(number(index)); }
  bool flag(size_t index) {
    bool value = false;
    check(napi_get_value_bool(env_, values_[index], &value) == napi_ok);
    return value;
  }
  std::string text(size_t index) { return text_of(values_[index]); }
  std::string bytes(size_t index) {
    void* data = nullptr;
    size_t size = 0;
    napi_typedarray_type type = napi_uint8_array;
    const napi_status status =
        napi_get_typedarray_info(env_, values_[index], &type, &size, &data, nullptr, nullptr);
    check(status == napi_ok && type == napi_uint8_array);
    return fits ? std::string(static_cast<const char*>(data), size) : std::string();
  }
  std::vector<std::string> list(size_t index) {
    uint32_t size = 0;
    check(napi_get_array_length(env_, values_[index], &size) == napi_ok);
    std::vector<std::string> entries;
    for (uint32_t i = 0; i < size && fits; i++) {
      napi_value entry = nullptr;
      napi_get_element(env_, values_[index], i, &entry);
      entries.push_back(text_of(entry));
    }
    return entries;
  }
  napi_value value(size_t index) const { return values_[index]; }

  template <typename T>
  T* handle(size_t index, const napi_type_tag& tag) {
    bool ours = false;
    void* data = nullptr;
    check(napi_check_object_type_tag(env_, values_[index], &tag, &ours) == napi_ok && ours &&
          napi_get_value_external(env_, values_[index], &data) == napi_ok);
    return static_cast<T*>(data);
  }

  /** The thread that arguments 0 (engine) and 1 (its number) name. */
  Worker* worker() {
    Engine* engine = handle<Engine>(0, kEngineTag);
    const double index = number(1);
    Worker* found = fits ? engine->worker(static_cast<size_t>(index)) : nullptr;
    check(found != nullptr);
    return found;
  }

  bool fits = true;

 private:
  std::string text_of(napi_value value) {
    size_t size = 0;
    check(napi_get_value_string_latin1(env_, value, nullptr, 0, &size) == napi_ok);
    if (!fits) return {};
    std::string text(size, '\0');
    napi_get_value_string_latin1(env_, value, text.data(), size + 1, &size);
    return text;
  }

  void check(bool fit) {
    if (fit || !fits) return;
    fits = false;
    napi_throw_type_error(env_, nullptr, "culvert-engine: an argument does not fit");
  }

  napi_env env_;
  napi_value values_[kArgumentsMax] = {};
};

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

/** start(threads, streamWindow, connectionWindow, frameSize, onEvents) -> engine */
napi_value start(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto threads = static_cast<size_t>(arguments.number(0));
  const SessionLimits limits = {static_cast<uint32_t>(arguments.number(1)), static_cast<uint32_t>(arguments.number(2)),
                                static_cast<uint32_t>(arguments.number(3))};
  if (!arguments.fits) return undefined();
  auto engine = std::make_unique<Engine>();
  if (!engine->start(env, arguments.value(4), threads, limits)) {
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
  Engine* engine = arguments.handle<Engine>(0, kEngineTag);
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

/** openSession(engine, worker, id, server, fd, carrier, context, timeoutMs) */
napi_value open_session(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = arguments.worker();
  const Context* context = arguments.handle<Context>(6, kContextTag);
  commands::OpenSession order = {arguments.id(2), arguments.flag(3), arguments.integer(4),
                                 arguments.id(5), {},                arguments.id(7)};
  if (!arguments.fits) return undefined();
  order.context = *context;
  worker->post([order](Worker& on) { commands::open_session(on, order); });
  return undefined();
}

/** acceptSession(engine, worker, id) */
napi_value accept_session(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = arguments.worker();
  const uint64_t id = arguments.id(2);
  if (arguments.fits) worker->post([id](Worker& on) { commands::accept_session(on, id); });
  return undefined();
}

/** closeSession(engine, worker, id, graceful) */
napi_value close_session(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = arguments.worker();
  const uint64_t id = arguments.id(2);
  const bool graceful = arguments.flag(3);
  if (arguments.fits) worker->post([id, graceful](Worker& on) { commands::close_session(on, id, graceful); });
  return undefined();
}

/** connect(engine, worker, id, session, fd, authority, headers) */
napi_value connect(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = arguments.worker();
  commands::Connect order = {arguments.id(2), arguments.id(3), arguments.integer(4), arguments.text(5),
                             arguments.list(6)};
  if (arguments.fits) worker->post([order = std::move(order)](Worker& on) { commands::connect(on, order); });
  return undefined();
}

/** answer(engine, worker, id, status) */
napi_value answer(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = arguments.worker();
  const uint64_t id = arguments.id(2);
  const int status = arguments.integer(3);
  if (arguments.fits) worker->post([id, status](Worker& on) { commands::answer(on, id, status); });
  return undefined();
}

/** serve(engine, worker, id, fd, headers, preamble) */
napi_value serve(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = arguments.worker();
  commands::Serve order = {arguments.id(2), arguments.integer(3), arguments.list(4), arguments.bytes(5)};
  if (arguments.fits) worker->post([order = std::move(order)](Worker& on) { commands::serve(on, order); });
  return undefined();
}

/** join(engine, worker, id, client, server, preamble) */
napi_value join(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = arguments.worker();
  commands::JoinPlain order = {arguments.id(2), arguments.integer(3), arguments.integer(4), arguments.bytes(5)};
  if (arguments.fits) worker->post([order = std::move(order)](Worker& on) { commands::join(on, order); });
  return undefined();
}

/** cut(engine, worker, id) */
napi_value cut(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Worker* worker = arguments.worker();
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
    {"openSession", open_session},
    {"acceptSession", accept_session},
    {"closeSession", close_session},
    {"connect", connect},
    {"answer", answer},
    {"serve", serve},
    {"join", join},
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
