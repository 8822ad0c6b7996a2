/* An app's getpeername() tells where it wanted to connect, also on IPv6 sockets that speak IPv4. */
#include "outbound.h"

SEC("cgroup/getpeername6")
int capture_getpeername6(struct bpf_sock_addr *ctx)
{
	return show_original6(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
