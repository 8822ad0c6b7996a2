/** Names under which a client's query may be known to the mesh. Names are lower case, without a final dot. */

export interface Alias {
  readonly name: string;
  /** The asked name without a search domain, when this alias came from that. */
  readonly stripped: string | undefined;
}

/** Whether `name` is `domain` or below it, on label boundaries. */
export function hasDomain(name: string, domain: string): boolean {
  return name === domain || name.endsWith(`.${domain}`);
}

/** `name` without `domain` at its end; undefined when it does not end so, or is the domain itself. */
export function trimDomain(name: string, domain: string): string | undefined {
  return domain !== '' && name !== domain && hasDomain(name, domain) ? name.slice(0, -domain.length - 1) : undefined;
}

/** Search domains of a pod in Kubernetes. */
export function kubernetesSearchDomains(namespace: string, clusterDomain: string): readonly string[] {
  return [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
}

/** Full Kubernetes service names that a short name may mean. */
export function toKubernetesNames(name: string, namespace: string, clusterDomain: string): readonly string[] {
  const labels = name.split('.');
  if (labels.includes('')) return [];
  const inCluster = `${name}.${clusterDomain}`;
  const inServices = `${name}.svc.${clusterDomain}`;
  switch (labels.length) {
    case 1:
      return [`${name}.${namespace}.svc.${clusterDomain}`];
    case 2:
      return [inServices, `${name}.${namespace}.svc.${clusterDomain}`];
    case 3:
      return labels[2] === 'svc' ? [inCluster, inServices] : [inServices];
    case 4:
      return labels[3] === 'svc' ? [inCluster] : [];
    default:
      return [];
  }
}

/** Candidates in the order in which they are tried, each once. */
export function aliasesOf(
  name: string,
  {
    namespace,
    clusterDomain,
    searchDomains,
  }: {
    readonly namespace: string;
    readonly clusterDomain: string;
    readonly searchDomains: readonly string[];
  },
): readonly Alias[] {
  const found = new Map<string, Alias>();
  const add = (alias: string, stripped: string | undefined): void => {
    if (!found.has(alias)) found.set(alias, { name: alias, stripped });
  };
  add(name, undefined);
  for (const full of toKubernetesNames(name, namespace, clusterDomain)) add(full, undefined);
  for (const domain of searchDomains) {
    const stripped = trimDomain(name, domain);
    if (stripped === undefined) continue;
    add(stripped, stripped);
    for (const full of toKubernetesNames(stripped, namespace, clusterDomain)) add(full, stripped);
  }
  return [...found.values()];
}

/** The name, then its wildcards, the most specific first: `a.b.c`, `*.b.c`, `*.c`. */
export function* wildcardsOf(name: string): Generator<string> {
  yield name;
  const labels = name.split('.');
  for (let from = 1; from < labels.length; from++) yield `*.${labels.slice(from).join('.')}`;
}
