/* The maps, defined once for all programs (weak: the linker keeps one), and what every program needs of them. */
#ifndef CULVERT_CAPTURE_MAPS_H
#define CULVERT_CAPTURE_MAPS_H

#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#include "capture.h"

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_MPTCP_NUMBER 262
#define DNS_WELL_KNOWN_PORT 53
#define EVENT_INTERVAL_NS 100000000ULL

/* What a cgroup program returns. */
enum { REFUSE = 0, ALLOW = 1 };

/* Set before load. */
const volatile __u16 outbound_port __weak = 15001;
const volatile __u16 inbound_port __weak = 15006;
const volatile __u16 hbone_port __weak = 15008;
const volatile __u16 dns_port __weak = 15053;
/* Source of kubelet probes after the host rewrote it: 169.254.7.127, fd16:9254:7127:1337:ffff:ffff:ffff:ffff. */
const volatile struct capture_address probe_ip4 __weak = {};
const volatile struct capture_address probe_ip6 __weak = {};

/* Written by the node agent. A miss means "not in the mesh" and passes. Full: enrolment fails. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct pod_config);
} pods __weak SEC(".maps");

/* Written by the node agent, for pods whose owner keeps something out of the mesh. A miss captures. Full: enrolment
 * fails. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct excluded_port);
	__type(value, __u8);
} excluded_ports __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct excluded_range);
	__type(value, __u8);
} excluded_ranges __weak SEC(".maps");

/* Written by the node agent. A miss in a captured namespace means an address the agent does not know: inbound to it is
 * dropped. Full: enrolment fails. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct capture_address);
	__type(value, __u64);
} owners __weak SEC(".maps");

/* Written by the node agent. A miss means "an app". */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u32);
} tunnels __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} current_slot __weak SEC(".maps");

/* Written when a tunnel listens; an entry vanishes with its socket. A miss refuses the connection. Full: the listener is
 * lost, which is counted, and connections are refused. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 16384);
	__type(key, struct listener_key);
	__type(value, __u64);
} listeners __weak SEC(".maps");

/* Written by connect, sendmsg and the tunnel's accept. Freed with the socket. A failed write refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct original);
} originals __weak SEC(".maps");

/* Written before the SYN, taken out when the tunnel has the connection. Old entries make room; a miss leaves the accepted
 * socket without original destination, and the tunnel closes it. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct origin_key);
	__type(value, struct original);
} origins __weak SEC(".maps");

/* Written before the SYN of the tunnel, taken out when its socket closes. A miss captures the connection, which the
 * tunnel then refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tunnel_connection);
	__type(value, __u8);
} tunnel_connections __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters __weak SEC(".maps");

/* When the last event of a reason was sent, to limit their rate. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} event_times __weak SEC(".maps");

/* Read by the node agent. Full: the event is lost, the counter is not. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events __weak SEC(".maps");

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		(*value)++;
}

static __always_inline void report(__u32 reason, __u64 netns, const struct capture_address *address, __u16 port_be,
				   __u8 protocol)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 *last = bpf_map_lookup_elem(&event_times, &reason);
	struct capture_event event = {
		.netns = netns,
		.address = *address,
		.port_be = port_be,
		.reason = (__u8)reason,
		.protocol = protocol,
	};

	count(reason);
	if (!last || now - *last < EVENT_INTERVAL_NS)
		return;
	*last = now;
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
}

static __always_inline struct capture_address from_ip4(__u32 ip4_be)
{
	return (struct capture_address){ { 0, 0, bpf_htonl(0xffff), ip4_be } };
}

static __always_inline bool is_mapped(const struct capture_address *address)
{
	return address->words_be[0] == 0 && address->words_be[1] == 0 && address->words_be[2] == bpf_htonl(0xffff);
}

static __always_inline bool same_address(const struct capture_address *a, const volatile struct capture_address *b)
{
	return a->words_be[0] == b->words_be[0] && a->words_be[1] == b->words_be[1] &&
	       a->words_be[2] == b->words_be[2] && a->words_be[3] == b->words_be[3];
}

/* 127.0.0.0/8 or ::1. */
static __always_inline bool is_loopback(const struct capture_address *address)
{
	if (is_mapped(address))
		return (bpf_ntohl(address->words_be[3]) >> 24) == 127;
	return address->words_be[0] == 0 && address->words_be[1] == 0 && address->words_be[2] == 0 &&
	       address->words_be[3] == bpf_htonl(1);
}

/* 0.0.0.0, ::, or multicast. */
static __always_inline bool is_no_host(const struct capture_address *address)
{
	__u32 last = bpf_ntohl(address->words_be[3]);

	if (is_mapped(address))
		return last == 0 || (last >> 28) == 14;
	return (bpf_ntohl(address->words_be[0]) >> 24) == 0xff ||
	       (address->words_be[0] == 0 && address->words_be[1] == 0 && address->words_be[2] == 0 && last == 0);
}

static __always_inline bool is_excluded_port(__u64 netns, __u32 port, bool inbound)
{
	struct excluded_port key = { .netns = netns, .port = port, .inbound = inbound };

	return bpf_map_lookup_elem(&excluded_ports, &key) != NULL;
}

static __always_inline bool is_excluded_address(__u64 netns, const struct capture_address *address)
{
	struct excluded_range key = { .prefix_bits = 64 + 128, .address = *address };

	key.netns[0] = (__u32)netns;
	key.netns[1] = (__u32)(netns >> 32);
	return bpf_map_lookup_elem(&excluded_ranges, &key) != NULL;
}

static __always_inline bool is_owned_by(const struct capture_address *address, __u64 netns)
{
	__u64 *owner = bpf_map_lookup_elem(&owners, address);

	return owner && *owner == netns;
}

/* Whether the running process is a tunnel. By cgroup, not by SO_MARK: apps may set marks. */
static __always_inline bool is_tunnel_process(void)
{
	__u64 cgroup = bpf_get_current_cgroup_id();

	return bpf_map_lookup_elem(&tunnels, &cgroup) != NULL;
}

#endif
