/** The control plane: resources in, discovery, certificates and statuses out. */
export { StaticTokens } from './auth/static-tokens.ts';
export { TokenReviews } from './auth/token-reviews.ts';
export { ClusterAuthority } from './ca/cluster-authority.ts';
export { secretCaKeeper } from './ca/secret-ca-keeper.ts';
export { type ControllerOptions, type RunningController, startController } from './controller.ts';
export { ALWAYS_LEADING, LeaderElection, type Leadership } from './leader/leader-election.ts';
export { DEFAULT_MESH_SETTINGS, type MeshSettings } from './mesh-settings.ts';
export { OWN_CONDITION_TYPES } from './status/status-writer.ts';
