/**
 * Envoy doing the same job as the waypoint of the benchmark: HBONE in and out, routes by path prefix, metrics and an access
 * log that goes nowhere. Source: Envoy 1.40 API v3.
 */
import { stringify } from 'yaml';

export interface EnvoyFiles {
  readonly certificate: string;
  readonly key: string;
  readonly roots: string;
}

export interface EnvoyOptions {
  readonly files: EnvoyFiles;
  readonly listenIp: string;
  /** The tunnel of the endpoint. */
  readonly upstreamIp: string;
  /** What CONNECT asks it for. */
  readonly authority: string;
  readonly routes: number;
}

const FILTERS = 'type.googleapis.com/envoy.extensions.filters';
const HBONE_PORT = 15_008;
const WINDOWS = { initial_stream_window_size: 4_194_304, initial_connection_window_size: 16_777_216 };
const ROUTER = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': `${FILTERS}.http.router.v3.Router` },
};

/** YAML for `envoy -c`. */
export function envoyConfig(options: EnvoyOptions): string {
  const { listenIp, upstreamIp, authority } = options;
  const config = {
    bootstrap_extensions: [
      {
        name: 'envoy.bootstrap.internal_listener',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener',
        },
      },
    ],
    static_resources: {
      listeners: [
        terminate(options, listenIp),
        internal('main', [http('main', { codec_type: 'AUTO', ...routes(options.routes), ...accessLog })]),
        internal('encap', [
          {
            name: 'tcp',
            typed_config: {
              '@type': `${FILTERS}.network.tcp_proxy.v3.TcpProxy`,
              stat_prefix: 'encap',
              cluster: 'hbone',
              tunneling_config: { hostname: authority },
            },
          },
        ]),
      ],
      clusters: [inside('main_int', 'main'), inside('up', 'encap'), hbone(options.files, upstreamIp)],
    },
  };
  return stringify(config, { aliasDuplicateObjects: false });
}

const accessLog = {
  access_log: [
    {
      name: 'file',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
        path: '/dev/null',
      },
    },
  ],
};

/** The last one takes what the benchmark asks for; those before are looked at first. */
function routes(count: number) {
  const others = Array.from({ length: count - 1 }, (_, index) => ({
    match: { path_separated_prefix: `/service-${index}/api` },
    route: { cluster: 'up' },
  }));
  const all = [...others, { match: { prefix: '/' }, route: { cluster: 'up' } }];
  return { route_config: { virtual_hosts: [{ name: 'v', domains: ['*'], routes: all }] } };
}

function http(prefix: string, rest: object) {
  return {
    name: 'hcm',
    typed_config: {
      '@type': `${FILTERS}.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: prefix,
      http_filters: [ROUTER],
      ...rest,
    },
  };
}

function internal(name: string, filters: readonly object[]) {
  return { name, internal_listener: {}, filter_chains: [{ filters }] };
}

function terminate({ files }: EnvoyOptions, ip: string) {
  const upgrade = { upgrade_type: 'CONNECT' };
  const connect = {
    match: { connect_matcher: {} },
    route: { cluster: 'main_int', upgrade_configs: [{ ...upgrade, connect_config: {} }] },
  };
  const manager = http('term', {
    codec_type: 'HTTP2',
    http2_protocol_options: { allow_connect: true, max_concurrent_streams: 10_000, ...WINDOWS },
    upgrade_configs: [upgrade],
    route_config: { virtual_hosts: [{ name: 'v', domains: ['*'], routes: [connect] }] },
  });
  return {
    name: 'terminate',
    address: { socket_address: { address: ip, port_value: HBONE_PORT } },
    filter_chains: [
      {
        transport_socket: tls('Downstream', files, { require_client_certificate: true }),
        filters: [manager],
      },
    ],
  };
}

function tls(side: 'Downstream' | 'Upstream', { certificate, key, roots }: EnvoyFiles, rest: object) {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${side}TlsContext`,
      ...rest,
      common_tls_context: {
        alpn_protocols: ['h2'],
        tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
        tls_certificates: [{ certificate_chain: { filename: certificate }, private_key: { filename: key } }],
        validation_context: { trusted_ca: { filename: roots } },
      },
    },
  };
}

function cluster(name: string, endpoint: object, rest: object = {}) {
  const load_assignment = { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint }] }] };
  return { name, connect_timeout: '1s', load_assignment, ...rest };
}

function inside(name: string, listener: string) {
  return cluster(name, { address: { envoy_internal_address: { server_listener_name: listener } } });
}

function hbone(files: EnvoyFiles, ip: string) {
  const address = { socket_address: { address: ip, port_value: HBONE_PORT } };
  const options = {
    '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
    explicit_http_config: { http2_protocol_options: { allow_connect: true, ...WINDOWS } },
  };
  return cluster(
    'hbone',
    { address },
    {
      typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': options },
      transport_socket: tls('Upstream', files, {}),
    },
  );
}
