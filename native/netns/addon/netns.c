/* Network namespaces themselves: check a descriptor, make one, remove one, read its cookie. */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addon.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define PATH_BYTES_MAX 4096

static bool path_arg(napi_env env, napi_value value, char *path)
{
	size_t length;

	if (napi_get_value_string_utf8(env, value, path, PATH_BYTES_MAX, &length) == napi_ok)
		return true;
	throw_last_error(env);
	return false;
}

/* isNetns(fd) -> boolean; also marks the descriptor CLOEXEC. */
static napi_value is_netns(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	int32_t fd;

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &fd));
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	CHECK(env, napi_get_boolean(env, ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET, &result));
	return result;
}

/* openPath(path) -> fd or negative. Does not block on a FIFO and does not become a terminal's owner. */
static napi_value open_path(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	char path[PATH_BYTES_MAX];

	if (!get_args(env, info, 1, argv) || !path_arg(env, argv[0], path))
		return NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return number_value(env, fd >= 0 ? fd : failed(STEP_OPEN));
}

/* duplicateFd(fd) -> fd or negative. */
static napi_value duplicate_fd(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t fd;

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &fd));
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return number_value(env, copy >= 0 ? copy : failed(STEP_OTHER));
}

/* Worker thread: a socket only to ask for the cookie of the namespace it is in. */
static int read_cookie(void *arg)
{
	socklen_t length = sizeof(uint64_t);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return failed(STEP_SOCKET);
	int result = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, arg, &length) == 0 ? 0 : failed(STEP_OTHER);
	close(fd);
	return result;
}

/* netnsCookie(netnsFd) -> bigint or negative number. */
static napi_value netns_cookie(napi_env env, napi_callback_info info)
{
	napi_value argv[1], value;
	int32_t netns_fd;
	uint64_t cookie = 0;

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &netns_fd));
	int result = netns_run(netns_fd, read_cookie, &cookie);
	if (result < 0)
		return number_value(env, result);
	CHECK(env, napi_create_bigint_uint64(env, cookie, &value));
	return value;
}

static int loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	int status = ioctl(fd, SIOCSIFFLAGS, &request);
	int error = errno;
	close(fd);
	errno = error;
	return status;
}

/* Worker thread, already inside the new namespace: brings lo up and pins the namespace at the path. */
static int pin_fresh(void *arg)
{
	const char *path = arg;

	if (loopback_up() != 0)
		return failed(STEP_SOCKET);
	int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0)
		return failed(STEP_OPEN);
	close(fd);
	if (mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL) == 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	int result = failed(STEP_MOUNT);
	umount2(path, MNT_DETACH);
	unlink(path);
	return result;
}

/* createNetns(path) -> fd or negative. */
static napi_value create_netns(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	char path[PATH_BYTES_MAX];

	if (!get_args(env, info, 1, argv) || !path_arg(env, argv[0], path))
		return NULL;
	return number_value(env, netns_run(NETNS_FRESH, pin_fresh, path));
}

/* removeNetns(path) -> 0 or negative. Takes away only a mount point or the empty file left by one. */
static napi_value remove_netns(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	char path[PATH_BYTES_MAX];
	struct stat status;

	if (!get_args(env, info, 1, argv) || !path_arg(env, argv[0], path))
		return NULL;
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (errno == ENOENT)
		return number_value(env, 0);
	if (errno != EINVAL || lstat(path, &status) != 0)
		return number_value(env, failed(STEP_MOUNT));
	if (!S_ISREG(status.st_mode) || status.st_size != 0) {
		errno = EINVAL;
		return number_value(env, failed(STEP_MOUNT));
	}
	return number_value(env, unlink(path) == 0 || errno == ENOENT ? 0 : failed(STEP_MOUNT));
}

napi_value register_netns(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("isNetns", is_netns),         METHOD("openPath", open_path),
		METHOD("duplicateFd", duplicate_fd), METHOD("netnsCookie", netns_cookie),
		METHOD("createNetns", create_netns), METHOD("removeNetns", remove_netns),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
