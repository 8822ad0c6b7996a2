export default {
  extensions: ['ts'],
  workerThreads: false,
  timeout: '60s',
  files: [
    'bench/**/*.test.ts',
    'src/**/*.test.ts',
    'native/*/{src,test}/**/*.test.ts',
    'test/**/*.test.ts',
    '!test/e2e/**',
  ],
  environmentVariables: { NODE_NO_WARNINGS: '1' },
};
