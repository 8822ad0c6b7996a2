/** A bound service ready to serve: routes by table, filters in order, for every port. */
import type { BoundPort, BoundService, GatewayConfig } from '../../model/l7/index.ts';
import type { Filter, FilterContext, FilterDeps } from '../filters/filter.ts';
import { FILTERS } from '../filters/index.ts';
import { RouteTable } from '../match/route-table.ts';
import type { ConfigView } from './config-view.ts';

export interface CompiledPort {
  readonly port: BoundPort;
  readonly gateway: GatewayConfig;
  readonly service: BoundService;
  readonly routes: RouteTable;
  /** In the order in which a request meets them. */
  readonly filters: readonly Filter[];
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
    this.#ports = new Map(
      service.ports.map((port) => {
        const context: FilterContext = { ...parts, port };
        const filters = FILTERS.flatMap((factory) => factory.compile(context) ?? []);
        return [port.port, { port, gateway, service, routes: new RouteTable(port.virtualHosts), filters }];
      }),
    );
  }

  port(number: number): CompiledPort | undefined {
    return this.#ports.get(number);
  }
}
