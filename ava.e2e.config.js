export default {
  extensions: ['ts'],
  workerThreads: false,
  timeout: '120s',
  serial: true,
  files: ['test/e2e/**/*.test.ts'],
  environmentVariables: { NODE_NO_WARNINGS: '1' },
};
