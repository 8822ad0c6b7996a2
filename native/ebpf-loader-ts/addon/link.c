/* Links: one function per bpf(2) command. The target is a descriptor of a cgroup2 folder, a network namespace, ... */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "addon.h"

/* linkCreate(program, target fd, attach type) -> handle, or -errno. */
static napi_value link_create(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	int32_t target;
	uint32_t attach_type;
	int program;

	if (!get_args(env, info, 3, argv) || (program = unwrap_fd(env, argv[0])) < 0)
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[1], &target));
	CHECK(env, napi_get_value_uint32(env, argv[2], &attach_type));
	int fd = bpf_link_create(program, target, attach_type, NULL);
	return fd < 0 ? number_value(env, fd) : wrap_fd(env, fd);
}

/* linkUpdate(link, program) -> 0 or -errno. The swap is atomic. */
static napi_value link_update(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int link, program;

	if (!get_args(env, info, 2, argv) || (link = unwrap_fd(env, argv[0])) < 0 ||
	    (program = unwrap_fd(env, argv[1])) < 0)
		return NULL;
	return number_value(env, bpf_link_update(link, program, NULL));
}

/* linkDetach(link) -> 0 or -errno. Pins of the link stay and lead nowhere. */
static napi_value link_detach(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int link;

	if (!get_args(env, info, 1, argv) || (link = unwrap_fd(env, argv[0])) < 0)
		return NULL;
	return number_value(env, bpf_link_detach(link));
}

/* linkInfo(link) -> { id, type, programId, attachType, target }, or -errno. `target` is the cgroup id as a bigint for a
 * cgroup link, the inode for a network namespace; 0 when the target is gone. */
static napi_value link_info(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result, target_value;
	struct bpf_link_info link;
	uint32_t length = sizeof(link);
	uint64_t target = 0;
	uint32_t attach_type = 0;
	int fd;

	if (!get_args(env, info, 1, argv) || (fd = unwrap_fd(env, argv[0])) < 0)
		return NULL;
	memset(&link, 0, sizeof(link));
	int status = bpf_obj_get_info_by_fd(fd, &link, &length);
	if (status < 0)
		return number_value(env, status);
	if (link.type == BPF_LINK_TYPE_CGROUP) {
		target = link.cgroup.cgroup_id;
		attach_type = link.cgroup.attach_type;
	} else if (link.type == BPF_LINK_TYPE_NETNS) {
		target = link.netns.netns_ino;
		attach_type = link.netns.attach_type;
	}
	CHECK(env, napi_create_object(env, &result));
	CHECK(env, napi_create_bigint_uint64(env, target, &target_value));
	CHECK(env, napi_set_named_property(env, result, "target", target_value));
	if (!set_number(env, result, "id", link.id) || !set_number(env, result, "type", link.type) ||
	    !set_number(env, result, "programId", link.prog_id) ||
	    !set_number(env, result, "attachType", attach_type)) {
		throw_last_error(env);
		return NULL;
	}
	return result;
}

/* attachedPrograms(target fd, attach type) -> [program id], or -errno: what runs there, whoever attached it. */
static napi_value attached_programs(napi_env env, napi_callback_info info)
{
	napi_value argv[2], list, id;
	int32_t target;
	uint32_t attach_type, ids[64], count = sizeof(ids) / sizeof(ids[0]), flags = 0;

	if (!get_args(env, info, 2, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &target));
	CHECK(env, napi_get_value_uint32(env, argv[1], &attach_type));
	int status = bpf_prog_query(target, attach_type, 0, &flags, ids, &count);
	if (status < 0)
		return number_value(env, status);
	CHECK(env, napi_create_array_with_length(env, count, &list));
	for (uint32_t i = 0; i < count; i++) {
		CHECK(env, napi_create_uint32(env, ids[i], &id));
		CHECK(env, napi_set_element(env, list, i, id));
	}
	return list;
}

napi_value register_link(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("linkCreate", link_create), METHOD("linkUpdate", link_update),
		METHOD("linkDetach", link_detach), METHOD("linkInfo", link_info),
		METHOD("attachedPrograms", attached_programs),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
