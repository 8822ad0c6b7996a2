/* Object files: open, inspect, set data, load. What libbpf prints while it works (the verifier's log among it) is kept
 * in a bounded buffer of the calling thread and read by takeLog(). */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "addon.h"

enum { NAME_MAX_BYTES = 128, PATH_MAX_BYTES = 4096, LOG_MAX_BYTES = 1 << 18 };

static _Thread_local char log_text[LOG_MAX_BYTES];
static _Thread_local size_t log_length;

/* Keeps the end: the verdict of the verifier is in its last lines. */
static int on_print(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[1 << 16];
	int printed;

	if (level == LIBBPF_DEBUG)
		return 0;
	printed = vsnprintf(line, sizeof(line), format, args);
	if (printed <= 0)
		return 0;
	size_t length = (size_t)printed < sizeof(line) ? (size_t)printed : sizeof(line) - 1;
	if (log_length + length > LOG_MAX_BYTES) {
		size_t drop = log_length + length - LOG_MAX_BYTES;
		memmove(log_text, log_text + drop, log_length - drop);
		log_length -= drop;
	}
	memcpy(log_text + log_length, line, length);
	log_length += length;
	return printed;
}

/* takeLog() -> text since the last call. */
static napi_value take_log(napi_env env, napi_callback_info info)
{
	napi_value text;

	CHECK(env, napi_create_string_utf8(env, log_text, log_length, &text));
	log_length = 0;
	return text;
}

/* openObject(bytes, name) -> handle, or -errno. libbpf copies what it needs of the bytes. */
static napi_value open_object(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	char name[NAME_MAX_BYTES];
	void *bytes;
	size_t length;

	if (!get_args(env, info, 2, argv) || !get_bytes(env, argv[0], &bytes, &length) ||
	    !get_text(env, argv[1], name, sizeof(name)))
		return NULL;
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = name);
	struct bpf_object *object = bpf_object__open_mem(bytes, length, &options);
	if (!object)
		return number_value(env, -errno);
	return wrap_object(env, object);
}

static bool add_map(napi_env env, napi_value list, uint32_t index, const struct bpf_map *map)
{
	napi_value entry;

	return napi_create_object(env, &entry) == napi_ok && set_text(env, entry, "name", bpf_map__name(map)) &&
	       set_number(env, entry, "type", bpf_map__type(map)) &&
	       set_number(env, entry, "keySize", bpf_map__key_size(map)) &&
	       set_number(env, entry, "valueSize", bpf_map__value_size(map)) &&
	       set_number(env, entry, "maxEntries", bpf_map__max_entries(map)) &&
	       set_number(env, entry, "flags", bpf_map__map_flags(map)) &&
	       set_number(env, entry, "internal", bpf_map__is_internal(map)) &&
	       napi_set_element(env, list, index, entry) == napi_ok;
}

/* objectMaps(object) -> [{ name, type, keySize, valueSize, maxEntries, flags, internal }] */
static napi_value object_maps(napi_env env, napi_callback_info info)
{
	napi_value argv[1], list;
	struct bpf_object *object;
	struct bpf_map *map;
	uint32_t index = 0;

	if (!get_args(env, info, 1, argv) || !(object = unwrap_object(env, argv[0])))
		return NULL;
	CHECK(env, napi_create_array(env, &list));
	bpf_object__for_each_map(map, object)
		if (!add_map(env, list, index++, map)) {
			throw_last_error(env);
			return NULL;
		}
	return list;
}

static bool add_program(napi_env env, napi_value list, uint32_t index, const struct bpf_program *program)
{
	napi_value entry;

	return napi_create_object(env, &entry) == napi_ok &&
	       set_text(env, entry, "name", bpf_program__name(program)) &&
	       set_text(env, entry, "section", bpf_program__section_name(program)) &&
	       set_number(env, entry, "type", bpf_program__type(program)) &&
	       set_number(env, entry, "attachType", bpf_program__expected_attach_type(program)) &&
	       napi_set_element(env, list, index, entry) == napi_ok;
}

