/* Ring buffers: uv_poll on libbpf's epoll descriptor, records handed to JavaScript as copies.
 *
 * The callback gets one Buffer per record. At most BATCH records are delivered per turn of the event loop, so that a fast
 * producer cannot starve it; the descriptor is level triggered and the rest follows in the next turn. An open ring keeps
 * the event loop alive only while it is referenced (ringRef). JavaScript thread only. */
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <uv.h>

#include "addon.h"

enum { BATCH = 256 };

static const napi_type_tag ring_tag = { 0x656270666c6f6164ULL, 0x65722d72696e6762ULL };

struct ring {
	uv_poll_t poll;
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	napi_async_cleanup_hook_handle hook;
	struct ring_buffer *buffer;
	int delivered;  /* records in this turn */
	bool closing;   /* uv_close was called */
	bool closed;    /* libuv let go of the handle */
	bool collected; /* the external object is gone */
};

static void release(struct ring *ring)
{
	if (ring->closed && ring->collected)
		free(ring);
}

static void on_closed(uv_handle_t *poll)
{
	struct ring *ring = poll->data;

	ring->closed = true;
	ring_buffer__free(ring->buffer);
	if (ring->hook)
		napi_remove_async_cleanup_hook(ring->hook);
	release(ring);
}

static void close_ring(struct ring *ring)
{
	if (ring->closing)
		return;
	ring->closing = true;
	napi_delete_reference(ring->env, ring->callback);
	napi_async_destroy(ring->env, ring->context);
	uv_close((uv_handle_t *)&ring->poll, on_closed);
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void *arg)
{
	close_ring(arg);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct ring *ring = data;

	ring->collected = true;
	close_ring(ring);
	release(ring);
}

/* One record. Returns -1 to stop this turn; the record itself counts as consumed. */
static int on_record(void *arg, void *data, size_t size)
{
	struct ring *ring = arg;
	napi_value callback, receiver, buffer;

	if (ring->closing)
		return -1;
	if (napi_get_reference_value(ring->env, ring->callback, &callback) == napi_ok &&
	    napi_get_global(ring->env, &receiver) == napi_ok &&
	    napi_create_buffer_copy(ring->env, size, data, NULL, &buffer) == napi_ok &&
	    napi_make_callback(ring->env, ring->context, receiver, callback, 1, &buffer, NULL) ==
		    napi_pending_exception) {
		napi_value error;
		if (napi_get_and_clear_last_exception(ring->env, &error) == napi_ok)
			napi_fatal_exception(ring->env, error);
		return -1;
	}
	return ++ring->delivered >= BATCH ? -1 : 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct ring *ring = poll->data;
	napi_handle_scope scope;

	if (status < 0 || ring->closing || napi_open_handle_scope(ring->env, &scope) != napi_ok)
		return;
	ring->delivered = 0;
	ring_buffer__consume(ring->buffer);
	napi_close_handle_scope(ring->env, scope);
}

static struct ring *ring_arg(napi_env env, napi_value value)
{
	bool ours = false;
	void *data = NULL;

	if (napi_check_object_type_tag(env, value, &ring_tag, &ours) == napi_ok && ours &&
	    napi_get_value_external(env, value, &data) == napi_ok)
		return data;
	napi_throw_type_error(env, NULL, "not a ring buffer handle");
	return NULL;
}

/* ringOpen(map, callback) -> handle, or -errno. */
static napi_value ring_open(napi_env env, napi_callback_info info)
{
	napi_value argv[2], name, result;
	uv_loop_t *loop;
	int fd;

	if (!get_args(env, info, 2, argv) || (fd = unwrap_fd(env, argv[0])) < 0)
		return NULL;
	CHECK(env, napi_get_uv_event_loop(env, &loop));
	CHECK(env, napi_create_string_latin1(env, "ebpf-loader-ts", NAPI_AUTO_LENGTH, &name));
	struct ring *ring = calloc(1, sizeof(*ring));
	if (!ring)
		return number_value(env, -ENOMEM);
	ring->env = env;
	ring->poll.data = ring;
	ring->buffer = ring_buffer__new(fd, on_record, ring, NULL);
	int status = ring->buffer ? uv_poll_init(loop, &ring->poll, ring_buffer__epoll_fd(ring->buffer)) : -errno;
	if (status != 0) {
		ring_buffer__free(ring->buffer);
		free(ring);
		return number_value(env, status);
	}
	if (napi_create_reference(env, argv[1], 1, &ring->callback) != napi_ok ||
	    napi_async_init(env, NULL, name, &ring->context) != napi_ok ||
	    napi_add_async_cleanup_hook(env, on_environment_end, ring, &ring->hook) != napi_ok ||
	    napi_create_external(env, ring, on_collected, NULL, &result) != napi_ok) {
		throw_last_error(env);
		ring->collected = true;
		close_ring(ring);
		return NULL;
	}
	CHECK(env, napi_type_tag_object(env, result, &ring_tag));
	status = uv_poll_start(&ring->poll, UV_READABLE, on_readable);
	uv_unref((uv_handle_t *)&ring->poll);
	if (status != 0) {
		close_ring(ring);
		return number_value(env, status);
	}
	return result;
}

/* ringRef(ring, wanted): whether the open ring keeps the event loop alive. */
static napi_value ring_ref(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct ring *ring;
	bool wanted;

	if (!get_args(env, info, 2, argv) || !(ring = ring_arg(env, argv[0])))
		return NULL;
	CHECK(env, napi_get_value_bool(env, argv[1], &wanted));
	if (ring->closing)
		return NULL;
	if (wanted)
		uv_ref((uv_handle_t *)&ring->poll);
	else
		uv_unref((uv_handle_t *)&ring->poll);
	return NULL;
}

/* ringClose(ring): may be repeated. */
static napi_value ring_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct ring *ring;

	if (get_args(env, info, 1, argv) && (ring = ring_arg(env, argv[0])))
		close_ring(ring);
	return NULL;
}

napi_value register_ring(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("ringOpen", ring_open),
		METHOD("ringRef", ring_ref),
		METHOD("ringClose", ring_close),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
