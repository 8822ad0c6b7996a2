/* App side of a captured connection: before its SYN leaves, publishes where the app wanted to go under the address that
 * the tunnel will see as its peer. */
#include "socket_tuple.h"

SEC("sockops")
int capture_app(struct bpf_sock_ops *ctx)
{
	struct original *original;
	struct bpf_sock *socket;

	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB)
		return 1;
	socket = ctx->sk;
	if (!socket)
		return 1;
	original = bpf_sk_storage_get(&originals, socket, NULL, 0);
	if (!original || (remote_port(ctx) != outbound_port && remote_port(ctx) != dns_port))
		return 1;
	struct capture_address remote = remote_address(ctx);
	struct origin_key key = {
		.netns = bpf_get_netns_cookie(ctx),
		.address = local_address(ctx, &remote),
		.port = ctx->local_port,
	};
	struct original copy = *original;
	bpf_map_update_elem(&origins, &key, &copy, BPF_ANY); /* on failure the tunnel finds no destination and closes */
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
