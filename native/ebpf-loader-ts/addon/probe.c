/* Feature probes of libbpf: they create and destroy what they ask for. */
#include <bpf/libbpf.h>

#include "addon.h"

/* probeProgramType(type) -> 1, 0, or -errno. */
static napi_value probe_program_type(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	uint32_t type;

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_uint32(env, argv[0], &type));
	return number_value(env, libbpf_probe_bpf_prog_type(type, NULL));
}

/* probeMapType(type) -> 1, 0, or -errno. */
static napi_value probe_map_type(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	uint32_t type;

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_uint32(env, argv[0], &type));
	return number_value(env, libbpf_probe_bpf_map_type(type, NULL));
}

/* probeHelper(program type, helper) -> 1, 0, or -errno. */
static napi_value probe_helper(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	uint32_t type, helper;

	if (!get_args(env, info, 2, argv))
		return NULL;
	CHECK(env, napi_get_value_uint32(env, argv[0], &type));
	CHECK(env, napi_get_value_uint32(env, argv[1], &helper));
	return number_value(env, libbpf_probe_bpf_helper(type, helper, NULL));
}

napi_value register_probe(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("probeProgramType", probe_program_type),
		METHOD("probeMapType", probe_map_type),
		METHOD("probeHelper", probe_helper),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
