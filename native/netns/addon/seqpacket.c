/* Unix SOCK_SEQPACKET sockets with one descriptor per packet (SCM_RIGHTS). JavaScript thread; all sockets non-blocking. */
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "addon.h"

#define MESSAGE_BYTES_MAX 1024
#define DESCRIPTORS_MAX 253 /* SCM_MAX_FD of the kernel: room for all, so that every one can be closed */

/* Reads a path argument; false with errno ENAMETOOLONG when it does not fit. */
static bool unix_address(napi_env env, napi_value value, struct sockaddr_un *address)
{
	size_t length = 0;

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	errno = ENAMETOOLONG;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length == 0 ||
	    length >= sizeof(address->sun_path))
		return false;
	return napi_get_value_string_utf8(env, value, address->sun_path, sizeof(address->sun_path), &length) == napi_ok;
}

static int seqpacket_socket(void)
{
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* seqpacketConnect(path) -> fd or negative. A full backlog is EAGAIN. */
static napi_value seqpacket_connect(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct sockaddr_un address;

	if (!get_args(env, info, 1, argv))
		return NULL;
	if (!unix_address(env, argv[0], &address))
		return number_value(env, failed(STEP_CONNECT));
	int fd = seqpacket_socket();
	if (fd < 0)
		return number_value(env, failed(STEP_SOCKET));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return number_value(env, fd);
	int result = failed(STEP_CONNECT);
	close(fd);
	return number_value(env, result);
}

/* seqpacketListen(path, mode, backlog) -> fd or negative. The file never has more permissions than `mode`: the mode of
 * the socket before bind is the upper bound of the file's, chmod then undoes the umask. */
static napi_value seqpacket_listen(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	uint32_t mode;
	int32_t backlog;
	struct sockaddr_un address;

	if (!get_args(env, info, 3, argv))
		return NULL;
	CHECK(env, napi_get_value_uint32(env, argv[1], &mode));
	CHECK(env, napi_get_value_int32(env, argv[2], &backlog));
	if (!unix_address(env, argv[0], &address))
		return number_value(env, failed(STEP_BIND));
	int fd = seqpacket_socket();
	if (fd < 0)
		return number_value(env, failed(STEP_SOCKET));
	if (fchmod(fd, mode) == 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    chmod(address.sun_path, mode) == 0 && listen(fd, backlog) == 0)
		return number_value(env, fd);
	int result = failed(STEP_BIND);
	close(fd);
	return number_value(env, result);
}

/* seqpacketAccept(fd) -> fd or negative. */
static napi_value seqpacket_accept(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t listener;

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &listener));
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return number_value(env, fd >= 0 ? fd : failed(STEP_ACCEPT));
}

/* peerCredentials(fd) -> [pid, uid, gid] or negative. */
static napi_value peer_credentials(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	int32_t fd;
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &fd));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return number_value(env, failed(STEP_OTHER));
	const int64_t parts[] = { peer.pid, peer.uid, peer.gid };
	CHECK(env, napi_create_array_with_length(env, 3, &result));
	for (uint32_t i = 0; i < 3; i++)
		CHECK(env, napi_set_element(env, result, i, number_value(env, parts[i])));
	return result;
}

/* seqpacketSend(fd, data, passFd) -> 0 or negative; passFd -1 for none. */
static napi_value seqpacket_send(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	int32_t fd, pass_fd;
	struct iovec part;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (!get_args(env, info, 3, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &fd));
	CHECK(env, napi_get_buffer_info(env, argv[1], &part.iov_base, &part.iov_len));
	CHECK(env, napi_get_value_int32(env, argv[2], &pass_fd));
	if (pass_fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &pass_fd, sizeof(int));
	}
	return number_value(env, sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ? 0 : failed(STEP_OTHER));
}

/* Collects the descriptors of a message. */
static int received_fds(struct msghdr *message, int *fds)
{
	int count = 0;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		int here = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (int i = 0; i < here && count < DESCRIPTORS_MAX; i++)
			memcpy(&fds[count++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
	}
	return count;
}

/* seqpacketReceive(fd, buffer) -> [bytes, fd or -1, number of descriptors, truncated] or negative. A message that is
 * truncated or carries more than one descriptor has all of them closed here. */
static napi_value seqpacket_receive(napi_env env, napi_callback_info info)
{
	napi_value argv[2], result;
	int32_t fd;
	int fds[DESCRIPTORS_MAX];
	struct iovec part;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
				  .msg_controllen = sizeof(control.bytes) };

	if (!get_args(env, info, 2, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &fd));
	CHECK(env, napi_get_buffer_info(env, argv[1], &part.iov_base, &part.iov_len));
	if (part.iov_len > MESSAGE_BYTES_MAX)
		part.iov_len = MESSAGE_BYTES_MAX;
	CHECK(env, napi_create_array_with_length(env, 4, &result)); /* before descriptors arrive: none can be lost */
	ssize_t bytes = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (bytes < 0)
		return number_value(env, failed(STEP_OTHER));
	int count = received_fds(&message, fds);
	bool truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
	int kept = count == 1 && !truncated && bytes > 0 ? fds[0] : -1;
	for (int i = 0; i < count && kept < 0; i++)
		close(fds[i]);
	const int64_t parts[] = { bytes, kept, count, truncated };
	for (uint32_t i = 0; i < 4; i++) {
		if (napi_set_element(env, result, i, number_value(env, parts[i])) == napi_ok)
			continue;
		if (kept >= 0)
			close(kept);
		throw_last_error(env);
		return NULL;
	}
	return result;
}

napi_value register_seqpacket(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("seqpacketConnect", seqpacket_connect), METHOD("seqpacketListen", seqpacket_listen),
		METHOD("seqpacketAccept", seqpacket_accept),   METHOD("peerCredentials", peer_credentials),
		METHOD("seqpacketSend", seqpacket_send),       METHOD("seqpacketReceive", seqpacket_receive),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
