/* Loaded programs: what they are, and test runs. */
#include <bpf/bpf.h>
#include <string.h>

#include "addon.h"

/* programInfo(program) -> { name, type, id }, or -errno. */
static napi_value program_info(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	struct bpf_prog_info program;
	uint32_t length = sizeof(program);
	int fd;

	if (!get_args(env, info, 1, argv) || (fd = unwrap_fd(env, argv[0])) < 0)
		return NULL;
	memset(&program, 0, sizeof(program));
	int status = bpf_obj_get_info_by_fd(fd, &program, &length);
	if (status < 0)
		return number_value(env, status);
	CHECK(env, napi_create_object(env, &result));
	if (!set_text(env, result, "name", program.name) || !set_number(env, result, "type", program.type) ||
	    !set_number(env, result, "id", program.id)) {
		throw_last_error(env);
		return NULL;
	}
	return result;
}

/* testRun(program, data in | null, data out | null, context in | null, context out | null, repeat)
 * -> { returned, durationNs, dataBytes, contextBytes }, or -errno. Blocks for the run. */
static napi_value test_run(napi_env env, napi_callback_info info)
{
	napi_value argv[6], result;
	void *data_in, *data_out, *context_in, *context_out;
	size_t data_in_size, data_out_size, context_in_size, context_out_size;
	uint32_t repeat;
	int fd;

	if (!get_args(env, info, 6, argv) || (fd = unwrap_fd(env, argv[0])) < 0 ||
	    !get_bytes(env, argv[1], &data_in, &data_in_size) ||
	    !get_bytes(env, argv[2], &data_out, &data_out_size) ||
	    !get_bytes(env, argv[3], &context_in, &context_in_size) ||
	    !get_bytes(env, argv[4], &context_out, &context_out_size))
		return NULL;
	CHECK(env, napi_get_value_uint32(env, argv[5], &repeat));
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = data_in, .data_size_in = (uint32_t)data_in_size,
		    .data_out = data_out, .data_size_out = (uint32_t)data_out_size, .ctx_in = context_in,
		    .ctx_size_in = (uint32_t)context_in_size, .ctx_out = context_out,
		    .ctx_size_out = (uint32_t)context_out_size, .repeat = (int)repeat);
	int status = bpf_prog_test_run_opts(fd, &run);
	if (status < 0)
		return number_value(env, status);
	CHECK(env, napi_create_object(env, &result));
	if (!set_number(env, result, "returned", run.retval) || !set_number(env, result, "durationNs", run.duration) ||
	    !set_number(env, result, "dataBytes", run.data_size_out) ||
	    !set_number(env, result, "contextBytes", run.ctx_size_out)) {
		throw_last_error(env);
		return NULL;
	}
	return result;
}

napi_value register_program(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = { METHOD("programInfo", program_info), METHOD("testRun", test_run) };

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
