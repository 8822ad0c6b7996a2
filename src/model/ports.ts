/** Port numbers that are part of the ambient contract. Source: istio/ztunnel ARCHITECTURE.md. */

/** Captured outbound connections, in every enrolled pod. */
export const OUTBOUND_PORT = 15_001;
/** Captured inbound connections that are not HBONE, in every enrolled pod. */
export const INBOUND_PLAINTEXT_PORT = 15_006;
/** Inbound HBONE, in every enrolled pod. */
export const INBOUND_HBONE_PORT = 15_008;
/** DNS proxy on loopback, in every enrolled pod. */
export const DNS_PORT = 15_053;
export const ADMIN_PORT = 15_000;
export const STATS_PORT = 15_020;
export const READINESS_PORT = 15_021;
/** Control plane: xDS and certificate signing over TLS. */
export const CONTROL_PLANE_PORT = 15_012;

/** Mark of every socket that the tunnel makes in a pod. */
export const TUNNEL_MARK = 0x539;
/** Mark of a tunnel socket that carries a foreign source address; routes the replies back to the tunnel. */
export const SOURCE_PRESERVING_MARK = 0x111;
export const MARK_MASK = 0xfff;
export const REDIRECT_ROUTE_TABLE = 100;
export const REDIRECT_RULE_PRIORITY = 32_764;

/** Ports that no connection through the tunnel may name as its target: it would call the tunnel itself. */
export const ILLEGAL_PORTS: ReadonlySet<number> = new Set([OUTBOUND_PORT, INBOUND_PLAINTEXT_PORT, INBOUND_HBONE_PORT]);
