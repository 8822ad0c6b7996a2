import { testKubeProvider } from '../kube/provider-compliance.ts';
import { openClusterHarness } from './cluster-harness.ts';

testKubeProvider('API server', openClusterHarness);
