/* Sends unconnected IPv6 datagrams of an enrolled pod to port 53 to the DNS proxy. */
#include "outbound.h"

SEC("cgroup/sendmsg6")
int capture_sendmsg6(struct bpf_sock_addr *ctx)
{
	return outbound6(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
