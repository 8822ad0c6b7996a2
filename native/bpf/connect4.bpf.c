/* Sends connect() of an enrolled pod over IPv4 to its tunnel, and TCP and UDP to port 53 to the DNS proxy. */
#include "outbound.h"

SEC("cgroup/connect4")
int capture_connect4(struct bpf_sock_addr *ctx)
{
	return outbound4(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
