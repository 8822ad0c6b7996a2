/* Answers SO_ORIGINAL_DST on sockets that a tunnel accepted on its outbound port, as netfilter's REDIRECT would. Attached
 * only to the cgroup of a tunnel. Sockets without a kept destination get the kernel's own answer. */
#include "capture_maps.h"

enum { LEVEL_IP = 0, LEVEL_IPV6 = 41, ORIGINAL_DST = 80 };

/* struct sockaddr_in and sockaddr_in6, which the UAPI headers for BPF do not bring together. */
struct address4 {
	__u16 family;
	__u16 port_be;
	__u32 ip_be;
	__u64 zero;
};
struct address6 {
	__u16 family;
	__u16 port_be;
	__u32 flow;
	__u32 ip_be[4];
	__u32 scope;
};

/* Volatile, because the verifier refuses one store to both fields. */
static __always_inline int answer(struct bpf_sockopt *ctx, __s32 length)
{
	*(volatile __s32 *)&ctx->optlen = length;
	*(volatile __s32 *)&ctx->retval = 0;
	return ALLOW;
}

SEC("cgroup/getsockopt")
int capture_getsockopt(struct bpf_sockopt *ctx)
{
	struct bpf_sock *socket = ctx->sk;
	void *value = ctx->optval, *end = ctx->optval_end;
	struct original *original;

	if (ctx->optname != ORIGINAL_DST || (ctx->level != LEVEL_IP && ctx->level != LEVEL_IPV6) || !socket) {
		if (ctx->optlen > 4096) /* more than the kernel hands over: leave it as it is */
			*(volatile __s32 *)&ctx->optlen = 0;
		return ALLOW;
	}
	original = bpf_sk_storage_get(&originals, socket, NULL, 0);
	if (!original)
		return ALLOW;
	if (ctx->level == LEVEL_IP && original->is_ip4 && value + sizeof(struct address4) <= end) {
		struct address4 *out = value;
		out->family = AF_INET;
		out->port_be = original->port_be;
		out->ip_be = original->address.words_be[3];
		out->zero = 0;
		return answer(ctx, sizeof(*out));
	}
	if (ctx->level == LEVEL_IPV6 && !original->is_ip4 && value + sizeof(struct address6) <= end) {
		struct address6 *out = value;
		out->family = AF_INET6;
		out->port_be = original->port_be;
		out->flow = 0;
		out->ip_be[0] = original->address.words_be[0];
		out->ip_be[1] = original->address.words_be[1];
		out->ip_be[2] = original->address.words_be[2];
		out->ip_be[3] = original->address.words_be[3];
		out->scope = 0;
		return answer(ctx, sizeof(*out));
	}
	return ALLOW;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
