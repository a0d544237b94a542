/**
 * Gives pages of the libraries' files back after loading. The dynamic linker and TensorFlow's registration of ops and kernels read some 250 MiB of
 * symbols, relocations and code once, and a process's resident memory would count them for ever. They stay in the system's page cache: what is needed again is
 * mapped again, without a read.
 */
import { readFileSync } from "node:fs";
import type { LibraryHandle } from "koffi";

const adviceDontNeed = 4;

/** @param isOurs whether a mapped file's path is one of the libraries. Does nothing where the system does not tell the mappings. */
export function releasePages(libc: LibraryHandle, isOurs: (path: string) => boolean): void {
  const madvise = libc.func("int madvise(uintptr_t address, size_t bytes, int advice)");
  for (const { start, end } of unwrittenMappings(mappings(), isOurs)) madvise(start, end - start, adviceDontNeed);
}

function mappings(): string {
  try {
    return readFileSync("/proc/self/smaps", "utf8");
  } catch {
    return "";
  }
}

/**
 * Mappings that cannot be written and have no page of their own, so that the file has all their bytes. (What the linker relocates and then protects is not
 * writable either, but has pages of its own: giving those back would undo the relocations.)
 */
export function unwrittenMappings(
  smaps: string,
  isOurs: (path: string) => boolean,
): { readonly start: bigint; readonly end: bigint }[] {
  return smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).flatMap((mapping) => {
    const [, start, end, path] = /^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ \S+ +(\/.*)$/m.exec(mapping) ?? [];
    if (path === undefined || !isOurs(path) || !/^Anonymous: +0 kB$/m.test(mapping)) return [];
    return [{ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) }];
  });
}
