/* An app's getpeername() tells where it wanted to connect, not that the tunnel took the connection. */
#include "outbound.h"

SEC("cgroup/getpeername4")
int capture_getpeername4(struct bpf_sock_addr *ctx)
{
	return show_original4(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
