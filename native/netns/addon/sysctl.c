/* Reads and writes /proc/sys/net of a namespace. The kernel picks the namespace of the thread that opens the file, so
 * both run on the worker thread.
 * Container runtimes mount /proc/sys read-only. A write then goes through a procfs of our own that is mounted nowhere,
 * which takes CAP_SYS_ADMIN; it is made once and kept. */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "addon.h"

#define VALUE_BYTES_MAX 4096
#define PATH_BYTES_MAX 512

struct access {
	char path[PATH_BYTES_MAX];
	char value[VALUE_BYTES_MAX];
	size_t length; /* of value; read: set by the worker */
	bool write;
};

/* Descriptor of our own procfs, -1 with errno. Worker thread only. */
static int own_procfs(void)
{
	static int root = -1;

	if (root >= 0)
		return root;
	int context = fsopen("proc", FSOPEN_CLOEXEC);
	if (context < 0)
		return -1;
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		root = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	int error = errno;
	close(context);
	errno = error;
	return root;
}

static int open_sysctl(const struct access *access)
{
	int flags = (access->write ? O_WRONLY : O_RDONLY) | O_CLOEXEC;
	int fd = open(access->path, flags);

	if (fd >= 0 || errno != EROFS)
		return fd;
	int root = own_procfs();
	return root < 0 ? -1 : openat(root, access->path + strlen("/proc/"), flags);
}

static int access_sysctl(void *arg)
{
	struct access *access = arg;
	int fd = open_sysctl(access);

	if (fd < 0)
		return failed(STEP_OPEN);
	ssize_t bytes = access->write ? write(fd, access->value, access->length)
				      : read(fd, access->value, sizeof(access->value));
	int result = bytes >= 0 ? 0 : failed(STEP_OTHER);
	if (!access->write && bytes >= 0)
		access->length = (size_t)bytes;
	close(fd);
	return result;
}

/* sysctl(netnsFd, path, value or null) -> text read, 0 after a write, or negative. Path checked by sysctl.ts. */
static napi_value sysctl_js(napi_env env, napi_callback_info info)
{
	napi_value argv[3], result;
	int32_t netns_fd;
	size_t length;
	napi_valuetype type;
	struct access access = { 0 };

	if (!get_args(env, info, 3, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &netns_fd));
	CHECK(env, napi_get_value_string_utf8(env, argv[1], access.path, sizeof(access.path), &length));
	CHECK(env, napi_typeof(env, argv[2], &type));
	access.write = type == napi_string;
	if (access.write)
		CHECK(env, napi_get_value_string_utf8(env, argv[2], access.value, sizeof(access.value), &access.length));
	int status = netns_run(netns_fd, access_sysctl, &access);
	if (status < 0 || access.write)
		return number_value(env, status);
	CHECK(env, napi_create_string_utf8(env, access.value, access.length, &result));
	return result;
}

napi_value register_sysctl(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = { METHOD("sysctl", sysctl_js) };

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
