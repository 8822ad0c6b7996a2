/* Sends connect() of an enrolled pod over IPv6, or to a v4-mapped address, to its tunnel or the DNS proxy. */
#include "outbound.h"

SEC("cgroup/connect6")
int capture_connect6(struct bpf_sock_addr *ctx)
{
	return outbound6(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
