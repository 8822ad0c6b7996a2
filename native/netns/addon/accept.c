/* Accepts TCP connections and reads the addresses of a socket. JavaScript thread, never blocks. */
#include <netinet/in.h>
#include <unistd.h>
/* After netinet/in.h: it then leaves out what both define. */
#include <linux/netfilter_ipv4.h>

#include "addon.h"

#define IP6T_SO_ORIGINAL_DST 80 /* linux/netfilter_ipv6/ip6_tables.h, whose other content clashes with netinet/in.h */

/* Where the client meant to go before the packet was redirected: IPv4 first, then IPv6. */
static bool original_destination(int fd, struct sockaddr_storage *out)
{
	socklen_t length = sizeof(struct sockaddr_in);

	if (getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, out, &length) == 0)
		return true;
	length = sizeof(struct sockaddr_in6);
	return getsockopt(fd, SOL_IPV6, IP6T_SO_ORIGINAL_DST, out, &length) == 0;
}

static bool transient(int error)
{
	switch (error) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case ENONET:
		return true;
	default:
		return false;
	}
}

/* Takes one connection, passing over those that died in the queue (accept(2): "treat them like EAGAIN by retrying"). */
static int accept_next(int listener, struct sockaddr_storage *remote)
{
	for (int attempt = 0; attempt < 64; attempt++) {
		socklen_t length = sizeof(*remote);
		int fd = accept4(listener, (struct sockaddr *)remote, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0 || !transient(errno))
			return fd;
	}
	errno = EAGAIN;
	return -1;
}

/* acceptTcp(fd) -> [fd, remoteIp, remotePort, localIp, localPort, originalIp?, originalPort?] or negative. */
static napi_value accept_tcp(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result, parts[7];
	int32_t listener;
	uint32_t count = 5;
	struct sockaddr_storage remote, local, original;
	socklen_t length = sizeof(local);

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &listener));
	int fd = accept_next(listener, &remote);
	if (fd < 0)
		return number_value(env, failed(STEP_ACCEPT));
	if (getsockname(fd, (struct sockaddr *)&local, &length) != 0) {
		int error = failed(STEP_ACCEPT);
		close(fd);
		return number_value(env, error);
	}
	bool ok = napi_create_int32(env, fd, &parts[0]) == napi_ok &&
		  address_values(env, &remote, &parts[1], &parts[2]) && address_values(env, &local, &parts[3], &parts[4]);
	if (ok && original_destination(fd, &original)) {
		ok = address_values(env, &original, &parts[5], &parts[6]);
		count = 7;
	}
	ok = ok && napi_create_array_with_length(env, count, &result) == napi_ok;
	for (uint32_t i = 0; ok && i < count; i++)
		ok = napi_set_element(env, result, i, parts[i]) == napi_ok;
	if (ok)
		return result;
	close(fd);
	throw_last_error(env);
	return NULL;
}

/* socketName(fd, peer) -> [ip, port] or negative. */
static napi_value socket_name(napi_env env, napi_callback_info info)
{
	napi_value argv[2], result, ip, port;
	int32_t fd;
	bool peer;
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	if (!get_args(env, info, 2, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &fd));
	CHECK(env, napi_get_value_bool(env, argv[1], &peer));
	int status = peer ? getpeername(fd, (struct sockaddr *)&address, &length)
			  : getsockname(fd, (struct sockaddr *)&address, &length);
	if (status != 0)
		return number_value(env, failed(STEP_OTHER));
	if (!address_values(env, &address, &ip, &port)) {
		throw_last_error(env);
		return NULL;
	}
	CHECK(env, napi_create_array_with_length(env, 2, &result));
	CHECK(env, napi_set_element(env, result, 0, ip));
	CHECK(env, napi_set_element(env, result, 1, port));
	return result;
}

napi_value register_accept(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("acceptTcp", accept_tcp),
		METHOD("socketName", socket_name),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
