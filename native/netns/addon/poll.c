/* Readiness of a descriptor on the event loop: one uv_poll handle behind an external object.
 *
 * The callback gets the ready events (1 readable, 2 writable) or a negative number when the kernel reports an error on
 * the descriptor; libuv has stopped polling then and the caller's next system call tells the reason. The descriptor is
 * not owned: after pollClose() its owner may close it or hand it to a stream at once. JavaScript thread only. */
#include <stdlib.h>
#include <uv.h>

#include "addon.h"

static const napi_type_tag poll_tag = { 0x63756c766572746eULL, 0x706f6c6c68616e64ULL };

struct poll {
	uv_poll_t handle;
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	napi_async_cleanup_hook_handle hook;
	bool closing;   /* uv_close was called */
	bool closed;    /* libuv let go of the handle */
	bool collected; /* the external object is gone */
};

static void release(struct poll *poll)
{
	if (poll->closed && poll->collected)
		free(poll);
}

static void on_closed(uv_handle_t *handle)
{
	struct poll *poll = handle->data;

	poll->closed = true;
	if (poll->hook)
		napi_remove_async_cleanup_hook(poll->hook);
	release(poll);
}

static void close_poll(struct poll *poll)
{
	if (poll->closing)
		return;
	poll->closing = true;
	napi_delete_reference(poll->env, poll->callback);
	napi_async_destroy(poll->env, poll->context);
	uv_close((uv_handle_t *)&poll->handle, on_closed);
}

/* The environment ends while the handle is open. */
static void on_environment_end(napi_async_cleanup_hook_handle hook, void *arg)
{
	close_poll(arg);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct poll *poll = data;

	poll->collected = true;
	close_poll(poll);
	release(poll);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
	struct poll *poll = handle->data;
	napi_handle_scope scope;
	napi_value callback, receiver, argument;

	if (poll->closing || napi_open_handle_scope(poll->env, &scope) != napi_ok)
		return;
	if (napi_get_reference_value(poll->env, poll->callback, &callback) == napi_ok &&
	    napi_get_global(poll->env, &receiver) == napi_ok &&
	    napi_create_int32(poll->env, status < 0 ? status : events, &argument) == napi_ok &&
	    napi_make_callback(poll->env, poll->context, receiver, callback, 1, &argument, NULL) ==
		    napi_pending_exception) {
		napi_value error;
		if (napi_get_and_clear_last_exception(poll->env, &error) == napi_ok)
			napi_fatal_exception(poll->env, error);
	}
	napi_close_handle_scope(poll->env, scope);
}

static struct poll *poll_arg(napi_env env, napi_value value)
{
	bool ours = false;
	void *data = NULL;

	if (napi_check_object_type_tag(env, value, &poll_tag, &ours) != napi_ok || !ours ||
	    napi_get_value_external(env, value, &data) != napi_ok) {
		napi_throw_type_error(env, NULL, "not a poll handle");
		return NULL;
	}
	return data;
}

/* pollOpen(fd, callback) -> handle, or negative. */
static napi_value poll_open(napi_env env, napi_callback_info info)
{
	napi_value argv[2], name, result;
	int32_t fd;
	uv_loop_t *loop;

	if (!get_args(env, info, 2, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &fd));
	CHECK(env, napi_get_uv_event_loop(env, &loop));
	CHECK(env, napi_create_string_latin1(env, "culvert-netns", NAPI_AUTO_LENGTH, &name));
	struct poll *poll = calloc(1, sizeof(*poll));
	if (!poll)
		return number_value(env, failed(STEP_OTHER));
	poll->env = env;
	poll->handle.data = poll;
	int status = uv_poll_init(loop, &poll->handle, fd);
	if (status != 0) {
		free(poll);
		return number_value(env, status); /* libuv's codes are negative errno on Linux */
	}
	if (napi_create_reference(env, argv[1], 1, &poll->callback) != napi_ok ||
	    napi_async_init(env, NULL, name, &poll->context) != napi_ok ||
	    napi_add_async_cleanup_hook(env, on_environment_end, poll, &poll->hook) != napi_ok ||
	    napi_create_external(env, poll, on_collected, NULL, &result) != napi_ok) {
		throw_last_error(env);
		poll->collected = true;
		close_poll(poll);
		return NULL;
	}
	CHECK(env, napi_type_tag_object(env, result, &poll_tag));
	return result;
}

/* pollSet(handle, events) -> 0 or negative: 1 readable, 2 writable, 0 stops. An active handle keeps the loop alive. */
static napi_value poll_set(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int32_t events;

	if (!get_args(env, info, 2, argv))
		return NULL;
	struct poll *poll = poll_arg(env, argv[0]);
	if (!poll)
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[1], &events));
	if (poll->closing)
		return number_value(env, -EBADF);
	return number_value(env, events == 0 ? uv_poll_stop(&poll->handle)
					     : uv_poll_start(&poll->handle, events, on_ready));
}

/* pollClose(handle): idempotent; the callback is not called again. */
static napi_value poll_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];

	if (!get_args(env, info, 1, argv))
		return NULL;
	struct poll *poll = poll_arg(env, argv[0]);
	if (poll)
		close_poll(poll);
	return NULL;
}

napi_value register_poll(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("pollOpen", poll_open),
		METHOD("pollSet", poll_set),
		METHOD("pollClose", poll_close),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
