/** What is told about traffic, and to whom. Source: Istio Telemetry and `extensionProviders` of the mesh configuration. */

export interface TelemetrySettings {
  /** None: no access log. */
  readonly accessLogs: readonly AccessLog[];
  readonly metrics: MetricsSettings;
  readonly tracing?: Tracing;
}

export interface AccessLog {
  readonly provider: string;
  readonly kind: 'FILE' | 'OTLP';
  /** `/dev/stdout`. */
  readonly path: string;
  readonly format: 'TEXT' | 'JSON';
  /** Empty: Istio's default. */
  readonly textFormat: string;
  readonly jsonFields: Readonly<Record<string, string>>;
  readonly otlp?: Collector;
  /** CEL; empty: everything. */
  readonly filter: string;
}

export interface MetricsSettings {
  readonly overrides: readonly MetricOverride[];
  /** Of TCP metrics. */
  readonly reportingIntervalMs: number;
  /** Adds the endpoint to the labels of request metrics. */
  readonly perEndpoint: boolean;
}

export interface MetricOverride {
  /** Name such as `REQUEST_COUNT`; `ALL_METRICS`. */
  readonly metric: string;
  readonly disabled: boolean;
  readonly tags: readonly {
    readonly name: string;
    readonly operation: 'UPSERT' | 'REMOVE';
    /** Expression. */
    readonly value: string;
  }[];
}

export interface Tracing {
  readonly provider: string;
  readonly kind: 'OTLP_GRPC' | 'OTLP_HTTP' | 'ZIPKIN';
  readonly collector: Collector;
  /** 0 to 100. */
  readonly samplingPercent: number;
  readonly customTags: readonly {
    readonly name: string;
    readonly kind: 'LITERAL' | 'ENVIRONMENT' | 'HEADER';
    readonly value: string;
    readonly fallback: string;
  }[];
  readonly disabled: boolean;
  readonly maxTagLength: number;
}

export interface Collector {
  /** Key of its cluster when it is a service of the mesh; else `host` is dialled. */
  readonly cluster: string;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly timeoutMs: number;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
}
