/* The TCP sockets of a namespace, and their end, over NETLINK_SOCK_DIAG. The whole exchange runs on the worker thread,
 * because a netlink socket serves the namespace it was made in. Source: sock_diag(7), linux/inet_diag.h. */
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "addon.h"

#define ANSWER_BYTES 32768
/* More than a pod has; a table that is longer is refused rather than cut. */
#define SOCKETS_MAX 262144
#define ALL_STATES 0xffffffffU

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

struct found {
	struct inet_diag_msg message;
	uint32_t mark;
};

struct table {
	struct found *list;
	size_t count, room;
};

struct target {
	uint8_t family;
	struct inet_diag_sockid id;
};

static int open_diag(void)
{
	struct timeval limit = { .tv_sec = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static int send_request(int fd, uint16_t type, uint16_t flags, struct inet_diag_req_v2 body)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct request request = {
		.header = { .nlmsg_len = sizeof(request), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags },
		.body = body,
	};

	return sendto(fd, &request, sizeof(request), 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0 ? -1 : 0;
}

static int keep(struct table *table, const struct nlmsghdr *header)
{
	if (header->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg))) {
		errno = EBADMSG;
		return -1;
	}
	if (table->count == table->room) {
		size_t room = table->room ? table->room * 2 : 256;
		struct found *list = room > SOCKETS_MAX ? NULL : realloc(table->list, room * sizeof(*list));

		if (!list) {
			errno = ENOBUFS;
			return -1;
		}
		table->list = list;
		table->room = room;
	}
	const struct inet_diag_msg *message = NLMSG_DATA(header);
	struct found *found = &table->list[table->count++];
	int left = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*message)));

	*found = (struct found){ .message = *message };
	for (const struct rtattr *a = (const struct rtattr *)(message + 1); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == INET_DIAG_MARK && RTA_PAYLOAD(a) >= sizeof(found->mark))
			memcpy(&found->mark, RTA_DATA(a), sizeof(found->mark));
	return 0;
}

/* The error that a NLMSG_ERROR or NLMSG_DONE message carries, 0 for none. */
static int carried_error(const struct nlmsghdr *header)
{
	int error = 0;

	if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(error)))
		memcpy(&error, NLMSG_DATA(header), sizeof(error));
	return -error;
}

/* Reads the answer to a dump until its end. Returns 0 or -1 with errno. */
static int read_dump(int fd, struct table *table)
{
	static _Thread_local char answer[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));

	for (;;) {
		ssize_t bytes = recv(fd, answer, sizeof(answer), 0);
		if (bytes <= 0)
			return -1;
		size_t left = (size_t)bytes;
		for (struct nlmsghdr *h = (struct nlmsghdr *)answer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
				errno = carried_error(h);
				return errno == 0 ? 0 : -1;
			}
			if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && keep(table, h) != 0)
				return -1;
		}
	}
}

static int list_sockets(void *arg)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	int fd = open_diag(), result = 0;

	if (fd < 0)
		return failed(STEP_SOCKET);
	for (size_t i = 0; i < sizeof(families) && result == 0; i++) {
		struct inet_diag_req_v2 body = {
			.sdiag_family = families[i],
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = ALL_STATES,
		};
		if (send_request(fd, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body) != 0 || read_dump(fd, arg) != 0)
			result = errno == ENOENT && families[i] == AF_INET6 ? 0 : failed(STEP_NETLINK);
	}
	close(fd);
	return result;
}

static void to_address(const struct inet_diag_msg *message, bool remote, struct sockaddr_storage *out)
{
	const void *ip = remote ? message->id.idiag_dst : message->id.idiag_src;
	uint16_t port = remote ? message->id.idiag_dport : message->id.idiag_sport;

	memset(out, 0, sizeof(*out));
	out->ss_family = message->idiag_family;
	if (message->idiag_family == AF_INET) {
		((struct sockaddr_in *)out)->sin_port = port;
		memcpy(&((struct sockaddr_in *)out)->sin_addr, ip, 4);
	} else {
		((struct sockaddr_in6 *)out)->sin6_port = port;
		memcpy(&((struct sockaddr_in6 *)out)->sin6_addr, ip, 16);
	}
}

