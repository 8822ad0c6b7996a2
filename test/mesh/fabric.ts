/**
 * Network namespaces joined by a bridge that lives in a namespace of its own, so that no address or name of the machine
 * is touched. Names carry the process id; what a killed run left behind is removed by the next one.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { addRule, createNetns, type Netns, removeNetns, replaceLocalRoute, writeSysctl } from 'culvert-netns';
import {
  MARK_MASK,
  REDIRECT_ROUTE_TABLE,
  REDIRECT_RULE_PRIORITY,
  SOURCE_PRESERVING_MARK,
} from '../../src/model/ports.ts';

const run = promisify(execFile);
const FOLDER = '/run/netns';
const PREFIX = 'cvmesh';

export interface Namespace {
  readonly name: string;
  readonly netns: Netns;
  readonly ip4: string;
  readonly ip6: string;
}

/** One bridged network; disposing removes every namespace of it. */
export class Fabric implements AsyncDisposable {
  static #fabrics = 0;
  readonly #prefix: string;
  readonly #namespaces: Namespace[] = [];

  private constructor(prefix: string) {
    this.#prefix = prefix;
  }

  static async create(): Promise<Fabric> {
    sweep();
    Fabric.#fabrics += 1;
    const fabric = new Fabric(`${PREFIX}${process.pid}x${Fabric.#fabrics}`);
    const name = fabric.bridge;
    const netns = createNetns(`${FOLDER}/${name}`);
    fabric.#namespaces.push({ name, netns, ip4: '', ip6: '' });
    await ip(['-n', name, 'link', 'add', 'br0', 'type', 'bridge']);
    await ip(['-n', name, 'link', 'set', 'br0', 'up']);
    return fabric;
  }

  /** Name of the namespace that has the bridge `br0`: what passes there is what a wire would show. */
  get bridge(): string {
    return `${this.#prefix}-br`;
  }

  /** A namespace with `eth0` in 10.9.0.0/16 and fd09::/64. */
  async add(): Promise<Namespace> {
    const number = this.#namespaces.length;
    const name = `${this.#prefix}-${number}`;
    const [ip4, ip6] = [`10.9.${number >> 8}.${number & 0xff}`, `fd09::${number.toString(16)}`];
    const netns = createNetns(`${FOLDER}/${name}`);
    const namespace = { name, netns, ip4, ip6 };
    this.#namespaces.push(namespace);
    const port = `v${number}`;
    await ip(['-n', this.bridge, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name]);
    await ip(['-n', this.bridge, 'link', 'set', port, 'master', 'br0', 'up']);
    writeSysctl(netns, 'net.ipv6.conf.eth0.accept_dad', '0');
    await ip(['-n', name, 'link', 'set', 'eth0', 'up']);
    await ip(['-n', name, 'addr', 'add', `${ip4}/16`, 'dev', 'eth0']);
    await ip(['-n', name, 'addr', 'add', `${ip6}/64`, 'dev', 'eth0', 'nodad']);
    for (const family of ['-4', '-6']) await ip([family, '-n', name, 'route', 'add', 'default', 'dev', 'eth0']);
    return namespace;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { name, netns } of this.#namespaces.reverse()) {
      netns[Symbol.dispose]();
      removeNetns(`${FOLDER}/${name}`);
    }
  }
}

/** Sends a namespace's TCP and DNS to a tunnel listening in it, as the node agent would. */
export async function captureTraffic({ name, netns }: Namespace): Promise<void> {
  for (const family of [4, 6] as const) {
    addRule(netns, {
      family,
      fwmark: SOURCE_PRESERVING_MARK,
      mask: MARK_MASK,
      table: REDIRECT_ROUTE_TABLE,
      priority: REDIRECT_RULE_PRIORITY,
    });
    replaceLocalRoute(netns, { family, table: REDIRECT_ROUTE_TABLE });
  }
  writeSysctl(netns, 'net.ipv4.tcp_fwmark_accept', '1');
  const rules = `
table inet culvert_mesh_test {
  chain prerouting {
    type nat hook prerouting priority -100;
    iifname "lo" return
    meta mark & 0xfff == { 0x539, 0x111 } return
    tcp dport != 15008 redirect to :15006
  }
  chain output {
    type nat hook output priority -100;
    meta mark & 0xfff == { 0x539, 0x111 } return
    udp dport 53 redirect to :15053
    tcp dport 53 redirect to :15053
    oifname "lo" return
    meta l4proto tcp redirect to :15001
  }
}`;
  const nft = run('ip', ['netns', 'exec', name, '/usr/sbin/nft', '-f', '-']);
  nft.child.stdin?.end(rules);
  await nft;
}

async function ip(args: readonly string[]): Promise<void> {
  await run('ip', [...args]);
}

/** Removes namespaces of runs whose process is gone. */
function sweep(): void {
  if (!existsSync(FOLDER)) return;
  for (const name of readdirSync(FOLDER)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)x`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) execFileSync('ip', ['netns', 'delete', name]);
  }
}
