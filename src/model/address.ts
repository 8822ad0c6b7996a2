/** Addresses as plain data. IP addresses are canonical text (`10.0.0.1`, `fd00::1`), IPv4-mapped ones already as IPv4. */

/** An IP address with a port. */
export interface IpPort {
  readonly ip: string;
  readonly port: number;
}

/** A host name or an IP address, with a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** An IP address in a network; `network` is empty for the default one. */
export interface NetworkAddress {
  readonly network: string;
  readonly ip: string;
}

/** A block of addresses. Host bits of `ip` are ignored. */
export interface IpRange {
  readonly ip: string;
  readonly prefixLength: number;
}

export interface NamespacedName {
  readonly namespace: string;
  readonly name: string;
}

export interface NamespacedHostname {
  readonly namespace: string;
  readonly hostname: string;
}
