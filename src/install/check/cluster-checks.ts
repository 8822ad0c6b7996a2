/** Checks of the cluster as a whole: versions, definitions, other meshes, clocks. Pure: objects in, findings out. */
import { shippedKinds } from '../../schema/index.ts';
import type { ApiObject } from '../cluster/cluster.ts';
import { type Finding, fault, info, ok, warning } from './finding.ts';

const MIN_MINOR = 30;
const GATEWAY_CRD = 'gateways.gateway.networking.k8s.io';
const BUNDLE = 'gateway.networking.k8s.io/bundle-version';
const CHANNEL = 'gateway.networking.k8s.io/channel';
const GATEWAY_INSTALL =
  'kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/latest/download/standard-install.yaml';
const MIN_BUNDLE = [1, 1] as const;

/** `v1.36.3`, with or without a suffix of the vendor. */
export function checkVersion(version: string): Finding {
  const [, major = '0', minor = '0'] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  if (Number(major) > 1 || Number(minor) >= MIN_MINOR) return ok(`Kubernetes ${version}`);
  return fault(`Kubernetes ${version} is too old: 1.${MIN_MINOR} or later is needed`);
}

type Definition = ApiObject & {
  readonly spec?: { readonly versions?: readonly { readonly name: string; readonly served: boolean }[] };
};

/** Of the Gateway API: waypoints and gateways need it, everything else does not. */
export function checkGatewayApi(definitions: readonly ApiObject[]): Finding {
  const gateway = definitions.find(({ metadata }) => metadata.name === GATEWAY_CRD) as Definition | undefined;
  if (gateway === undefined) {
    return warning('the Gateway API is not there: waypoints and gateways need it', GATEWAY_INSTALL);
  }
  const bundle = gateway.metadata.annotations?.[BUNDLE] ?? 'unknown';
  const what = `Gateway API ${bundle} (${gateway.metadata.annotations?.[CHANNEL] ?? 'unknown'} channel)`;
  const [, major = '0', minor = '0'] = /^v(\d+)\.(\d+)/.exec(bundle) ?? [];
  const isServed = gateway.spec?.versions?.some(({ name, served }) => name === 'v1' && served) === true;
  const isRecent = Number(major) > MIN_BUNDLE[0] || (Number(major) === MIN_BUNDLE[0] && Number(minor) >= MIN_BUNDLE[1]);
  if (isServed && (isRecent || bundle === 'unknown')) return ok(what);
  return warning(`${what} is too old: v1 of 1.1 or later is needed`, GATEWAY_INSTALL);
}

/** Definitions of Istio's kinds that others installed must serve the versions that are read. */
export function checkIstioDefinitions(definitions: readonly ApiObject[]): readonly Finding[] {
  const findings: Finding[] = [];
  let foreign = 0;
  for (const { plural, group, versions, kind } of shippedKinds()) {
    const there = definitions.find(({ metadata }) => metadata.name === `${plural}.${group}`) as Definition | undefined;
    if (there === undefined || there.metadata.labels?.['app.kubernetes.io/part-of'] === 'culvert') continue;
    foreign += 1;
    const served = new Set((there.spec?.versions ?? []).filter((one) => one.served).map(({ name }) => name));
    if (!versions.some((version) => served.has(version))) {
      findings.push(fault(`${kind}: none of ${versions.join(', ')} is served`, "update Istio's definitions"));
    }
  }
  if (foreign > 0)
    findings.push(info(`${foreign} definitions of Istio's kinds are there already and stay as they are`));
  return findings;
}

/** Programs that capture the same traffic. */
export function checkOtherMeshes(workloads: readonly ApiObject[]): readonly Finding[] {
  return workloads.flatMap(({ kind, metadata: { name, namespace, labels } }) => {
    const isOurs = labels?.['app.kubernetes.io/part-of'] === 'culvert';
    if (!isOurs && ['istiod', 'ztunnel', 'istio-cni-node'].includes(name)) {
      return [fault(`${kind} ${namespace}/${name}: another Istio is installed`, 'istioctl uninstall --purge')];
    }
    if (name.startsWith('linkerd-') || name === 'kuma-control-plane') {
      return [warning(`${kind} ${namespace}/${name}: pods must not be in two meshes`)];
    }
    return [];
  });
}

type Lease = ApiObject & {
  readonly spec?: { readonly renewTime?: string };
  readonly metadata: {
    readonly managedFields?: readonly {
      readonly time?: string;
      readonly fieldsV1?: Readonly<Record<string, unknown>>;
    }[];
  };
};

const WARN_SKEW_S = 30;
/** Certificates are valid from two minutes before they are made. */
const BAD_SKEW_S = 110;

/**
 * A node writes its own time into its lease, and the API server notes when that was, by its clock. Only when the lease
 * has one writer can the two be compared.
 */
export function checkClocks(leases: readonly ApiObject[]): readonly Finding[] {
  let compared = 0;
  const findings = (leases as readonly Lease[]).flatMap(({ metadata, spec }) => {
    const [written] = (metadata.managedFields ?? []).map(({ time }) => Date.parse(time ?? '')).sort((a, b) => b - a);
    const skewS = (Date.parse(spec?.renewTime ?? '') - (written ?? Number.NaN)) / 1_000;
    if (!Number.isFinite(skewS)) return [];
    compared += 1;
    if (Math.abs(skewS) < WARN_SKEW_S) return [];
    const what = `the clock of node ${metadata.name} is ${Math.round(skewS)} s off that of the API server`;
    const fix = 'synchronise it (chrony, systemd-timesyncd): certificates are refused otherwise';
    return [Math.abs(skewS) < BAD_SKEW_S ? warning(what, fix) : fault(what, fix)];
  });
  if (findings.length > 0) return findings;
  return compared > 0 ? [ok(`clocks of ${compared} nodes agree with the API server's`)] : [];
}
