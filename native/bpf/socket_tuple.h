/* Addresses of a socket in a sockops program. */
#ifndef CULVERT_SOCKET_TUPLE_H
#define CULVERT_SOCKET_TUPLE_H

#include "capture_maps.h"

/* Only one word is read at a time: the verifier refuses merged reads. The port is in the upper half in network order. */
static __always_inline struct capture_address remote_address(struct bpf_sock_ops *ctx)
{
	volatile __u32 *words = ctx->remote_ip6;
	struct capture_address address;

	if (ctx->family == AF_INET)
		return from_ip4(ctx->remote_ip4);
	address.words_be[0] = words[0];
	address.words_be[1] = words[1];
	address.words_be[2] = words[2];
	address.words_be[3] = words[3];
	return address;
}

/* Of an IPv6 socket that speaks IPv4, the v6 form of the local address is not known yet while it connects. */
static __always_inline struct capture_address local_address(struct bpf_sock_ops *ctx,
							    const struct capture_address *remote)
{
	volatile __u32 *words = ctx->local_ip6;
	struct capture_address address;

	if (is_mapped(remote))
		return from_ip4(ctx->local_ip4);
	address.words_be[0] = words[0];
	address.words_be[1] = words[1];
	address.words_be[2] = words[2];
	address.words_be[3] = words[3];
	return address;
}

static __always_inline __u32 remote_port(struct bpf_sock_ops *ctx)
{
	return bpf_ntohl(ctx->remote_port);
}

#endif
