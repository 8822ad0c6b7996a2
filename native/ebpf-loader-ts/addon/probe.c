/* Feature probes: they create and destroy what they ask for. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>
#include <unistd.h>

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

/* What the verifier says of a helper that a program type may not call, over the kernels. */
static bool is_refused_helper(const char *log)
{
	return strstr(log, "invalid func ") || strstr(log, "unknown func ") || strstr(log, "cannot use helper ");
}

/* probeHelper(program type, helper) -> 1, 0, or -errno. Loads a program that only makes the call: arguments that are not
 * right fail later than a helper that is not there. libbpf's own probe does not know the words of newer kernels. */
static napi_value probe_helper(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	uint32_t type, helper;
	char log[4096] = "";

	if (!get_args(env, info, 2, argv))
		return NULL;
	CHECK(env, napi_get_value_uint32(env, argv[0], &type));
	CHECK(env, napi_get_value_uint32(env, argv[1], &helper));
	struct bpf_insn instructions[] = {
		{ .code = BPF_JMP | BPF_CALL, .imm = (int32_t)helper },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .log_buf = log, .log_size = sizeof(log), .log_level = 1);
	if (type == BPF_PROG_TYPE_CGROUP_SOCK_ADDR)
		options.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
	else if (type == BPF_PROG_TYPE_CGROUP_SOCKOPT)
		options.expected_attach_type = BPF_CGROUP_GETSOCKOPT;
	else if (type == BPF_PROG_TYPE_SK_LOOKUP)
		options.expected_attach_type = BPF_SK_LOOKUP;
	int fd = bpf_prog_load(type, NULL, "GPL", instructions, 2, &options);
	if (fd >= 0) {
		close(fd);
		return number_value(env, 1);
	}
	if (log[0] == '\0')
		return number_value(env, fd); /* not refused by the verifier: EPERM, or the program type is not known */
	return number_value(env, !is_refused_helper(log));
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
