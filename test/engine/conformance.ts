/**
 * What every engine must do, asserted from the applications and raw HBONE peers at both ends. `registerEngineSuite`
 * runs all of it against the engine it is given; each refusal stands beside the same call being accepted.
 */
import { registerByteCases } from './byte-cases.ts';
import { registerDecisionCases } from './decision-cases.ts';
import { registerEndingCases } from './ending-cases.ts';
import { registerHostilePeers } from './hostile-peers.ts';
import { registerLocalCases } from './local-cases.ts';
import { registerReuseCases } from './reuse-cases.ts';
import { registerRevocation } from './revocation.ts';
import type { EngineFactory } from './rig.ts';
import { registerSessionCases } from './session-cases.ts';
import { registerUpgradeCases } from './upgrade-cases.ts';

export function registerEngineSuite(create: EngineFactory): void {
  registerByteCases(create);
  registerEndingCases(create);
  registerDecisionCases(create);
  registerSessionCases(create);
  registerUpgradeCases(create);
  registerHostilePeers(create);
  registerRevocation(create);
  registerReuseCases(create);
  registerLocalCases(create);
}
