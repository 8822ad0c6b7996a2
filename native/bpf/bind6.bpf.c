/* Keeps apps of an enrolled pod off the tunnel's ports over IPv6 and on dual-stack sockets. */
#include "bind_guard.h"
#include "outbound.h"

SEC("cgroup/bind6")
int capture_bind6(struct bpf_sock_addr *ctx)
{
	struct capture_address address = read_ip6(ctx);

	return guard_bind(ctx, &address);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
