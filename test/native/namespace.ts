/** A network namespace of a test's own, removed when the scope ends; also small waits without sleeping blindly. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { closeFd, createNetns, type Netns, removeNetns } from 'culvert-netns';

/** Left-overs of a killed run are recognised by the process id in the name. */
const PREFIX = 'cvt-nat';

let count = 0;

export class TestNamespace implements Disposable {
  readonly name: string;
  readonly path: string;
  readonly netns: Netns;

  constructor() {
    this.name = `${PREFIX}-${process.pid}-${count++}`;
    this.path = `/run/netns/${this.name}`;
    this.netns = createNetns(this.path);
  }

  /** Runs iproute2 inside, to see the effect with other eyes. */
  ip(...args: string[]): string {
    return execFileSync('ip', ['-n', this.name, ...args], { encoding: 'utf8', stdio: 'pipe' });
  }

  /** Runs a program inside. */
  exec(command: string, args: readonly string[], input = ''): string {
    return execFileSync('ip', ['netns', 'exec', this.name, command, ...args], {
      encoding: 'utf8',
      stdio: 'pipe',
      input,
    });
  }

  /** An interface that swallows every packet: a connect to 10.99.0.2 or fd99::2 is never answered. */
  addBlackHole(): void {
    this.ip('link', 'add', 'hole', 'type', 'veth', 'peer', 'name', 'pit');
    this.ip('addr', 'add', '10.99.0.1/24', 'dev', 'hole');
    this.ip('addr', 'add', 'fd99::1/64', 'dev', 'hole', 'nodad');
    this.ip('link', 'set', 'hole', 'up');
    this.ip('link', 'set', 'pit', 'up');
    for (const neighbour of ['10.99.0.2', 'fd99::2'])
      this.ip('neigh', 'replace', neighbour, 'lladdr', '02:00:00:00:00:01', 'dev', 'hole', 'nud', 'permanent');
  }

  [Symbol.dispose](): void {
    removeNetns(this.path);
    this.netns[Symbol.dispose]();
  }
}

/** Removes the namespaces of test processes that are gone. */
export function removeLeftNamespaces(): void {
  for (const name of readdirSync('/run/netns')) {
    const pid = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) removeNetns(`/run/netns/${name}`);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Resolves when `condition` holds; fails after `limitMs`. */
export async function until(condition: () => boolean, limitMs = 10_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error('the condition did not come true in time');
    await delay(5);
  }
}

/** What each open descriptor of this process points to, by descriptor. */
export function openDescriptors(): ReadonlyMap<number, string> {
  const open = new Map<number, string>();
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      open.set(Number(name), readlinkSync(`/proc/self/fd/${name}`));
    } catch {
      // The descriptor of the listing itself is gone by now.
    }
  }
  return open;
}

/** A queue between a callback and a test; what was not taken is closed at the end. */
export class Arrivals<T extends { readonly fd: number }> implements Disposable {
  readonly #waiting: T[] = [];

  readonly push = (item: T): void => {
    this.#waiting.push(item);
  };

  get size(): number {
    return this.#waiting.length;
  }

  async next(): Promise<T> {
    await until(() => this.#waiting.length > 0);
    const item = this.#waiting.shift();
    if (item === undefined) throw new Error('nothing arrived');
    return item;
  }

  [Symbol.dispose](): void {
    for (const item of this.#waiting.splice(0)) closeFd(item.fd);
  }
}
