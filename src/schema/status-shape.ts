/** The status that objects of Istio's kinds carry. */
import { z } from 'zod';
import { condition } from './kind.ts';

export const istioStatus = z.looseObject({ conditions: z.array(condition).optional() }).optional();
