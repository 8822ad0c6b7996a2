/* Sends unconnected IPv4 datagrams of an enrolled pod to port 53 to the DNS proxy. */
#include "outbound.h"

SEC("cgroup/sendmsg4")
int capture_sendmsg4(struct bpf_sock_addr *ctx)
{
	return outbound4(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
