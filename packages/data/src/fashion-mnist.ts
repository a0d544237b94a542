import { DataError } from "./data-error.ts";
import type { DataSource } from "./dataset.ts";
import { holdsIdxFiles, loadIdxFolder } from "./idx-folder.ts";

/** Where Debian's and Ubuntu's package `dataset-fashion-mnist` puts its files. */
const DEBIAN_FOLDER = "/usr/share/datasets/fashion-mnist";

const CLASS_NAMES = [
  "T-shirt/top",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
];

/**
 * Fashion-MNIST: 70,000 pictures of clothes of 28 x 28 x 1, 60,000 of them to train on (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747).
 *
 * Read from `folder`, which holds the four files under MNIST's names, each plain or gzipped; without one, from where the Debian package
 * `dataset-fashion-mnist` puts them.
 *
 * `load()` throws DataError DATASET_MISSING where neither is there, and what reading the files throws.
 */
export function fashionMnist(options: { readonly folder?: string } = {}): DataSource {
  const { folder } = options;
  return {
    kind: "fashion-mnist",
    describe: `Fashion-MNIST from ${folder ?? "the Debian package dataset-fashion-mnist"}`,
    async load() {
      const from = folder ?? findFashionMnist(DEBIAN_FOLDER);
      return loadIdxFolder({ name: "Fashion-MNIST", folder: from, classNames: CLASS_NAMES });
    },
  };
}

/** The folder itself if the dataset is in it. */
export function findFashionMnist(folder: string): string {
  if (holdsIdxFiles(folder)) return folder;
  const todo = 'run "apt-get install dataset-fashion-mnist", or name a folder: fashionMnist({ folder })';
  throw new DataError("DATASET_MISSING", `expected Fashion-MNIST in ${folder}, found none of its files: ${todo}`);
}
