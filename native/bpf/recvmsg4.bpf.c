/* Answers of the DNS proxy appear to come from the server that was asked. */
#include "outbound.h"

SEC("cgroup/recvmsg4")
int capture_recvmsg4(struct bpf_sock_addr *ctx)
{
	return show_original4(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
