/* Decisions of the outbound hooks, the same for IPv4, IPv6 and v4-mapped destinations. */
#ifndef CULVERT_OUTBOUND_H
#define CULVERT_OUTBOUND_H

#include "capture_maps.h"

enum verdict { VERDICT_PASS, VERDICT_REFUSE, VERDICT_REDIRECT };

struct destination {
	struct capture_address address;
	__u16 port_be;
};

/* The context as 16 bytes; reads are volatile because the verifier refuses merged ones. */
static __always_inline struct capture_address read_ip6(struct bpf_sock_addr *ctx)
{
	volatile __u32 *words = ctx->user_ip6;
	struct capture_address address;

	address.words_be[0] = words[0];
	address.words_be[1] = words[1];
	address.words_be[2] = words[2];
	address.words_be[3] = words[3];
	return address;
}

static __always_inline void write_ip6(struct bpf_sock_addr *ctx, const struct capture_address *address)
{
	volatile __u32 *words = ctx->user_ip6;

	words[0] = address->words_be[0];
	words[1] = address->words_be[1];
	words[2] = address->words_be[2];
	words[3] = address->words_be[3];
}

static __always_inline struct capture_address loopback(bool is_ip4)
{
	if (is_ip4)
		return from_ip4(bpf_htonl(0x7f000001));
	return (struct capture_address){ { 0, 0, 0, bpf_htonl(1) } };
}

/* Keeps where the socket wanted to go; false when there is no memory. */
static __always_inline bool remember(struct bpf_sock_addr *ctx, const struct destination *to, bool is_ip4)
{
	struct bpf_sock *socket = ctx->sk;
	struct original *original;

	if (!socket)
		return false;
	original = bpf_sk_storage_get(&originals, socket, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!original)
		return false;
	original->address = to->address;
	original->port_be = to->port_be;
	original->protocol = (__u8)ctx->protocol;
	original->is_ip4 = is_ip4;
	return true;
}

static __always_inline void forget(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *socket = ctx->sk;

	if (socket)
		bpf_sk_storage_delete(&originals, socket);
}

/* Where a connect() or datagram of an enrolled pod goes. On VERDICT_REDIRECT `to` has been replaced. */
static __always_inline enum verdict redirect_outbound(struct bpf_sock_addr *ctx, struct destination *to)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct pod_config *pod = bpf_map_lookup_elem(&pods, &netns);
	__u32 protocol = ctx->protocol;
	bool is_ip4 = is_mapped(&to->address);
	bool is_dns;

	if (!pod || !(pod->flags & POD_ACTIVE) || is_tunnel_process())
		return VERDICT_PASS;
	if (is_loopback(&to->address) || is_no_host(&to->address) || is_owned_by(&to->address, netns) ||
	    (!is_ip4 && !(pod->flags & POD_IPV6)))
		goto pass;
	is_dns = (pod->flags & POD_DNS) && to->port_be == bpf_htons(DNS_WELL_KNOWN_PORT);
	if (protocol == IPPROTO_UDP && !is_dns)
		goto pass;
	if ((pod->flags & POD_EXCLUSIONS) && protocol != IPPROTO_UDP &&
	    (is_excluded_port(netns, bpf_ntohs(to->port_be), false) || is_excluded_address(netns, &to->address)))
		goto pass;
	if (protocol == IPPROTO_MPTCP_NUMBER)
		goto refuse; /* its subflows would leave by themselves; libraries fall back to TCP */
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		goto pass;
	if (!is_dns && (is_ip4 ? !pod->ip4_be : !pod->ip6_be[0] && !pod->ip6_be[3]))
		goto refuse;
	if (!remember(ctx, to, is_ip4))
		goto refuse;
	if (is_dns) {
		count(COUNT_DNS_CAPTURED);
		to->address = loopback(is_ip4);
		to->port_be = bpf_htons(dns_port);
		return VERDICT_REDIRECT;
	}
	count(COUNT_OUTBOUND_CAPTURED);
	if (is_ip4)
		to->address = from_ip4(pod->ip4_be);
	else
		__builtin_memcpy(to->address.words_be, pod->ip6_be, sizeof(pod->ip6_be));
	to->port_be = bpf_htons(outbound_port);
	return VERDICT_REDIRECT;
pass:
	forget(ctx);
	return VERDICT_PASS;
refuse:
	report(COUNT_OUTBOUND_REFUSED, netns, &to->address, to->port_be, (__u8)protocol);
	return VERDICT_REFUSE;
}

static __always_inline int outbound4(struct bpf_sock_addr *ctx)
{
	struct destination to = { .address = from_ip4(ctx->user_ip4), .port_be = (__u16)ctx->user_port };
	enum verdict verdict = redirect_outbound(ctx, &to);

	if (verdict == VERDICT_REDIRECT) {
		ctx->user_ip4 = to.address.words_be[3];
		ctx->user_port = to.port_be;
	}
	return verdict == VERDICT_REFUSE ? REFUSE : ALLOW;
}

static __always_inline int outbound6(struct bpf_sock_addr *ctx)
{
	struct destination to = { .address = read_ip6(ctx), .port_be = (__u16)ctx->user_port };
	enum verdict verdict = redirect_outbound(ctx, &to);

	if (verdict == VERDICT_REDIRECT) {
		write_ip6(ctx, &to.address);
		ctx->user_port = to.port_be;
	}
	return verdict == VERDICT_REFUSE ? REFUSE : ALLOW;
}

/* What an app is told instead of the tunnel's address: NULL when `shown_port_be` is not the tunnel's. */
static __always_inline struct original *original_of(struct bpf_sock_addr *ctx)
{
	__u16 shown_port = bpf_ntohs((__u16)ctx->user_port);
	struct bpf_sock *socket = ctx->sk;

	if (!socket || (shown_port != outbound_port && shown_port != dns_port) || is_tunnel_process())
		return NULL;
	return bpf_sk_storage_get(&originals, socket, NULL, 0);
}

static __always_inline int show_original4(struct bpf_sock_addr *ctx)
{
	struct original *original = original_of(ctx);

	if (original && original->is_ip4) {
		ctx->user_ip4 = original->address.words_be[3];
		ctx->user_port = original->port_be;
	}
	return ALLOW;
}

/* An IPv6 socket sees IPv4 in its v4-mapped form, which is how it is kept. */
static __always_inline int show_original6(struct bpf_sock_addr *ctx)
{
	struct original *original = original_of(ctx);

	if (original) {
		struct capture_address address = original->address;
		write_ip6(ctx, &address);
		ctx->user_port = original->port_be;
	}
	return ALLOW;
}

#endif
