/* Answers of the DNS proxy appear to come from the server that was asked, also on IPv6 sockets that speak IPv4. */
#include "outbound.h"

SEC("cgroup/recvmsg6")
int capture_recvmsg6(struct bpf_sock_addr *ctx)
{
	return show_original6(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
