/* Sockets made inside a namespace: listening TCP, connecting TCP, bound UDP. The system calls run on the worker thread,
 * all in one visit; the descriptor belongs to that namespace for ever. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "addon.h"

#define CONGESTION_NAME_MAX 16

struct request {
	int type;      /* SOCK_STREAM or SOCK_DGRAM */
	int64_t mark;  /* -1: none */
	bool reuse_port, transparent, ipv6_only, no_delay, keepalive;
	int keepalive_time_s, keepalive_interval_s, keepalive_retries, user_timeout_ms;
	int backlog;   /* 0: does not listen */
	char congestion[CONGESTION_NAME_MAX];
	struct sockaddr_storage local, remote;
	socklen_t local_length, remote_length; /* 0: not given */
};

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

static int set_common(int fd, const struct request *r, int family)
{
	uint32_t mark = (uint32_t)r->mark;

	if (r->mark >= 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) != 0)
		return -1;
	if (r->reuse_port && set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0)
		return -1;
	if (family == AF_INET6 && set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, r->ipv6_only) != 0)
		return -1;
	if (!r->transparent)
		return 0;
	if (family == AF_INET)
		return set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1) || set_int(fd, IPPROTO_IP, IP_FREEBIND, 1) ? -1 : 0;
	return set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1) || set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1) ? -1 : 0;
}

static int set_tcp(int fd, const struct request *r)
{
	if (r->no_delay && set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) != 0)
		return -1;
	if (r->keepalive && (set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1) != 0 ||
			     set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, r->keepalive_time_s) != 0 ||
			     set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, r->keepalive_interval_s) != 0 ||
			     set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, r->keepalive_retries) != 0))
		return -1;
	if (r->user_timeout_ms > 0 && set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, r->user_timeout_ms) != 0)
		return -1;
	if (r->congestion[0] != '\0' &&
	    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, r->congestion, strlen(r->congestion)) != 0)
		return -1;
	return 0;
}

/* 0, or the step that failed with errno set. */
static enum step prepare(int fd, const struct request *r, int family)
{
	if (set_common(fd, r, family) != 0 || (r->type == SOCK_STREAM && set_tcp(fd, r) != 0))
		return STEP_SETSOCKOPT;
	if (r->backlog > 0 && set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0)
		return STEP_SETSOCKOPT;
	/* A source address without a port: the port is chosen at connect, when the whole tuple is known. Serves both families. */
	if (r->remote_length && r->local_length)
		set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	if (r->local_length && bind(fd, (const struct sockaddr *)&r->local, r->local_length) != 0)
		return STEP_BIND;
	if (r->backlog > 0 && listen(fd, r->backlog) != 0)
		return STEP_LISTEN;
	if (r->remote_length && connect(fd, (const struct sockaddr *)&r->remote, r->remote_length) != 0 &&
	    errno != EINPROGRESS)
		return STEP_CONNECT;
	return STEP_OTHER;
}

/* Worker thread, or the JavaScript thread for the current namespace. */
static int open_socket(void *arg)
{
	const struct request *r = arg;
	int family = r->remote_length ? r->remote.ss_family : r->local.ss_family;
	int fd = socket(family, r->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return failed(STEP_SOCKET);
	enum step step = prepare(fd, r, family);
	if (step == STEP_OTHER)
		return fd;
	int result = failed(step);
	close(fd);
	return result;
}

static bool read_address(napi_env env, napi_value options, const char *ip_name, const char *port_name,
			 struct sockaddr_storage *out, socklen_t *length)
{
	char ip[INET6_ADDRSTRLEN];

	*length = 0;
	get_text(env, options, ip_name, ip, sizeof(ip));
	if (ip[0] == '\0')
		return true;
	return address_parse(ip, (uint16_t)get_number(env, options, port_name, 0), out, length);
}

/* openSocket(netnsFd, options) -> fd or negative. Checked by tcp-listener.ts, tcp-connect.ts and udp.ts. */
static napi_value open_socket_js(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int32_t netns_fd;
	struct request r = { 0 };

	if (!get_args(env, info, 2, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &netns_fd));
	r.type = get_flag(env, argv[1], "datagram") ? SOCK_DGRAM : SOCK_STREAM;
	r.mark = get_number(env, argv[1], "mark", -1);
	r.reuse_port = get_flag(env, argv[1], "reusePort");
	r.transparent = get_flag(env, argv[1], "transparent");
	r.ipv6_only = get_flag(env, argv[1], "ipv6Only");
	r.no_delay = get_flag(env, argv[1], "noDelay");
	r.keepalive = get_flag(env, argv[1], "keepalive");
	r.keepalive_time_s = (int)get_number(env, argv[1], "keepaliveTimeS", 0);
	r.keepalive_interval_s = (int)get_number(env, argv[1], "keepaliveIntervalS", 0);
	r.keepalive_retries = (int)get_number(env, argv[1], "keepaliveRetries", 0);
	r.user_timeout_ms = (int)get_number(env, argv[1], "userTimeoutMs", 0);
	r.backlog = (int)get_number(env, argv[1], "backlog", 0);
	get_text(env, argv[1], "congestion", r.congestion, sizeof(r.congestion));
	errno = EINVAL;
	if (!read_address(env, argv[1], "localIp", "localPort", &r.local, &r.local_length) ||
	    !read_address(env, argv[1], "remoteIp", "remotePort", &r.remote, &r.remote_length))
		return number_value(env, failed(STEP_OTHER));
	return number_value(env, netns_run(netns_fd, open_socket, &r));
}

napi_value register_socket(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = { METHOD("openSocket", open_socket_js) };

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
