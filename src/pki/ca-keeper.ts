/** Where a self-made authority is kept: a folder, or whatever else keeps a set whole. */
import { type CaMaterial, createCaFiles, readCaFiles, replaceRootFile } from './ca-files.ts';

export interface CaKeeper {
  /** The kept set, undefined when there is none. Rejects with ERR_CONFIG when it cannot be used. */
  read(): Promise<CaMaterial | undefined>;
  /** Keeps a new set; of two makers the loser gets the winner's. */
  create(make: () => Promise<CaMaterial>): Promise<CaMaterial>;
  /** Puts a renewed root in the place of `before`; answers what is kept then, which may be another's. */
  replace(before: CaMaterial, renewed: CaMaterial): Promise<CaMaterial>;
}

/** Keeps the files in `folder`, made when missing. */
export function folderCaKeeper(folder: string): CaKeeper {
  return {
    read: () => readCaFiles(folder),
    create: (make) => createCaFiles(folder, make),
    async replace(_before, renewed) {
      await replaceRootFile(folder, renewed);
      return renewed;
    },
  };
}
