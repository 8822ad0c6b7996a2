/** The waypoint: layer 7 between tunnels. */
export { Waypoint, type WaypointDeps, type WaypointOptions } from './waypoint.ts';