/* objectPrograms(object) -> [{ name, section, type, attachType }] */
static napi_value object_programs(napi_env env, napi_callback_info info)
{
	napi_value argv[1], list;
	struct bpf_object *object;
	struct bpf_program *program;
	uint32_t index = 0;

	if (!get_args(env, info, 1, argv) || !(object = unwrap_object(env, argv[0])))
		return NULL;
	CHECK(env, napi_create_array(env, &list));
	bpf_object__for_each_program(program, object)
		if (!add_program(env, list, index++, program)) {
			throw_last_error(env);
			return NULL;
		}
	return list;
}

/* objectVariables(object) -> [{ name, section, offset, size }] of the data sections, from the object's BTF. */
static napi_value object_variables(napi_env env, napi_callback_info info)
{
	napi_value argv[1], list, entry;
	struct bpf_object *object;
	uint32_t count = 0;

	if (!get_args(env, info, 1, argv) || !(object = unwrap_object(env, argv[0])))
		return NULL;
	CHECK(env, napi_create_array(env, &list));
	const struct btf *btf = bpf_object__btf(object);
	for (uint32_t id = 1; btf && id < btf__type_cnt(btf); id++) {
		const struct btf_type *section = btf__type_by_id(btf, id);
		if (!btf_is_datasec(section))
			continue;
		const struct btf_var_secinfo *variable = btf_var_secinfos(section);
		for (int i = 0; i < btf_vlen(section); i++, variable++) {
			const struct btf_type *type = btf__type_by_id(btf, variable->type);
			CHECK(env, napi_create_object(env, &entry));
			if (!set_text(env, entry, "name", btf__name_by_offset(btf, type->name_off)) ||
			    !set_text(env, entry, "section", btf__name_by_offset(btf, section->name_off)) ||
			    !set_number(env, entry, "offset", variable->offset) ||
			    !set_number(env, entry, "size", variable->size)) {
				throw_last_error(env);
				return NULL;
			}
			CHECK(env, napi_set_element(env, list, count++, entry));
		}
	}
	return list;
}

static struct bpf_map *find_map(napi_env env, struct bpf_object *object, napi_value value)
{
	char name[NAME_MAX_BYTES];

	if (!get_text(env, value, name, sizeof(name)))
		return NULL;
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);
	if (!map)
		napi_throw_type_error(env, NULL, "the object has no such map");
	return map;
}

/* Reads (object, map name, ...) into argv; NULL with an exception pending. */
static struct bpf_map *map_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct bpf_object *object;

	if (!get_args(env, info, count, argv) || !(object = unwrap_object(env, argv[0])))
		return NULL;
	return find_map(env, object, argv[1]);
}

/* initialValue(object, name) -> Buffer, a copy. */
static napi_value initial_value(napi_env env, napi_callback_info info)
{
	napi_value argv[2], buffer;
	size_t size = 0;
	struct bpf_map *map = map_args(env, info, 2, argv);

	if (!map)
		return NULL;
	const void *data = bpf_map__initial_value(map, &size);
	if (!data)
		return number_value(env, -ENOENT);
	CHECK(env, napi_create_buffer_copy(env, size, data, NULL, &buffer));
	return buffer;
}

/* setInitialValue(object, name, bytes) -> 0 or -errno. Before load. */
static napi_value set_initial_value(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	void *data;
	size_t size;
	struct bpf_map *map = map_args(env, info, 3, argv);

	if (!map || !get_bytes(env, argv[2], &data, &size))
		return NULL;
	return number_value(env, bpf_map__set_initial_value(map, data, size));
}

/* setMaxEntries(object, name, count) -> 0 or -errno. Before load. */
static napi_value set_max_entries(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	uint32_t count;
	struct bpf_map *map = map_args(env, info, 3, argv);

	if (!map)
		return NULL;
	CHECK(env, napi_get_value_uint32(env, argv[2], &count));
	return number_value(env, bpf_map__set_max_entries(map, count));
}

