/* For the tests of the loader: constants, a hash, a per-CPU array, a ring buffer, a cgroup program and a packet program. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

const volatile __u32 answer = 1;
const volatile __u16 small = 2;
const volatile __u8 bytes[4] = {};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} runs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} ring SEC(".maps");

/* Returns `answer` and sends the packet's length. */
SEC("tc")
int on_packet(struct __sk_buff *packet)
{
	__u32 zero = 0, length = packet->len;
	__u64 *count = bpf_map_lookup_elem(&runs, &zero);

	if (count)
		(*count)++;
	bpf_ringbuf_output(&ring, &length, sizeof(length), 0);
	return answer + small + bytes[0];
}

/* Refuses to make sockets. */
SEC("cgroup/sock_create")
int refuse_sockets(struct bpf_sock *socket)
{
	return 0;
}

/* Allows it. */
SEC("cgroup/sock_create")
int allow_sockets(struct bpf_sock *socket)
{
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
