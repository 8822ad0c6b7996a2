/* What the files of the add-on share: argument conversion, the result convention and the namespace worker.
 *
 * Result convention: a function that can fail returns a number to TypeScript; negative is -(step << 12 | errno), where
 * step says which call failed. src/errors.ts holds the same list of steps. Every descriptor made here is CLOEXEC.
 * No Node-API call is made off the JavaScript thread. */
#ifndef CULVERT_NETNS_ADDON_H
#define CULVERT_NETNS_ADDON_H

#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum step {
	STEP_OTHER,
	STEP_SETNS,
	STEP_SOCKET,
	STEP_SETSOCKOPT,
	STEP_BIND,
	STEP_LISTEN,
	STEP_CONNECT,
	STEP_ACCEPT,
	STEP_NETLINK,
	STEP_UNSHARE,
	STEP_MOUNT,
	STEP_OPEN,
	STEP_THREAD,
};

/* The negative result of a failed step; reads errno. */
static inline int failed(enum step step)
{
	return -((int)step << 12 | errno);
}

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
/* A number result. */
napi_value number_value(napi_env env, int64_t number);
/* Number of property `name`, or `fallback` when it is not there. */
int64_t get_number(napi_env env, napi_value object, const char *name, int64_t fallback);
/* True when property `name` is true. */
bool get_flag(napi_env env, napi_value object, const char *name);
/* Text of property `name`, empty when it is not there or too long for `size`. */
void get_text(napi_env env, napi_value object, const char *name, char *out, size_t size);

/* Where netns_run() runs a function. */
enum { NETNS_HERE = -1, NETNS_FRESH = -2 };
/* Runs `run(arg)` in a namespace and returns its result: on the worker thread after setns(netns_fd), in a new namespace
 * for NETNS_FRESH, or on the calling thread for NETNS_HERE. The caller waits. `run` must not block on peers. */
int netns_run(int netns_fd, int (*run)(void *arg), void *arg);

/* Text of an address, v4-mapped as IPv4. `ip` has room for INET6_ADDRSTRLEN. */
void address_text(const struct sockaddr_storage *address, char *ip, uint16_t *port);
/* Parses an IP; false when it is none. */
bool address_parse(const char *ip, uint16_t port, struct sockaddr_storage *out, socklen_t *length);
/* { ip, port } as two values. */
bool address_values(napi_env env, const struct sockaddr_storage *address, napi_value *ip, napi_value *port);

napi_value register_netns(napi_env env, napi_value exports);
napi_value register_socket(napi_env env, napi_value exports);
napi_value register_accept(napi_env env, napi_value exports);
napi_value register_option(napi_env env, napi_value exports);
napi_value register_poll(napi_env env, napi_value exports);
napi_value register_seqpacket(napi_env env, napi_value exports);
napi_value register_route(napi_env env, napi_value exports);
napi_value register_sysctl(napi_env env, napi_value exports);
napi_value register_diag(napi_env env, napi_value exports);

#define METHOD(name, function) { name, NULL, function, NULL, NULL, NULL, napi_default, NULL }
#define DEFINE_METHODS(env, exports, list) \
	CHECK(env, napi_define_properties(env, exports, sizeof(list) / sizeof((list)[0]), list))

#endif
