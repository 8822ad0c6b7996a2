/* For the tests of the loader: the verifier refuses it, because it writes through a pointer that may be NULL. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

SEC("tc")
int writes_unchecked(struct __sk_buff *packet)
{
	__u32 key = packet->len;
	__u64 *value = bpf_map_lookup_elem(&table, &key);

	*value = 1;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
