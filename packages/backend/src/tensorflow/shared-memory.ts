import type { CApi, Pointer } from "../libtensorflow/c-api.ts";

const alignment = 64;

/** The native address of shared WebAssembly memory; it stays right when the memory grows (shared memory grows in place). */
export function addressOfMemory(c: CApi, memory: WebAssembly.Memory): Pointer {
  // Node hands empty views over as null, and a view at offset 0 of some builds too: ask for the second line and step back.
  return c.addressOf(new Uint8Array(memory.buffer, alignment, alignment)) - BigInt(alignment);
}
