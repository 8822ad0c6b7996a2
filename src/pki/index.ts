/** Certificates: the authority, requests for signing, one certificate per identity, and checks of peers. */
export type { CaMaterial } from './ca-files.ts';
export { type CaKeeper, folderCaKeeper } from './ca-keeper.ts';
export { type Certificate, certificateIdentities, parseCertificate, peerIdentities } from './certificate.ts';
export {
  CertificateAuthority,
  type CertificateAuthorityOptions,
  type ServerCertificate,
} from './certificate-authority.ts';
export { buildCertificateRequest } from './certificate-builder.ts';
export {
  CertificateCache,
  type CertificateCacheOptions,
  type CertificateStatus,
  type Priority,
} from './certificate-cache.ts';
export { type CertificateSource, selfIssuing } from './certificate-source.ts';
export {
  isPathRevoked,
  leadsToRoot,
  type PeerChainCheck,
  PeerRevokedError,
  type VerifiedPeer,
  verifyPeerChain,
} from './peer-chain.ts';
export { CERTIFICATE, parsePem, toPem } from './pem.ts';
export { PrivateKey } from './private-key.ts';
export { RevocationFile, type RevocationFileOptions } from './revocation-file.ts';
export { RevocationLists } from './revocation-list.ts';
export { SigningClient, type SigningClientOptions } from './signing-client.ts';
export type { NodeAuthorizer, SigningDeps, SigningRequest, WorkloadSigner } from './signing-decision.ts';
export { addSigningService } from './signing-service.ts';
export { Svid } from './svid.ts';
export { joinTrustBundles, parseTrustBundle, type TrustBundle } from './trust-bundle.ts';
export { WatchedFolder, type WatchedFolderOptions } from './watched-folder.ts';
