/* Keeps apps of an enrolled pod off the tunnel's ports over IPv4. */
#include "bind_guard.h"

SEC("cgroup/bind4")
int capture_bind4(struct bpf_sock_addr *ctx)
{
	struct capture_address address = from_ip4(ctx->user_ip4);

	return guard_bind(ctx, &address);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
