/* Entry of the add-on, handles and argument conversion. */
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <unistd.h>

#include "addon.h"

static const napi_type_tag handle_tag = { 0x656270666c6f6164ULL, 0x65722d68616e646cULL };

void throw_last_error(napi_env env)
{
	const napi_extended_error_info *info = NULL;
	bool pending = false;

	napi_get_last_error_info(env, &info);
	if (napi_is_exception_pending(env, &pending) == napi_ok && !pending)
		napi_throw_type_error(env, NULL, info && info->error_message ? info->error_message : "Node-API failed");
}

bool get_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	size_t given = count;

	if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) != napi_ok) {
		throw_last_error(env);
		return false;
	}
	if (given < count) {
		napi_throw_type_error(env, NULL, "too few arguments");
		return false;
	}
	return true;
}

napi_value number_value(napi_env env, int64_t number)
{
	napi_value value;

	CHECK(env, napi_create_int64(env, number, &value));
	return value;
}

bool get_text(napi_env env, napi_value value, char *out, size_t size)
{
	if (napi_get_value_string_utf8(env, value, out, size, NULL) == napi_ok)
		return true;
	throw_last_error(env);
	return false;
}

bool get_bytes(napi_env env, napi_value value, void **data, size_t *length)
{
	napi_valuetype type;
	napi_typedarray_type element;

	*data = NULL;
	*length = 0;
	if (napi_typeof(env, value, &type) != napi_ok)
		goto fail;
	if (type == napi_null || type == napi_undefined)
		return true;
	if (napi_get_typedarray_info(env, value, &element, length, data, NULL, NULL) != napi_ok)
		goto fail;
	if (element == napi_uint8_array)
		return true;
	napi_throw_type_error(env, NULL, "not a Uint8Array");
	return false;
fail:
	throw_last_error(env);
	return false;
}

bool set_number(napi_env env, napi_value object, const char *name, int64_t number)
{
	napi_value value;

	return napi_create_int64(env, number, &value) == napi_ok &&
	       napi_set_named_property(env, object, name, value) == napi_ok;
}

bool set_text(napi_env env, napi_value object, const char *name, const char *text)
{
	napi_value value;

	return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok &&
	       napi_set_named_property(env, object, name, value) == napi_ok;
}

static void close_resource(struct handle *handle)
{
	if (handle->closed)
		return;
	handle->closed = true;
	if (handle->kind == HANDLE_OBJECT)
		bpf_object__close(handle->resource);
	else
		close(handle->fd);
	handle->fd = -1;
	handle->resource = NULL;
}

static void on_environment_end(void *arg)
{
	close_resource(arg);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	napi_remove_env_cleanup_hook(env, on_environment_end, data);
	close_resource(data);
	free(data);
}

static napi_value wrap(napi_env env, enum handle_kind kind, void *resource, int fd)
{
	struct handle *handle = calloc(1, sizeof(*handle));
	napi_value value;

	if (!handle) {
		struct handle lost = { .kind = kind, .resource = resource, .fd = fd };
		close_resource(&lost);
		napi_throw_error(env, NULL, "out of memory");
		return NULL;
	}
	*handle = (struct handle){ .kind = kind, .env = env, .resource = resource, .fd = fd };
	if (napi_create_external(env, handle, on_collected, NULL, &value) != napi_ok) {
		close_resource(handle);
		free(handle);
		throw_last_error(env);
		return NULL;
	}
	napi_add_env_cleanup_hook(env, on_environment_end, handle);
	CHECK(env, napi_type_tag_object(env, value, &handle_tag));
	return value;
}

napi_value wrap_object(napi_env env, void *object)
{
	return wrap(env, HANDLE_OBJECT, object, -1);
}

napi_value wrap_fd(napi_env env, int fd)
{
	return wrap(env, HANDLE_FD, NULL, fd);
}

static struct handle *unwrap(napi_env env, napi_value value)
{
	bool ours = false;
	void *data = NULL;

	if (napi_check_object_type_tag(env, value, &handle_tag, &ours) == napi_ok && ours &&
	    napi_get_value_external(env, value, &data) == napi_ok)
		return data;
	napi_throw_type_error(env, NULL, "not a handle of this package");
	return NULL;
}

static struct handle *unwrap_open(napi_env env, napi_value value, enum handle_kind kind)
{
	struct handle *handle = unwrap(env, value);

	if (handle && !handle->closed && handle->kind == kind)
		return handle;
	if (handle)
		napi_throw_type_error(env, NULL, handle->closed ? "the handle is closed" : "wrong kind of handle");
	return NULL;
}

void *unwrap_object(napi_env env, napi_value value)
{
	struct handle *handle = unwrap_open(env, value, HANDLE_OBJECT);

	return handle ? handle->resource : NULL;
}

int unwrap_fd(napi_env env, napi_value value)
{
	struct handle *handle = unwrap_open(env, value, HANDLE_FD);

	return handle ? handle->fd : -1;
}

/* close(handle): may be repeated. */
static napi_value close_handle(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct handle *handle;

	if (get_args(env, info, 1, argv) && (handle = unwrap(env, argv[0])))
		close_resource(handle);
	return NULL;
}

/* fdOf(handle) -> the descriptor, still owned by the handle. */
static napi_value fd_of(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd;

	if (!get_args(env, info, 1, argv) || (fd = unwrap_fd(env, argv[0])) < 0)
		return NULL;
	return number_value(env, fd);
}

NAPI_MODULE_INIT()
{
	const napi_property_descriptor methods[] = { METHOD("close", close_handle), METHOD("fdOf", fd_of) };

	DEFINE_METHODS(env, exports, methods);
	if (!register_object(env, exports) || !register_map(env, exports) || !register_program(env, exports) ||
	    !register_link(env, exports) || !register_ring(env, exports) || !register_probe(env, exports))
		return NULL;
	return exports;
}
