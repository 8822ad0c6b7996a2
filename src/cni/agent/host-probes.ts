/**
 * Probes of the node's kubelet pass the capture: what a process of the node itself sends to an enrolled pod gets a source
 * address that the pods' rules let through. Forwarded traffic keeps its address and is captured.
 * Source: Istio host rules for probes; nft(8). Set elements carry the pod's UID as comment.
 */
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { canonicalIp, ipFamily } from '../../model/ip.ts';
import { mustRun, PROBE_SOURCE, type RunCommand } from '../redirect/index.ts';

export interface ProbeEntry {
  readonly ip: string;
  readonly uid: string;
}

/** The node's side of one way to exempt probes. */
export interface HostProbePort {
  /**
   * Makes the rules. Addresses of an agent before this one stay in force, so that no probe fails meanwhile. Rejects with
   * ERR_REDIRECT or ERR_UNSUPPORTED.
   */
  install(): Promise<void>;
  /** Takes out what `install` found of pods that are not `known`. Rejects with ERR_REDIRECT. */
  settle(known: (uid: string) => boolean): Promise<void>;
  /** The pod's addresses are let through; an address of another pod becomes this one's. Rejects with ERR_REDIRECT. */
  add(uid: string, ips: readonly string[]): Promise<void>;
  /** Takes out what is this pod's; an address that became another's stays. Rejects with ERR_REDIRECT. */
  remove(uid: string): Promise<void>;
  /** Removes the rules. Never rejects: what is left does no harm. */
  uninstall(): Promise<void>;
}

const TABLE = 'inet istio-ambient-nat';
const SETS = { 4: 'istio-inpod-probes-v4', 6: 'istio-inpod-probes-v6' } as const;
const NFT = ['nft', '-f', '-'] as const;
/** Only the first packet: a connection that was open before would be taken for a new one in its middle, and break. */
const OPENING = 'tcp flags & (fin | syn | rst | ack) == syn';
/** A local socket has an owner, a forwarded packet has none and matches no range. */
const LOCAL_SOCKET = 'meta skuid 0-4294967294';

/** The whole table; elements of sets survive when it is applied again. */
export function hostRuleset(): string {
  const lines = [`add table ${TABLE}`];
  for (const family of [4, 6] as const) lines.push(`add set ${TABLE} ${SETS[family]} { type ipv${family}_addr; }`);
  lines.push(
    `add chain ${TABLE} postrouting { type nat hook postrouting priority 100; policy accept; }`,
    `flush table ${TABLE}`, // the rules only
  );
  for (const family of [4, 6] as const) {
    const ip = family === 4 ? 'ip' : 'ip6';
    const match = `${OPENING} ${LOCAL_SOCKET} ${ip} daddr @${SETS[family]}`;
    lines.push(`add rule ${TABLE} postrouting ${match} counter snat ${ip} to ${PROBE_SOURCE[family]}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Addresses and the UIDs beside them in the text of `nft -j list table`. Total: what is not understood is not ours. */
export function parseElements(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    const { val, comment } = value as { val?: unknown; comment?: unknown };
    const ip = typeof val === 'string' ? canonicalIp(val) : undefined;
    if (ip !== undefined && typeof comment === 'string') found.set(ip, comment);
    for (const inner of Object.values(value)) visit(inner);
  };
  try {
    visit(JSON.parse(text));
  } catch {
    return found;
  }
  return found;
}

export function hostRemoval(): string {
  return `add table ${TABLE}\ndelete table ${TABLE}\n`;
}

/** Replaces elements, whoever had them. */
export function additionText(entries: readonly ProbeEntry[]): string {
  return entries
    .map(({ ip, uid }) => {
      const set = `element ${TABLE} ${SETS[ipFamily(ip)]}`;
      return `add ${set} { ${ip} }\ndelete ${set} { ${ip} }\nadd ${set} { ${ip} comment "${commentOf(uid)}" }\n`;
    })
    .join('');
}

export function deletionText(ips: readonly string[]): string {
  return ips
    .map((ip) => `element ${TABLE} ${SETS[ipFamily(ip)]} { ${ip} }`)
    .map((element) => `add ${element}\ndelete ${element}\n`)
    .join('');
}

/** UIDs come from the API; in nft text they stand between quotes. */
function commentOf(uid: string): string {
  return uid.replaceAll(/[^A-Za-z0-9._:-]/g, '_').slice(0, 128);
}

/**
 * The node's table and the addresses in it; whose an address is, the agent keeps itself. Changes that are asked for while
 * nft runs go together in its next run, in the order they were asked for: many pods cost few programs.
 */
export class HostProbes implements HostProbePort {
  readonly #run: RunCommand;
  readonly #log: Logger;
  readonly #owners = new Map<string, string>();
  #waiting: Change[] = [];
  #isRunning = false;

  constructor(run: RunCommand, log: Logger) {
    this.#run = run;
    this.#log = log;
  }

  async install(): Promise<void> {
    await this.#apply(hostRuleset());
    const listed = await mustRun(this.#run, undefined, ['nft', '-j', 'list', 'table', ...TABLE.split(' ')]);
    this.#owners.clear();
    for (const [ip, uid] of parseElements(listed)) this.#owners.set(ip, uid);
  }

  async settle(known: (uid: string) => boolean): Promise<void> {
    for (const uid of new Set(this.#owners.values())) if (!known(uid)) await this.remove(uid);
  }

  async add(uid: string, ips: readonly string[]): Promise<void> {
    const missing = ips.filter((ip) => this.#owners.get(ip) !== uid);
    if (missing.length === 0) return;
    for (const ip of missing) this.#owners.set(ip, uid);
    try {
      await this.#change(additionText(missing.map((ip) => ({ ip, uid }))));
    } catch (error) {
      for (const ip of missing) if (this.#owners.get(ip) === uid) this.#owners.delete(ip);
      throw error;
    }
  }

  async remove(uid: string): Promise<void> {
    const ips = [...this.#owners].filter(([, owner]) => owner === uid).map(([ip]) => ip);
    if (ips.length === 0) return;
    for (const ip of ips) this.#owners.delete(ip);
    try {
      await this.#change(deletionText(ips));
    } catch (error) {
      for (const ip of ips) if (!this.#owners.has(ip)) this.#owners.set(ip, uid);
      throw error;
    }
  }

  async uninstall(): Promise<void> {
    try {
      await this.#apply(hostRemoval());
    } catch (error) {
      this.#log.warn('the rules for probes stay', { error: errorMessage(error) });
    }
  }

  /** Resolves when the text is in force. Bounded by the callers: each pod waits for its own. */
  #change(text: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ text, resolve, reject });
    if (!this.#isRunning) void this.#runAll();
    return promise;
  }

  async #runAll(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      const changes = this.#waiting;
      this.#waiting = [];
      await this.#runOnce(changes);
    }
    this.#isRunning = false;
  }

  /** One that nft refuses takes the others of its run along; each is then tried by itself. */
  async #runOnce(changes: readonly Change[]): Promise<void> {
    try {
      await this.#apply(changes.map(({ text }) => text).join(''));
      for (const { resolve } of changes) resolve();
    } catch (error) {
      if (changes.length === 1) changes[0]?.reject(error);
      else for (const change of changes) await this.#runOnce([change]);
    }
  }

  async #apply(input: string): Promise<void> {
    await mustRun(this.#run, undefined, NFT, { input });
  }
}

interface Change {
  readonly text: string;
  resolve(): void;
  reject(error: unknown): void;
}
