/** An API server as provider. A module of its own, so that who reads a directory does not load an HTTP client. */
export { ApiClient } from './api-client.ts';
export { type ClusterSigner, clusterSigner, type SigningOrder } from './certificate-requests.ts';
export { ClientSource, type ClientSourceOptions } from './client-source.ts';
export { ClientWriter, type ClientWriterOptions } from './client-writer.ts';
export { type ClusterLocation, openTransport } from './cluster-access.ts';
export { type DaemonSetReader, daemonSetReader } from './daemon-set.ts';
export { type ReviewedToken, type TokenReviewer, tokenReviewer } from './token-review.ts';
