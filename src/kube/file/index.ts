/** A directory of YAML as provider. A module of its own, so that who asks an API server does not load a YAML parser. */
export { FileSource, type FileSourceOptions } from './file-source.ts';
export { FileWriter, type FileWriterOptions } from './file-writer.ts';
export { type ManifestProblem, type ObjectCheck, type ObjectFault, parseManifest } from './manifest.ts';
