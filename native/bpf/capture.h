/* The contract between the capture programs and user space: layout of every map key and value.
 *
 * Addresses are 16 bytes in network order; IPv4 stands in its v4-mapped form (::ffff:a.b.c.d), so that one key serves both
 * families. A field that ends in _be is in network order, all others in host order. Padding is explicit and zero. A network
 * namespace is known by its cookie (SO_NETNS_COOKIE), which the kernel never uses twice.
 * src/bpf/layout.ts builds the same bytes; test/bpf/layout.test.ts compares the two. */
#ifndef CULVERT_CAPTURE_H
#define CULVERT_CAPTURE_H

#include <linux/types.h>

struct capture_address {
	__u32 words_be[4];
};

/* pod_config.flags */
enum {
	POD_ACTIVE = 1,         /* new connections are captured */
	POD_DNS = 2,            /* port 53 goes to the DNS proxy */
	POD_INGRESS_BYPASS = 4, /* inbound is left alone */
	POD_IPV6 = 8,           /* IPv6 is captured as well */
	POD_EXCLUSIONS = 16,    /* excluded_ports or excluded_ranges has entries of the pod */
};

/* pods: netns cookie -> pod_config */
struct pod_config {
	__u32 flags;
	__u32 ip4_be;    /* where outbound IPv4 is sent; 0: the pod has no IPv4, connect() is refused */
	__u32 ip6_be[4]; /* the same for IPv6 */
};

/* excluded_ports: excluded_port -> 1 */
struct excluded_port {
	__u64 netns;
	__u32 port;
	__u32 inbound; /* 0: a destination of the pod, 1: a port of the pod */
};

/* excluded_ranges: excluded_range -> 1, longest prefix. prefix_bits counts those of netns too. */
struct excluded_range {
	__u32 prefix_bits;
	__u32 netns[2]; /* the cookie, in host order */
	struct capture_address address;
};

/* owners: capture_address -> netns cookie */

/* tunnels: cgroup id -> slot (__u32) */

/* listeners: listener_key -> socket */
struct listener_key {
	__u64 netns;
	__u32 port;
	__u16 family; /* AF_INET or AF_INET6 */
	__u16 slot;   /* which of two tunnels */
};

/* originals: per socket. On an app's socket: where it wanted to go. On a socket the tunnel accepted: the same. */
struct original {
	struct capture_address address;
	__u16 port_be;
	__u8 protocol;
	__u8 is_ip4;
};

/* origins: origin_key of the connecting socket -> original; lives from connect() to accept(). */
struct origin_key {
	__u64 netns;
	struct capture_address address;
	__u32 port;
	__u32 padding;
};

/* tunnel_connections: a connection that the tunnel itself makes to the app -> 1 */
struct tunnel_connection {
	__u64 netns;
	struct capture_address source;
	struct capture_address destination;
	__u32 source_port;
	__u32 destination_port;
};

/* current_slot[0]: the slot of the tunnel that joined last (__u32) */

/* counters[counter], per CPU, __u64 */
enum counter {
	COUNT_OUTBOUND_CAPTURED,
	COUNT_OUTBOUND_REFUSED, /* no address to send to, MPTCP, or the original destination could not be kept */
	COUNT_DNS_CAPTURED,     /* connect() or datagram */
	COUNT_INBOUND_CAPTURED,
	COUNT_INBOUND_TUNNEL,   /* the tunnel's own connections to the app */
	COUNT_INBOUND_PROBE,
	COUNT_INBOUND_REFUSED,  /* no listener, unknown address, or a reserved port from outside */
	COUNT_BIND_REFUSED,
	COUNT_ORIGIN_LOST,      /* accepted by the tunnel without a known original destination */
	COUNT_LISTENER_LOST,    /* a listener of the tunnel could not be registered */
	COUNT_MAX,
};

/* events: rare refusals, at most one per reason, CPU and 100 ms */
struct capture_event {
	__u64 netns;
	struct capture_address address; /* the destination, or the address bound */
	__u16 port_be;
	__u8 reason; /* enum counter */
	__u8 protocol;
	__u32 padding;
};

#endif
