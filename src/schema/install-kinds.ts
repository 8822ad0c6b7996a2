/** install.istio.io: the description of an installation, read by `install`. Source: Istio operator API v1alpha1. */
import { z } from 'zod';
import { anything, type KindDefinition, text } from './kind.ts';

const istioOperatorSpec = z.looseObject({
  profile: text.optional(),
  hub: text.optional(),
  tag: z.union([z.string(), z.number()]).optional(),
  revision: text.optional(),
  namespace: text.optional(),
  meshConfig: anything.optional(),
  components: z.record(z.string(), z.unknown()).optional(),
  values: anything.optional(),
});

export const INSTALL_KINDS: readonly KindDefinition[] = [
  {
    group: 'install.istio.io',
    kind: 'IstioOperator',
    versions: ['v1alpha1'],
    plural: 'istiooperators',
    serving: 'passive',
    body: z.looseObject({ spec: istioOperatorSpec.optional() }),
  },
];
