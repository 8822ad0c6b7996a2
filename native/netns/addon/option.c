/* Options and counters of an open socket, by descriptor. JavaScript thread, never blocks. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "addon.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static bool fd_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv, int32_t *fd)
{
	if (!get_args(env, info, count, argv))
		return false;
	if (napi_get_value_int32(env, argv[0], fd) == napi_ok)
		return true;
	throw_last_error(env);
	return false;
}

/* setOption(fd, level, name, value) -> 0 or negative. The few numbers used stand in socket-option.ts. */
static napi_value set_option(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	int32_t fd, level, name;
	uint32_t value;

	if (!fd_args(env, info, 4, argv, &fd))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[1], &level));
	CHECK(env, napi_get_value_int32(env, argv[2], &name));
	CHECK(env, napi_get_value_uint32(env, argv[3], &value));
	return number_value(env, setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : failed(STEP_SETSOCKOPT));
}

/* socketError(fd) -> 0 or the negative result of the pending error, which is cleared. */
static napi_value socket_error(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t fd;
	int pending = 0;
	socklen_t length = sizeof(pending);

	if (!fd_args(env, info, 1, argv, &fd))
		return NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &length) != 0)
		return number_value(env, failed(STEP_OTHER));
	errno = pending;
	return number_value(env, pending == 0 ? 0 : failed(STEP_CONNECT));
}

/* resetOnClose(fd) -> 0 or negative: SO_LINGER 0, so that the last close sends RST. */
static napi_value reset_on_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t fd;
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	if (!fd_args(env, info, 1, argv, &fd))
		return NULL;
	return number_value(env, setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0
					 ? 0
					 : failed(STEP_SETSOCKOPT));
}

/* leaveGroup(fd) -> 0 or negative: connects a UDP socket to the discard port of loopback, which sends nothing. A connected
 * socket is no longer chosen for datagrams of others; those that wait in its queue stay readable. */
static napi_value leave_group(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t fd;
	struct sockaddr_storage local, nowhere;
	socklen_t length = sizeof(local);

	if (!fd_args(env, info, 1, argv, &fd))
		return NULL;
	if (getsockname(fd, (struct sockaddr *)&local, &length) != 0)
		return number_value(env, failed(STEP_OTHER));
	address_parse(local.ss_family == AF_INET6 ? "::1" : "127.0.0.1", 9, &nowhere, &length);
	return number_value(env, connect(fd, (struct sockaddr *)&nowhere, length) == 0 ? 0 : failed(STEP_CONNECT));
}

/* cookie(fd, ofNetns) -> bigint or negative number: SO_COOKIE or SO_NETNS_COOKIE. */
static napi_value cookie(napi_env env, napi_callback_info info)
{
	napi_value argv[2], result;
	int32_t fd;
	bool of_netns;
	uint64_t value;
	socklen_t length = sizeof(value);

	if (!fd_args(env, info, 2, argv, &fd))
		return NULL;
	CHECK(env, napi_get_value_bool(env, argv[1], &of_netns));
	if (getsockopt(fd, SOL_SOCKET, of_netns ? SO_NETNS_COOKIE : SO_COOKIE, &value, &length) != 0)
		return number_value(env, failed(STEP_OTHER));
	CHECK(env, napi_create_bigint_uint64(env, value, &result));
	return result;
}

/* tcpInfo(fd) -> [state, retransmits, rttUs, bytesAcked, bytesReceived] or negative. */
static napi_value tcp_info_js(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result, parts[5];
	int32_t fd;
	struct tcp_info tcp;
	socklen_t length = sizeof(tcp);

	if (!fd_args(env, info, 1, argv, &fd))
		return NULL;
	memset(&tcp, 0, sizeof(tcp));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &tcp, &length) != 0)
		return number_value(env, failed(STEP_OTHER));
	CHECK(env, napi_create_uint32(env, tcp.tcpi_state, &parts[0]));
	CHECK(env, napi_create_uint32(env, tcp.tcpi_total_retrans, &parts[1]));
	CHECK(env, napi_create_uint32(env, tcp.tcpi_rtt, &parts[2]));
	CHECK(env, napi_create_bigint_uint64(env, tcp.tcpi_bytes_acked, &parts[3]));
	CHECK(env, napi_create_bigint_uint64(env, tcp.tcpi_bytes_received, &parts[4]));
	CHECK(env, napi_create_array_with_length(env, 5, &result));
	for (uint32_t i = 0; i < 5; i++)
		CHECK(env, napi_set_element(env, result, i, parts[i]));
	return result;
}

/* closeFd(fd) -> 0 or negative. Linux frees the descriptor even when close reports EINTR or EIO. */
static napi_value close_fd(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t fd;

	if (!fd_args(env, info, 1, argv, &fd))
		return NULL;
	return number_value(env, close(fd) == 0 || errno != EBADF ? 0 : failed(STEP_OTHER));
}

napi_value register_option(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("setOption", set_option), METHOD("socketError", socket_error),
		METHOD("resetOnClose", reset_on_close), METHOD("leaveGroup", leave_group), METHOD("cookie", cookie),
		METHOD("tcpInfo", tcp_info_js), METHOD("closeFd", close_fd),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
