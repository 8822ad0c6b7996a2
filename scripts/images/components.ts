/** What goes into each image: Debian files, the program and how it is started. */

/** Files of a Debian package, as paths or folders (ending in `/`) below its root; its copyright file always comes along. */
export interface PackageFiles {
  readonly package: string;
  readonly files: readonly string[];
}

export interface Component {
  /** Last part of the image's name; Istio's names. */
  readonly name: string;
  readonly title: string;
  /** Subcommand of `culvert`. */
  readonly command: string;
  /** uid:gid. The DaemonSets say what they need themselves. */
  readonly user: string;
  readonly ports: readonly string[];
  readonly tools: readonly PackageFiles[];
  /** Symbolic links beside the files of packages: path to target. */
  readonly links: Readonly<Record<string, string>>;
  /** Programs that must start inside the image. */
  readonly trials: readonly (readonly string[])[];
  /** Environment with which the program loads everything, finds its configuration wanting and ends with 1. */
  readonly loadEnv: Readonly<Record<string, string>>;
}

const TRIPLETS: Readonly<Record<string, string>> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };
const LOADERS: Readonly<Record<string, string>> = { x64: 'ld-linux-x86-64.so.2', arm64: 'ld-linux-aarch64.so.1' };
const triplet = TRIPLETS[process.arch] ?? process.arch;

/** Shared libraries by the start of their file names. */
function libraries(name: string, ...prefixes: readonly string[]): PackageFiles {
  return { package: name, files: prefixes.map((prefix) => `usr/lib/${triplet}/${prefix}*`) };
}

/** What Node.js needs. */
export const BASE_PACKAGES: readonly PackageFiles[] = [
  {
    package: 'libc6',
    files: [
      ...[`usr/lib64/${LOADERS[process.arch]}`, `usr/lib/${LOADERS[process.arch]}`],
      ...['libc.so', 'libm.so', 'libdl.so', 'libpthread.so', 'librt.so', 'libresolv.so', 'libnss_', 'libutil.so'].map(
        (prefix) => `usr/lib/${triplet}/${prefix}*`,
      ),
      `usr/lib/${triplet}/ld-linux*`,
    ],
  },
  libraries('libgcc-s1', 'libgcc_s.so'),
  libraries('libstdc++6', 'libstdc++.so'),
  libraries('libatomic1', 'libatomic.so'),
  { package: 'ca-certificates', files: ['usr/share/ca-certificates/mozilla/'] },
  { package: 'netbase', files: ['etc/protocols', 'etc/services'] },
];

/** What the agent runs, and the libraries of that. */
const AGENT_TOOLS: readonly PackageFiles[] = [
  libraries('libbpf1', 'libbpf.so'),
  libraries('libelf1', 'libelf'),
  libraries('zlib1g', 'libz.so'),
  { package: 'nftables', files: ['usr/sbin/nft'] },
  libraries('libnftables1', 'libnftables.so'),
  libraries('libnftnl11', 'libnftnl.so'),
  libraries('libmnl0', 'libmnl.so'),
  libraries('libjansson4', 'libjansson.so'),
  libraries('libgmp10', 'libgmp.so'),
  libraries('libedit2', 'libedit.so'),
  libraries('libtinfo6', 'libtinfo.so'),
  libraries('libbsd0', 'libbsd.so'),
  libraries('libmd0', 'libmd.so'),
  {
    package: 'iptables',
    files: ['usr/sbin/iptables-*', 'usr/sbin/ip6tables-*', 'usr/sbin/xtables-*', `usr/lib/${triplet}/xtables/`],
  },
  libraries('libxtables12', 'libxtables.so'),
  libraries('libip4tc2', 'libip4tc.so'),
  libraries('libip6tc2', 'libip6tc.so'),
  libraries('libnetfilter-conntrack3', 'libnetfilter_conntrack.so'),
  libraries('libnfnetlink0', 'libnfnetlink.so'),
  { package: 'util-linux', files: ['usr/bin/nsenter'] },
  libraries('libselinux1', 'libselinux.so'),
  libraries('libpcre2-8-0', 'libpcre2-8.so'),
  { package: 'iproute2', files: ['usr/bin/ss', 'bin/ss'] },
  libraries('libtirpc3', 'libtirpc.so'),
  { package: 'libtirpc-common', files: ['etc/netconfig'] },
  libraries('libcap2', 'libcap.so'),
  libraries('libgssapi-krb5-2', 'libgssapi_krb5.so'),
  libraries('libkrb5-3', 'libkrb5.so'),
  libraries('libk5crypto3', 'libk5crypto.so'),
  libraries('libkrb5support0', 'libkrb5support.so'),
  libraries('libcom-err2', 'libcom_err.so'),
  libraries('libkeyutils1', 'libkeyutils.so'),
];

/** Debian makes these by update-alternatives. */
const IPTABLES_LINKS = Object.fromEntries(
  ['iptables', 'ip6tables'].flatMap((name) =>
    ['', '-save', '-restore'].map((suffix) => [`usr/sbin/${name}${suffix}`, 'xtables-nft-multi']),
  ),
);

export const COMPONENTS: readonly Component[] = [
  {
    name: 'pilot',
    title: 'Control plane of the Culvert service mesh',
    command: 'controller',
    user: '1337:1337',
    ports: ['8080/tcp', '15010/tcp', '15012/tcp', '15014/tcp', '15017/tcp'],
    tools: [],
    links: {},
    trials: [],
    loadEnv: {},
  },
  {
    name: 'ztunnel',
    title: 'Node tunnel of the Culvert service mesh',
    command: 'ztunnel',
    user: '0:1337',
    ports: ['15020/tcp', '15021/tcp'],
    tools: [],
    links: {},
    trials: [],
    loadEnv: { PROXY_MODE: 'neither' },
  },
  {
    name: 'proxyv2',
    title: 'Waypoint of the Culvert service mesh',
    command: 'waypoint',
    user: '1337:1337',
    ports: ['15008/tcp', '15020/tcp', '15021/tcp'],
    tools: [],
    links: {},
    trials: [],
    loadEnv: {},
  },
  {
    name: 'install-cni',
    title: 'Node agent and CNI plugin of the Culvert service mesh',
    command: 'cni',
    user: '0:0',
    ports: ['8000/tcp', '15014/tcp'],
    tools: AGENT_TOOLS,
    links: IPTABLES_LINKS,
    trials: [
      ['/usr/sbin/nft', '--version'],
      ['/usr/sbin/iptables', '--version'],
      ['/usr/sbin/iptables-legacy', '--version'],
      ['/usr/sbin/ip6tables-nft', '--version'],
      ['/usr/bin/nsenter', '--version'],
      ['/usr/bin/ss', '--version'],
    ],
    loadEnv: {},
  },
];
