/* The tunnel's ports in an enrolled pod belong to the tunnel: an app that could listen there, or join the reuseport group,
 * would receive the pod's captured connections. */
#ifndef CULVERT_BIND_GUARD_H
#define CULVERT_BIND_GUARD_H

#include "capture_maps.h"

static __always_inline int guard_bind(struct bpf_sock_addr *ctx, const struct capture_address *address)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	__u16 port_be = (__u16)ctx->user_port;
	__u16 port = bpf_ntohs(port_be);

	if (port != outbound_port && port != inbound_port && port != hbone_port && port != dns_port)
		return ALLOW;
	if (!bpf_map_lookup_elem(&pods, &netns) || is_tunnel_process())
		return ALLOW;
	report(COUNT_BIND_REFUSED, netns, address, port_be, (__u8)ctx->protocol);
	return REFUSE;
}

#endif