/* [state, localIp, localPort, remoteIp, remotePort, mark, id]; the id is a buffer only destroyTcpSocket reads. */
static bool socket_value(napi_env env, const struct found *found, napi_value *result)
{
	struct sockaddr_storage address;
	struct target target = { .family = found->message.idiag_family, .id = found->message.id };
	napi_value parts[7];
	void *copy;

	to_address(&found->message, false, &address);
	if (napi_create_uint32(env, found->message.idiag_state, &parts[0]) != napi_ok ||
	    !address_values(env, &address, &parts[1], &parts[2]))
		return false;
	to_address(&found->message, true, &address);
	if (!address_values(env, &address, &parts[3], &parts[4]) ||
	    napi_create_uint32(env, found->mark, &parts[5]) != napi_ok ||
	    napi_create_buffer_copy(env, sizeof(target), &target, &copy, &parts[6]) != napi_ok ||
	    napi_create_array_with_length(env, 7, result) != napi_ok)
		return false;
	for (uint32_t i = 0; i < 7; i++)
		if (napi_set_element(env, *result, i, parts[i]) != napi_ok)
			return false;
	return true;
}

/* tcpSockets(netnsFd) -> array, or negative. */
static napi_value tcp_sockets(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result = NULL;
	int32_t netns_fd;
	struct table table = { 0 };

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &netns_fd));
	int status = netns_run(netns_fd, list_sockets, &table);
	if (status < 0) {
		free(table.list);
		return number_value(env, status);
	}
	bool ok = napi_create_array_with_length(env, table.count, &result) == napi_ok;
	for (size_t i = 0; ok && i < table.count; i++) {
		napi_handle_scope scope;
		napi_value entry;

		ok = napi_open_handle_scope(env, &scope) == napi_ok;
		ok = ok && socket_value(env, &table.list[i], &entry) &&
		     napi_set_element(env, result, (uint32_t)i, entry) == napi_ok;
		ok = napi_close_handle_scope(env, scope) == napi_ok && ok;
	}
	free(table.list);
	if (!ok)
		throw_last_error(env);
	return ok ? result : NULL;
}

/* Worker thread: the id carries the socket's cookie, so that no other socket of these addresses is met. */
static int destroy_socket(void *arg)
{
	const struct target *target = arg;
	struct inet_diag_req_v2 body = {
		.sdiag_family = target->family,
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = ALL_STATES,
		.id = target->id,
	};
	struct table none = { 0 };
	int fd = open_diag(), result = 0;

	if (fd < 0)
		return failed(STEP_SOCKET);
	if (send_request(fd, SOCK_DESTROY, NLM_F_ACK, body) != 0 || read_dump(fd, &none) != 0)
		result = errno == ENOENT || errno == ESTALE ? 0 : failed(STEP_NETLINK); /* it has ended by itself */
	close(fd);
	free(none.list);
	return result;
}

/* destroyTcpSocket(netnsFd, id) -> 0 or negative. */
static napi_value destroy_tcp_socket(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int32_t netns_fd;
	struct target target;
	void *bytes;
	size_t length;

	if (!get_args(env, info, 2, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &netns_fd));
	CHECK(env, napi_get_buffer_info(env, argv[1], &bytes, &length));
	if (length != sizeof(target)) {
		napi_throw_type_error(env, NULL, "not the id of a socket");
		return NULL;
	}
	memcpy(&target, bytes, sizeof(target));
	return number_value(env, netns_run(netns_fd, destroy_socket, &target));
}

napi_value register_diag(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("tcpSockets", tcp_sockets),
		METHOD("destroyTcpSocket", destroy_tcp_socket),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