/* reuseMap(object, name, map) -> 0 or -errno. Before load; libbpf keeps its own descriptor. */
static napi_value reuse_map(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	int fd;
	struct bpf_map *map = map_args(env, info, 3, argv);

	if (!map || (fd = unwrap_fd(env, argv[2])) < 0)
		return NULL;
	return number_value(env, bpf_map__reuse_fd(map, fd));
}

/* setAutoload(object, program name, wanted) -> 0 or -errno. Before load. */
static napi_value set_autoload(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	char name[NAME_MAX_BYTES];
	struct bpf_object *object;
	bool wanted;

	if (!get_args(env, info, 3, argv) || !(object = unwrap_object(env, argv[0])) ||
	    !get_text(env, argv[1], name, sizeof(name)))
		return NULL;
	CHECK(env, napi_get_value_bool(env, argv[2], &wanted));
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	return number_value(env, program ? bpf_program__set_autoload(program, wanted) : -ENOENT);
}

/* loadObject(object) -> 0 or -errno. Blocks for the time the verifier takes. */
static napi_value load_object(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct bpf_object *object;

	if (!get_args(env, info, 1, argv) || !(object = unwrap_object(env, argv[0])))
		return NULL;
	return number_value(env, bpf_object__load(object));
}

static napi_value duplicate(napi_env env, int fd)
{
	int copy = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return number_value(env, fd < 0 ? fd : -errno);
	return wrap_fd(env, copy);
}

/* mapOf(object, name) -> handle with a descriptor of its own, or -errno. After load. */
static napi_value map_of(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct bpf_map *map = map_args(env, info, 2, argv);

	return map ? duplicate(env, bpf_map__fd(map)) : NULL;
}

/* programOf(object, name) -> handle with a descriptor of its own, or -errno. After load. */
static napi_value program_of(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	char name[NAME_MAX_BYTES];
	struct bpf_object *object;

	if (!get_args(env, info, 2, argv) || !(object = unwrap_object(env, argv[0])) ||
	    !get_text(env, argv[1], name, sizeof(name)))
		return NULL;
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	return duplicate(env, program ? bpf_program__fd(program) : -ENOENT);
}

/* pinHandle(handle, path) -> 0 or -errno. */
static napi_value pin_handle(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	char path[PATH_MAX_BYTES];
	int fd;

	if (!get_args(env, info, 2, argv) || (fd = unwrap_fd(env, argv[0])) < 0 ||
	    !get_text(env, argv[1], path, sizeof(path)))
		return NULL;
	return number_value(env, bpf_obj_pin(fd, path));
}

/* openPinned(path) -> handle, or -errno. */
static napi_value open_pinned(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	char path[PATH_MAX_BYTES];

	if (!get_args(env, info, 1, argv) || !get_text(env, argv[0], path, sizeof(path)))
		return NULL;
	int fd = bpf_obj_get(path);
	return fd < 0 ? number_value(env, fd) : wrap_fd(env, fd);
}

napi_value register_object(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("takeLog", take_log),
		METHOD("openObject", open_object),
		METHOD("objectMaps", object_maps),
		METHOD("objectPrograms", object_programs),
		METHOD("objectVariables", object_variables),
		METHOD("initialValue", initial_value),
		METHOD("setInitialValue", set_initial_value),
		METHOD("setMaxEntries", set_max_entries),
		METHOD("setAutoload", set_autoload),
		METHOD("reuseMap", reuse_map),
		METHOD("loadObject", load_object),
		METHOD("mapOf", map_of),
		METHOD("programOf", program_of),
		METHOD("pinHandle", pin_handle),
		METHOD("openPinned", open_pinned),
	};

	libbpf_set_print(on_print);
	DEFINE_METHODS(env, exports, methods);
	return exports;
}
