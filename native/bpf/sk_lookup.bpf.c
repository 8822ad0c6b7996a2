/* Brings new TCP connections from outside to the pod's inbound listener, whatever port they ask for. Attached to the
 * network namespace of each enrolled pod. Established connections never come here.
 * Fail closed: with no listener, or for an address that the agent does not know, the connection is refused. */
#include "capture_maps.h"

/* The listener of that key; one that cannot serve the family (v6-only, for IPv4) counts as absent. */
static __always_inline bool assign(struct bpf_sk_lookup *ctx, struct listener_key key)
{
	struct bpf_sock *listener = bpf_map_lookup_elem(&listeners, &key);
	long failed;

	if (!listener)
		return false;
	failed = bpf_sk_assign(ctx, listener, BPF_SK_LOOKUP_F_NO_REUSEPORT);
	bpf_sk_release(listener);
	return !failed;
}

static __always_inline bool assign_slot(struct bpf_sk_lookup *ctx, __u64 netns, __u16 port, __u16 slot)
{
	struct listener_key key = { .netns = netns, .port = port, .family = AF_INET6, .slot = slot };

	if (assign(ctx, key))
		return true;
	key.family = AF_INET;
	return ctx->family == AF_INET && assign(ctx, key);
}

/* The tunnel that joined last, else the other one. */
static __always_inline bool assign_tunnel(struct bpf_sk_lookup *ctx, __u64 netns, __u16 port)
{
	__u32 first = 0;
	__u32 *slot = bpf_map_lookup_elem(&current_slot, &first);
	__u16 current = slot ? *slot & 1 : 0;

	return assign_slot(ctx, netns, port, current) || assign_slot(ctx, netns, port, !current);
}

static __always_inline struct capture_address from_words(volatile __u32 *words)
{
	struct capture_address address;

	address.words_be[0] = words[0];
	address.words_be[1] = words[1];
	address.words_be[2] = words[2];
	address.words_be[3] = words[3];
	return address;
}

SEC("sk_lookup")
int capture_inbound(struct bpf_sk_lookup *ctx)
{
	bool is_ip4 = ctx->family == AF_INET;
	__u16 port = (__u16)ctx->local_port;

	if (ctx->protocol != IPPROTO_TCP || port == hbone_port)
		return SK_PASS;
	struct capture_address local = is_ip4 ? from_ip4(ctx->local_ip4) : from_words(ctx->local_ip6);
	struct capture_address remote = is_ip4 ? from_ip4(ctx->remote_ip4) : from_words(ctx->remote_ip6);
	if (is_loopback(&local) || (same_address(&remote, &local) && port != outbound_port))
		return SK_PASS;
	__u64 *owner = bpf_map_lookup_elem(&owners, &local);
	if (!owner) {
		report(COUNT_INBOUND_REFUSED, 0, &local, bpf_htons(port), IPPROTO_TCP);
		return SK_DROP;
	}
	__u64 netns = *owner;
	if (is_owned_by(&remote, netns)) {
		if (port == outbound_port)
			assign_tunnel(ctx, netns, port); /* with none, the kernel finds none either and refuses */
		return SK_PASS;
	}
	struct pod_config *pod = bpf_map_lookup_elem(&pods, &netns);
	if (pod && (!(pod->flags & POD_ACTIVE) || (!is_ip4 && !(pod->flags & POD_IPV6))))
		return SK_PASS;
	if (!pod || port == outbound_port || port == inbound_port || port == dns_port)
		goto refuse;
	if (same_address(&remote, &probe_ip4) || same_address(&remote, &probe_ip6)) {
		count(COUNT_INBOUND_PROBE);
		return SK_PASS;
	}
	if (pod->flags & POD_INGRESS_BYPASS)
		return SK_PASS;
	if ((pod->flags & POD_EXCLUSIONS) && is_excluded_port(netns, port, true))
		return SK_PASS;
	struct tunnel_connection connection = {
		.netns = netns,
		.source = remote,
		.destination = local,
		.source_port = bpf_ntohs((__u16)ctx->remote_port),
		.destination_port = port,
	};
	if (bpf_map_lookup_elem(&tunnel_connections, &connection)) {
		count(COUNT_INBOUND_TUNNEL);
		return SK_PASS;
	}
	if (assign_tunnel(ctx, netns, inbound_port)) {
		count(COUNT_INBOUND_CAPTURED);
		return SK_PASS;
	}
refuse:
	report(COUNT_INBOUND_REFUSED, netns, &local, bpf_htons(port), IPPROTO_TCP);
	return SK_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
