/**
 * The admin port, on loopback only: index, config dump, log level, shutdown, profiles.
 * Source: Istio ztunnel admin server; no private key and no token is ever in an answer.
 */
import { errorMessage } from '../../core/errors.ts';
import { type HttpAnswer, type HttpHandler, type HttpQuestion, textAnswer } from '../../core/http-listener.ts';
import type { LogWriter } from '../../core/log-writer.ts';
import type { Json } from '../state/dump-format.ts';
import { heapProfile, isHeapProfiling, profileCpu, setHeapProfiling } from './profiler.ts';

export interface AdminDeps {
  readonly dump: () => Readonly<Record<string, Json>>;
  readonly logs: Pick<LogWriter, 'filter' | 'setFilter' | 'resetFilter'>;
  /** Starts an orderly end of the program. */
  readonly shutdown: () => void;
}

const PAGES: readonly (readonly [string, string])[] = [
  ['/config_dump', 'state, certificates and connections'],
  ['/logging', 'query or change the log level (POST)'],
  ['/quitquitquit', 'shut down (POST)'],
  ['/debug/pprof/profile', 'CPU profile'],
  ['/debug/pprof/heap', 'heap profile'],
];

export function adminHandler(deps: AdminDeps): HttpHandler {
  return (question) => {
    switch (question.path) {
      case '/':
        return { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' }, body: indexPage() };
      case '/config_dump':
        return {
          status: 200,
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(sortKeys(deps.dump()), undefined, 2),
        };
      case '/logging':
        return changeLogging(question, deps.logs);
      case '/quitquitquit':
        if (question.method !== 'POST') return textAnswer(405, 'Invalid HTTP method\n');
        deps.shutdown();
        return textAnswer(200, 'shutdown now\n');
      case '/debug/pprof/profile':
        return answerCpuProfile(question);
      case '/debug/pprof/heap':
      case '/debug/pprof/heap/profiling':
        return answerHeapProfile(question);
      default:
        return textAnswer(404, 'Not Found\n');
    }
  };
}

const LOGGING_USAGE = `usage: POST /logging\t\t\t\t\t\t(To list current level)
usage: POST /logging?level=<level>\t\t\t\t(To change global levels)
usage: POST /logging?level={mod1}={level1},{mod2}={level2}\t(To change specific mods' logging level)

hint: loglevel:\terror|warn|info|debug|trace|off
hint: mod_name:\tthe module name, i.e. access, xds, dns
`;

function changeLogging({ method, query }: HttpQuestion, logs: AdminDeps['logs']): HttpAnswer {
  if (method !== 'POST') return textAnswer(405, `Invalid HTTP method\n${LOGGING_USAGE}`);
  const level = query.get('level');
  try {
    if (query.has('reset')) logs.resetFilter(level ?? '');
    else if (level !== null) logs.setFilter(`${logs.filter},${level}`);
  } catch (error) {
    return textAnswer(400, `Invalid level provided: ${errorMessage(error)}\n${LOGGING_USAGE}`);
  }
  return textAnswer(200, `current log level is ${logs.filter}\n`);
}

async function answerCpuProfile({ query }: HttpQuestion): Promise<HttpAnswer> {
  const seconds = Number(query.get('seconds') ?? 10);
  const frequency = Number(query.get('frequency') ?? 100);
  if (!(seconds >= 1 && seconds <= 300)) return textAnswer(400, 'seconds must be from 1 to 300\n');
  if (!(frequency >= 1 && frequency <= 1_000)) return textAnswer(400, 'frequency must be from 1 to 1000\n');
  return profileAnswer(await profileCpu(seconds * 1_000, frequency));
}

async function answerHeapProfile({ query, path }: HttpQuestion): Promise<HttpAnswer> {
  const activate = query.get('activate');
  if (activate !== null) await setHeapProfiling(activate === 'true');
  if (path.endsWith('/profiling')) return textAnswer(200, `heap profiling is ${isHeapProfiling() ? 'on' : 'off'}\n`);
  return profileAnswer(await heapProfile());
}

function profileAnswer(profile: object): HttpAnswer {
  return { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(profile) };
}

function indexPage(): string {
  const rows = PAGES.map(
    ([path, what]) => `<tr><td><a href="${path.slice(1)}">${path.slice(1)}</a></td><td>${what}</td></tr>`,
  );
  return `<!DOCTYPE html><html><head><title>ztunnel admin</title></head><body><h1>ztunnel</h1><table>${rows.join('')}</table></body></html>\n`;
}

function sortKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, below]) => [key, sortKeys(below)]));
}
