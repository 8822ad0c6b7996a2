/**
 * ClusterIP services as nftables rules of a node: a new connection to a service's address goes to one of its ready pods
 * by chance, one without ready pods is refused. Established connections are the kernel's and never change.
 * The rules are a value: the same services and pods give the same text.
 */
import { isIPv6 } from 'node:net';
import { findPort, isReady, type Pod, podIps, type Service, type ServicePort, selectPods } from './kinds.ts';

/** One address and port of a service with the places that serve it now. */
export interface ServiceRule {
  readonly ip: string;
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly endpoints: readonly { readonly ip: string; readonly port: number }[];
}

const TABLE = 'culvert-services';

/** All rules of these services, in a fixed order. Headless and selectorless services have none. */
export function serviceRules(services: readonly Service[], pods: readonly Pod[]): readonly ServiceRule[] {
  const rules = services.flatMap((service) => {
    const selected = selectPods(service, pods).filter(isReady);
    return (service.spec?.ports ?? []).flatMap((port) => clusterIps(service).map((ip) => toRule(ip, port, selected)));
  });
  return rules.toSorted((a, b) => ruleKey(a).localeCompare(ruleKey(b)));
}

/** Addresses of a service; empty for a headless one. */
export function clusterIps(service: Service): readonly string[] {
  const { clusterIP, clusterIPs } = service.spec ?? {};
  return (clusterIPs ?? (clusterIP === undefined ? [] : [clusterIP])).filter((ip) => ip !== '' && ip !== 'None');
}

/** A script for `nft -f` that replaces all rules in one transaction. */
export function serviceScript(rules: readonly ServiceRule[]): string {
  return [...familyScript('ip', rules), ...familyScript('ip6', rules), ''].join('\n');
}

function toRule(ip: string, port: ServicePort, pods: readonly Pod[]): ServiceRule {
  const v6 = isIPv6(ip);
  const endpoints = pods.flatMap((pod) => {
    const target = findPort(pod, port.targetPort ?? port.port);
    const podIp = podIps(pod).find((candidate) => isIPv6(candidate) === v6);
    return target === undefined || podIp === undefined ? [] : [{ ip: podIp, port: target }];
  });
  return { ip, protocol: port.protocol === 'UDP' ? 'udp' : 'tcp', port: port.port, endpoints };
}

function ruleKey({ ip, protocol, port }: ServiceRule): string {
  return `${ip} ${protocol} ${port}`;
}

function familyScript(family: 'ip' | 'ip6', all: readonly ServiceRule[]): readonly string[] {
  const rules = all.filter((rule) => isIPv6(rule.ip) === (family === 'ip6'));
  const match = (rule: ServiceRule) => `${family} daddr ${rule.ip} ${rule.protocol} dport ${rule.port}`;
  const served = rules.filter((rule) => rule.endpoints.length > 0);
  const refused = rules.filter((rule) => rule.endpoints.length === 0);
  const pods = [...new Set(served.flatMap((rule) => rule.endpoints.map(({ ip }) => ip)))].sort();
  return [
    `add table ${family} ${TABLE}`,
    `delete table ${family} ${TABLE}`,
    `table ${family} ${TABLE} {`,
    '  chain services {',
    ...served.map((rule) => `    ${match(rule)} ${destination(family, rule)}`),
    '  }',
    '  chain unserved {',
    ...refused.map((rule) => `    ${match(rule)} reject${rule.protocol === 'tcp' ? ' with tcp reset' : ''}`),
    '  }',
    '  chain prerouting { type nat hook prerouting priority -100; jump services; }',
    '  chain output { type nat hook output priority -100; jump services; }',
    '  chain forward { type filter hook forward priority 0; jump unserved; }',
    '  chain local { type filter hook output priority 0; jump unserved; }',
    // A pod that reaches itself through its service must not see its own address as the caller's.
    '  chain postrouting {',
    '    type nat hook postrouting priority 100;',
    ...pods.map((ip) => `    ct status dnat ${family} saddr ${ip} ${family} daddr ${ip} masquerade`),
    '  }',
    '}',
  ];
}

function destination(family: 'ip' | 'ip6', { endpoints }: ServiceRule): string {
  const places = endpoints.map(({ ip, port }, index) => `${index} : ${ip} . ${port}`);
  return `dnat ${family} to numgen random mod ${endpoints.length} map { ${places.join(', ')} }`;
}
