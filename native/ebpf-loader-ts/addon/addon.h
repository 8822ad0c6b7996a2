/* What the files of the add-on share: handles, argument conversion and the result convention.
 *
 * Result convention: a function that can fail returns a number to TypeScript; negative is -errno. Names, ranges and sizes
 * were checked by src/. Everything here runs on the JavaScript thread of its environment. */
#ifndef EBPF_LOADER_ADDON_H
#define EBPF_LOADER_ADDON_H

#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns NULL to JavaScript with an exception pending when a Node-API call fails. */
#define CHECK(env, call)                                          \
	do {                                                      \
		if ((call) != napi_ok) {                          \
			throw_last_error(env);                    \
			return NULL;                              \
		}                                                 \
	} while (0)

void throw_last_error(napi_env env);
/* Reads exactly `count` arguments; false with an exception pending when there are fewer. */
bool get_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv);
napi_value number_value(napi_env env, int64_t number);
/* Text of an argument, cut at `size` - 1 bytes; false with an exception pending when it is no string. */
bool get_text(napi_env env, napi_value value, char *out, size_t size);
/* Bytes of a Buffer or Uint8Array argument, valid during the call. NULL and 0 for null or undefined. */
bool get_bytes(napi_env env, napi_value value, void **data, size_t *length);
/* Sets property `name` of `object`; false when Node-API fails. */
bool set_number(napi_env env, napi_value object, const char *name, int64_t number);
bool set_text(napi_env env, napi_value object, const char *name, const char *text);

enum handle_kind { HANDLE_OBJECT, HANDLE_FD };

/* A resource behind a type-tagged external. Closed by close(), by the finalizer and by the end of the environment,
 * whichever comes first. */
struct handle {
	enum handle_kind kind;
	napi_env env;
	void *resource; /* struct bpf_object */
	int fd;         /* map, program or link; -1 once closed */
	bool closed;
};

/* Wraps a resource; takes it over even when it fails (NULL with an exception pending). */
napi_value wrap_object(napi_env env, void *object);
napi_value wrap_fd(napi_env env, int fd);
/* The resource of an open handle; NULL or -1 with an exception pending for a foreign or closed one. */
void *unwrap_object(napi_env env, napi_value value);
int unwrap_fd(napi_env env, napi_value value);

napi_value register_object(napi_env env, napi_value exports);
napi_value register_map(napi_env env, napi_value exports);
napi_value register_program(napi_env env, napi_value exports);
napi_value register_link(napi_env env, napi_value exports);
napi_value register_ring(napi_env env, napi_value exports);
napi_value register_probe(napi_env env, napi_value exports);

#define METHOD(name, function) { name, NULL, function, NULL, NULL, NULL, napi_default, NULL }
#define DEFINE_METHODS(env, exports, list) \
	CHECK(env, napi_define_properties(env, exports, sizeof(list) / sizeof((list)[0]), list))

#endif
