/**
 * Imports point one way:
 * cli -> {ztunnel, waypoint, cni, controller, local, install} -> {xds, engine, bpf, kube} -> hbone -> pki -> {schema, model} -> core
 */
const layers = [
  ['cli'],
  ['ztunnel', 'waypoint', 'cni', 'controller', 'local', 'install'],
  ['xds', 'engine', 'bpf', 'kube'],
  ['hbone'],
  ['pki'],
  ['schema', 'model'],
  ['core'],
];
const rules = [];
layers.forEach((layer, index) => {
  const above = layers.slice(0, index).flat();
  if (above.length > 0) {
    rules.push({
      name: `${layer.join('-')}-never-imports-upwards`,
      severity: 'error',
      from: { path: `^src/(${layer.join('|')})/` },
      to: { path: `^src/(${above.join('|')})/` },
    });
  }
  for (const folder of layer) {
    const neighbours = layer.filter((name) => name !== folder);
    if (neighbours.length === 0) continue;
    rules.push({
      name: `${folder}-does-not-import-its-neighbours`,
      severity: 'error',
      from: { path: `^src/${folder}/` },
      to: { path: `^src/(${neighbours.join('|')})/` },
    });
  }
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: { path: '^src/' }, to: { circular: true } },
    {
      name: 'generated-code-only-in-codecs',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/gen/', '(^|-)codec(\\.test)?\\.ts$', 'codec/[^/]+\\.ts$'] },
      to: { path: '^src/gen/' },
    },
    {
      name: 'programs-do-not-import-tests',
      severity: 'error',
      from: { path: '^(src|native)/', pathNot: '\\.test\\.ts$' },
      to: { path: '^(test|bench|examples)/' },
    },
    ...rules,
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '\\.test\\.ts$' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'default', 'types'],
    },
  },
};
