/** Names of kernel constants. Source: linux/bpf.h. */

/** BPF_PROG_TYPE_*. */
export const PROGRAM_TYPES = {
  socket_filter: 1,
  kprobe: 2,
  sched_cls: 3,
  xdp: 6,
  cgroup_skb: 8,
  cgroup_sock: 9,
  sock_ops: 13,
  sk_skb: 14,
  sk_msg: 16,
  cgroup_sock_addr: 18,
  sk_reuseport: 21,
  cgroup_sockopt: 25,
  sk_lookup: 30,
} as const;
export type ProgramType = keyof typeof PROGRAM_TYPES;

/** BPF_MAP_TYPE_*. */
export const MAP_TYPES = {
  hash: 1,
  array: 2,
  prog_array: 3,
  percpu_hash: 5,
  percpu_array: 6,
  lru_hash: 9,
  lru_percpu_hash: 10,
  lpm_trie: 11,
  sockmap: 15,
  sockhash: 18,
  sk_storage: 24,
  ringbuf: 27,
} as const;
export type MapType = keyof typeof MAP_TYPES;

/** BPF_FUNC_* that callers ask for. */
export const HELPERS = {
  map_lookup_elem: 1,
  get_current_cgroup_id: 80,
  sk_storage_get: 107,
  sk_assign: 124,
  get_netns_cookie: 122,
  ringbuf_output: 130,
  set_retval: 187,
} as const;
export type Helper = keyof typeof HELPERS;

/** Attach types (BPF_CGROUP_*, BPF_SK_LOOKUP). */
export const ATTACH_TYPES = {
  cgroup_inet_ingress: 0,
  cgroup_inet_egress: 1,
  cgroup_inet_sock_create: 2,
  cgroup_sock_ops: 3,
  cgroup_inet4_bind: 8,
  cgroup_inet6_bind: 9,
  cgroup_inet4_connect: 10,
  cgroup_inet6_connect: 11,
  cgroup_udp4_sendmsg: 14,
  cgroup_udp6_sendmsg: 15,
  cgroup_udp4_recvmsg: 19,
  cgroup_udp6_recvmsg: 20,
  cgroup_getsockopt: 21,
  cgroup_setsockopt: 22,
  cgroup_inet4_getpeername: 29,
  cgroup_inet6_getpeername: 30,
  sk_lookup: 36,
} as const;
export type AttachType = keyof typeof ATTACH_TYPES;
