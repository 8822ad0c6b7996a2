/** The waypoint: layer 7 between tunnels. */

export { type Taken, TokenBuckets, type TokenTaker } from './rate-limit/token-buckets.ts';
export { Waypoint, type WaypointDeps, type WaypointOptions } from './waypoint.ts';
