/* Policy rules, local routes and addresses of a namespace over rtnetlink. The whole exchange runs on the worker thread,
 * because a netlink socket serves the namespace it was made in. Source: rtnetlink(7), linux/fib_rules.h. */
#include <ifaddrs.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "addon.h"

#define ANSWER_BYTES 4096
#define ADDRESSES_MAX 4096

struct message {
	struct nlmsghdr header;
	union {
		struct rtmsg route;
		struct fib_rule_hdr rule;
	};
	char attributes[256];
};

struct change {
	bool add, rule;
	uint8_t family;
	uint32_t fwmark, mask, table, priority;
};

static void put_u32(struct message *m, uint16_t type, uint32_t value)
{
	struct rtattr *attribute = (struct rtattr *)((char *)m + NLMSG_ALIGN(m->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = RTA_LENGTH(sizeof(value));
	memcpy(RTA_DATA(attribute), &value, sizeof(value));
	m->header.nlmsg_len = NLMSG_ALIGN(m->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

static void build_rule(struct message *m, const struct change *c)
{
	m->header.nlmsg_type = c->add ? RTM_NEWRULE : RTM_DELRULE;
	m->header.nlmsg_len = NLMSG_LENGTH(sizeof(m->rule));
	m->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (c->add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	m->rule.family = c->family;
	m->rule.action = FR_ACT_TO_TBL;
	m->rule.table = c->table < 256 ? (uint8_t)c->table : RT_TABLE_UNSPEC;
	put_u32(m, FRA_PRIORITY, c->priority);
	put_u32(m, FRA_FWMARK, c->fwmark);
	put_u32(m, FRA_FWMASK, c->mask);
	put_u32(m, FRA_TABLE, c->table);
}

static void build_route(struct message *m, const struct change *c, uint32_t loopback)
{
	m->header.nlmsg_type = c->add ? RTM_NEWROUTE : RTM_DELROUTE;
	m->header.nlmsg_len = NLMSG_LENGTH(sizeof(m->route));
	m->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (c->add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
	m->route.rtm_family = c->family;
	m->route.rtm_table = c->table < 256 ? (uint8_t)c->table : RT_TABLE_UNSPEC;
	m->route.rtm_type = RTN_LOCAL;
	m->route.rtm_scope = c->family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
	m->route.rtm_protocol = RTPROT_BOOT;
	put_u32(m, RTA_TABLE, c->table);
	put_u32(m, RTA_OIF, loopback);
}

/* Sends one request and waits for its acknowledgement, one second at most. Returns 0 or -1 with errno. */
static int exchange(int fd, struct message *m)
{
	char answer[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval limit = { .tv_sec = 1 };

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
	    sendto(fd, m, m->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -1;
	ssize_t bytes = recv(fd, answer, sizeof(answer), 0);
	if (bytes < 0)
		return -1;
	const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
	if (!NLMSG_OK(header, (size_t)bytes) || header->nlmsg_type != NLMSG_ERROR ||
	    header->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
		errno = EBADMSG;
		return -1;
	}
	errno = -((const struct nlmsgerr *)NLMSG_DATA(header))->error;
	return errno == 0 ? 0 : -1;
}

/* Adding what is there and deleting what is not are successes. */
static bool already_so(const struct change *c, int error)
{
	if (c->add)
		return error == EEXIST;
	return error == ENOENT || error == ESRCH;
}

static int apply_change(void *arg)
{
	const struct change *c = arg;
	struct message m = { 0 };
	unsigned int loopback = if_nametoindex("lo");

	if (loopback == 0)
		return failed(STEP_NETLINK);
	if (c->rule)
		build_rule(&m, c);
	else
		build_route(&m, c, loopback);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return failed(STEP_SOCKET);
	int result = exchange(fd, &m) == 0 || already_so(c, errno) ? 0 : failed(STEP_NETLINK);
	close(fd);
	return result;
}

/* change(netnsFd, { add, rule, family, fwmark, mask, table, priority }) -> 0 or negative. Checked by route.ts. */
static napi_value change_js(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int32_t netns_fd;

	if (!get_args(env, info, 2, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &netns_fd));
	struct change change = {
		.add = get_flag(env, argv[1], "add"),
		.rule = get_flag(env, argv[1], "rule"),
		.family = get_number(env, argv[1], "family", 4) == 6 ? AF_INET6 : AF_INET,
		.fwmark = (uint32_t)get_number(env, argv[1], "fwmark", 0),
		.mask = (uint32_t)get_number(env, argv[1], "mask", 0),
		.table = (uint32_t)get_number(env, argv[1], "table", 0),
		.priority = (uint32_t)get_number(env, argv[1], "priority", 0),
	};
	return number_value(env, netns_run(netns_fd, apply_change, &change));
}

static int list_addresses(void *arg)
{
	return getifaddrs(arg) == 0 ? 0 : failed(STEP_NETLINK);
}

/* localAddresses(netnsFd) -> array of IP texts, or negative. */
static napi_value local_addresses(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result = NULL, ip, port;
	int32_t netns_fd;
	uint32_t count = 0;
	struct ifaddrs *list = NULL;

	if (!get_args(env, info, 1, argv))
		return NULL;
	CHECK(env, napi_get_value_int32(env, argv[0], &netns_fd));
	int status = netns_run(netns_fd, list_addresses, &list);
	if (status < 0)
		return number_value(env, status);
	bool ok = napi_create_array(env, &result) == napi_ok;
	for (struct ifaddrs *entry = list; ok && entry && count < ADDRESSES_MAX; entry = entry->ifa_next) {
		int family = entry->ifa_addr ? entry->ifa_addr->sa_family : AF_UNSPEC;
		struct sockaddr_storage address = { 0 };

		if (family != AF_INET && family != AF_INET6)
			continue;
		memcpy(&address, entry->ifa_addr,
		       family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		ok = address_values(env, &address, &ip, &port) && napi_set_element(env, result, count++, ip) == napi_ok;
	}
	freeifaddrs(list);
	if (!ok)
		throw_last_error(env);
	return ok ? result : NULL;
}

napi_value register_route(napi_env env, napi_value exports)
{
	const napi_property_descriptor methods[] = {
		METHOD("changeRoute", change_js),
		METHOD("localAddresses", local_addresses),
	};

	DEFINE_METHODS(env, exports, methods);
	return exports;
}
