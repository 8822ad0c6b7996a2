/** The two ends of a measurement. */
export interface BenchPods {
  /** Where the web server is. */
  readonly httpIp: string;
  /** Where iperf3 listens. */
  readonly bulkIp: string;
  /** Runs a command in the client's pod and returns what it printed. */
  inClient(command: readonly string[], timeoutMs: number): Promise<string>;
}
