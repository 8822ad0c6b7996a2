/** A bound service ready to serve: routes by table, filters in order, for every port. */
import type { BoundPort, BoundService, GatewayConfig } from '../../model/l7/index.ts';
import type { Filter, FilterContext, FilterDeps } from '../filters/filter.ts';
import { FILTERS } from '../filters/index.ts';
import { RouteTable } from '../match/route-table.ts';
import { PolicySet } from '../policy/policy-set.ts';
import type { ConfigView } from './config-view.ts';

export interface CompiledPort {
  readonly port: BoundPort;
  readonly gateway: GatewayConfig;
  readonly service: BoundService;
  readonly routes: RouteTable;
  /** In the order in which a request meets them. */
  readonly filters: readonly Filter[];
  /** Of connections whose bytes are not looked into. */
  readonly policies: PolicySet | undefined;
}

export class CompiledService {
  readonly key: string;
  readonly service: BoundService;
  readonly #ports: ReadonlyMap<number, CompiledPort>;

  /** Throws ERR_MALFORMED for what cannot be used. */
  constructor(parts: {
    readonly gateway: GatewayConfig;
    readonly service: BoundService;
    readonly config: ConfigView;
    readonly deps: FilterDeps;
  }) {
    const { gateway, service } = parts;
    this.key = `${service.namespace}/${service.hostname}`;
    this.service = service;
    const policies = PolicySet.of(
      [...gateway.policies, ...service.policies],
      (key) => parts.config.findAuthorization(key),
      parts.deps.log,
    );
    this.#ports = new Map(
      service.ports.map((port) => {
        const context: FilterContext = { ...parts, port };
        const filters = FILTERS.flatMap((factory) => factory.compile(context) ?? []);
        return [port.port, { port, gateway, service, routes: new RouteTable(port.virtualHosts), filters, policies }];
      }),
    );
  }

  port(number: number): CompiledPort | undefined {
    return this.#ports.get(number);
  }
}
