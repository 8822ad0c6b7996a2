/* Maps: one function per bpf(2) command. Sizes of keys and values were checked by src/map.ts. Nothing here blocks. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "addon.h"

/* mapInfo(map) -> { name, type, keySize, valueSize, maxEntries, flags, id }, or -errno. */
static napi_value map_info(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	struct bpf_map_info map;
	uint32_t length = sizeof(map);
	int fd;

	if (!get_args(env, info, 1, argv) || (fd = unwrap_fd(env, argv[0])) < 0)
		return NULL;
	memset(&map, 0, sizeof(map));
	int status = bpf_obj_get_info_by_fd(fd, &map, &length);
	if (status < 0)
		return number_value(env, status);
	CHECK(env, napi_create_object(env, &result));
	if (!set_text(env, result, "name", map.name) || !set_number(env, result, "type", map.type) ||
	    !set_number(env, result, "keySize", map.key_size) ||
	    !set_number(env, result, "valueSize", map.value_size) ||
	    !set_number(env, result, "maxEntries", map.max_entries) ||
	    !set_number(env, result, "flags", map.map_flags) || !set_number(env, result, "id", map.id)) {
		throw_last_error(env);
		return NULL;
	}
	return result;
}

/* Reads (map, key, value buffer) into the out parameters; false with an exception pending. */
static bool element_args(napi_env env, napi_value *argv, int *fd, void **key, void **value)
{
	size_t length;

	*fd = unwrap_fd(env, argv[0]);
	return *fd >= 0 && get_bytes(env, argv[1], key, &length) && get_bytes(env, argv[2], value, &length);
}

/* mapLookup(map, key, into) -> 0 or -errno. */
static napi_value map_lookup(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	void *key, *value;
	int fd;

	if (!get_args(env, info, 3, argv) || !element_args(env, argv, &fd, &key, &value))
		return NULL;
	return number_value(env, bpf_map_lookup_elem(fd, key, value));
}

/* mapUpdate(map, key, value, flags) -> 0 or -errno. */
static napi_value map_update(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	void *key, *value;
	int64_t flags;
	int fd;

	if (!get_args(env, info, 4, argv) || !element_args(env, argv, &fd, &key, &value))
		return NULL;
	CHECK(env, napi_get_value_int64(env, argv[3], &flags));
	return number_value(env, bpf_map_update_elem(fd, key, value, (uint64_t)flags));
}

/* mapDelete(map, key) -> 0 or -errno. */
static napi_value map_delete(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	void *key;
	size_t length;
	int fd;

	if (!get_args(env, info, 2, argv) || (fd = unwrap_fd(env, argv[0])) < 0 ||
	    !get_bytes(env, argv[1], &key, &length))
		return NULL;
	return number_value(env, bpf_map_delete_elem(fd, key));
}

/* mapNextKey(map, key | null, into) -> 0, or -errno; -ENOENT at the end. */
static napi_value map_next_key(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	void *key, *next;
	int fd;

	if (!get_args(env, info, 3, argv) || !element_args(env, argv, &fd, &key, &next))
		return NULL;
	return number_value(env, bpf_map_get_next_key(fd, key, next));
}

/* possibleCpus() -> count, or -errno. */
static napi_value possible_cpus(napi_env env, napi_callback_info info)
{
	return number_value(env, libbpf_num_possible_cpus());
}

napi_value register_map(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("mapInfo", map_info),       METHOD("mapLookup", map_lookup),
		METHOD("mapUpdate", map_update),   METHOD("mapDelete", map_delete),
		METHOD("mapNextKey", map_next_key), METHOD("possibleCpus", possible_cpus),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
