/** Builds and runs the fuzz target of the native engine. The first inputs are sound conversations, written here. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export interface FuzzResult {
  readonly executions: number;
  /** What was found, with the tail of libFuzzer's report. */
  readonly failure: string | undefined;
}

const ENGINE = new URL('../native/engine/', import.meta.url).pathname;
const INPUT_BYTES_MAX = 16_384;
/** An input that takes longer is a finding; a loaded machine is slow. */
const INPUT_SECONDS_MAX = 60;

/** HTTP/2 frame types. Source: RFC 9113 section 6. */
const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;

function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK literals without indexing. Source: RFC 7541 section 6.2.2. */
function fields(list: Readonly<Record<string, string>>): Buffer {
  const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  return Buffer.concat(
    Object.entries(list).map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])),
  );
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** Which side is tested is the first byte: 0 a server, 1 a client. */
function seeds(): readonly Buffer[] {
  const preface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0)]);
  const connect = (stream: number, authority: string): Buffer =>
    frame(HEADERS, END_HEADERS, stream, fields({ ':method': 'CONNECT', ':authority': authority, baggage: 'k=v' }));
  const answer = (status: string): Buffer => frame(HEADERS, END_HEADERS, 1, fields({ ':status': status }));
  const servers = [
    [frame(SETTINGS, ACK, 0)],
    [connect(1, '10.0.0.1:80'), frame(DATA, 0, 1, Buffer.from('hello')), frame(DATA, END_STREAM, 1)],
    [connect(1, '10.0.0.12:80'), frame(WINDOW_UPDATE, 0, 0, u32(65_535)), connect(3, '10.0.0.1:80')],
    [connect(1, '10.0.0.1:80'), frame(RST_STREAM, 0, 1, u32(8)), frame(PING, 0, 0, Buffer.alloc(8))],
    [frame(HEADERS, END_HEADERS | END_STREAM, 1, fields({ ':method': 'GET', ':scheme': 'http', ':path': '/' }))],
    [frame(GOAWAY, 0, 0, Buffer.concat([u32(0), u32(0)]))],
  ];
  const clients = [
    [answer('200'), frame(DATA, 0, 1, Buffer.from('hello')), frame(DATA, END_STREAM, 1)],
    [answer('401')],
    [answer('100'), answer('200'), frame(RST_STREAM, 0, 1, u32(8))],
    [frame(GOAWAY, 0, 0, Buffer.concat([u32(0), u32(0)])), answer('200')],
    [frame(SETTINGS, 0, 0, Buffer.from([0, 3, 0, 0, 0, 0]))],
  ];
  return [
    ...servers.map((frames) => Buffer.concat([Buffer.from([0]), preface, ...frames])),
    ...clients.map((frames) => Buffer.concat([Buffer.from([1]), frame(SETTINGS, 0, 0), ...frames])),
  ];
}

/** Throws when the target cannot be built. */
export function fuzz({ seconds, artifacts }: { readonly seconds: number; readonly artifacts: string }): FuzzResult {
  const jobs = `-j${execFileSync('nproc', { encoding: 'utf8' }).trim()}`;
  execFileSync('make', ['-s', jobs, '-C', ENGINE, 'fuzz'], { stdio: 'inherit' });
  const corpus = mkdtempSync(join(tmpdir(), 'culvert-fuzz-'));
  try {
    seeds().forEach((seed, index) => {
      writeFileSync(join(corpus, `seed-${index}`), seed);
    });
    const options = [
      `-max_total_time=${seconds}`,
      `-max_len=${INPUT_BYTES_MAX}`,
      `-timeout=${INPUT_SECONDS_MAX}`,
      `-artifact_prefix=${resolve(artifacts)}/fuzz-`,
      '-print_final_stats=1',
    ];
    const run = spawnSync(`${ENGINE}build/fuzz/fuzz`, [...options, corpus], {
      encoding: 'utf8',
      maxBuffer: 256 * 1024 * 1024,
    });
    const executions = Number(/number_of_executed_units: (\d+)/.exec(run.stderr)?.[1] ?? 0);
    return { executions, failure: run.status === 0 ? undefined : run.stderr.slice(-8_000) };
  } finally {
    rmSync(corpus, { recursive: true, force: true });
  }
}
