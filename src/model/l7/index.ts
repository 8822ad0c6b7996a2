/** The configuration of waypoints and gateways (layer 7) as readonly data. Words of a choice are upper-case. */
export type * from './cluster.ts';
export * from './defaults.ts';
export type * from './gateway.ts';
export type * from './http-policy.ts';
export type * from './http-route.ts';
export type * from './l4-route.ts';
export type * from './rate-limit.ts';
export * from './regular-expression.ts';
export type * from './telemetry.ts';
export type * from './text-match.ts';
export * from './traffic-policy.ts';
