/* Tunnel side, attached only to the cgroup of a tunnel: registers its listeners, notes the connections it makes
 * to apps so that they are not captured again, and attaches the original destination to the sockets it accepts.
 * There is one program for each of the two slots, because the cgroup of the socket is not known here. */
#include "socket_tuple.h"

static __always_inline void register_listener(struct bpf_sock_ops *ctx, __u16 slot)
{
	struct listener_key key = {
		.netns = bpf_get_netns_cookie(ctx),
		.port = ctx->local_port,
		.family = (__u16)ctx->family,
		.slot = slot,
	};

	if (key.port != inbound_port && key.port != outbound_port)
		return;
	if (bpf_sock_hash_update(ctx, &listeners, &key, BPF_ANY))
		count(COUNT_LISTENER_LOST);
}

static __always_inline struct tunnel_connection connection_of(struct bpf_sock_ops *ctx)
{
	struct capture_address remote = remote_address(ctx);

	return (struct tunnel_connection){
		.netns = bpf_get_netns_cookie(ctx),
		.source = local_address(ctx, &remote),
		.destination = remote,
		.source_port = ctx->local_port,
		.destination_port = remote_port(ctx),
	};
}

/* Only connections to the pod's own addresses can reach its sk_lookup program. The entry lives as long as the socket: the
 * same addresses and ports from outside meet the established connection meanwhile, and are captured afterwards. */
static __always_inline void note_connection(struct bpf_sock_ops *ctx)
{
	struct tunnel_connection connection = connection_of(ctx);
	__u8 present = 1;

	if (!is_owned_by(&connection.destination, connection.netns))
		return;
	if (bpf_map_update_elem(&tunnel_connections, &connection, &present, BPF_ANY) == 0)
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void drop_connection(struct bpf_sock_ops *ctx)
{
	struct tunnel_connection connection = connection_of(ctx);

	bpf_map_delete_elem(&tunnel_connections, &connection);
}

static __always_inline void adopt_origin(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *socket = ctx->sk;
	struct original *found, *kept;

	if (!socket || (ctx->local_port != outbound_port && ctx->local_port != dns_port))
		return;
	struct capture_address remote = remote_address(ctx);
	struct origin_key key = {
		.netns = bpf_get_netns_cookie(ctx),
		.address = remote,
		.port = remote_port(ctx),
	};
	found = bpf_map_lookup_elem(&origins, &key);
	if (!found) {
		count(COUNT_ORIGIN_LOST);
		return;
	}
	kept = bpf_sk_storage_get(&originals, socket, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (kept)
		*kept = *found;
	else
		count(COUNT_ORIGIN_LOST);
	bpf_map_delete_elem(&origins, &key);
}

static __always_inline int on_tunnel_socket(struct bpf_sock_ops *ctx, __u16 slot)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		register_listener(ctx, slot);
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		note_connection(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			drop_connection(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		adopt_origin(ctx);
		break;
	}
	return 1;
}

SEC("sockops")
int capture_tunnel_0(struct bpf_sock_ops *ctx)
{
	return on_tunnel_socket(ctx, 0);
}

SEC("sockops")
int capture_tunnel_1(struct bpf_sock_ops *ctx)
{
	return on_tunnel_socket(ctx, 1);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
