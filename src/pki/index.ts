/** Certificates: the authority, requests for signing, one certificate per identity, and checks of peers. */
export { type Certificate, parseCertificate, peerIdentities } from './certificate.ts';
export {
  CertificateAuthority,
  type CertificateAuthorityOptions,
  type ServerCertificate,
} from './certificate-authority.ts';
export { type CertificateSource, selfIssuing } from './certificate-source.ts';
export { PrivateKey } from './private-key.ts';
export { SigningClient, type SigningClientOptions } from './signing-client.ts';
export type { NodeAuthorizer, SigningDeps } from './signing-decision.ts';
export { addSigningService } from './signing-service.ts';
export { Svid } from './svid.ts';
