/**
 * The part of WebAssembly's JavaScript interface that is used here. TypeScript declares it only together with the whole DOM, which is not
 * there in Node; these types are structural, so a DOM-typed `WebAssembly.Memory` fits too.
 */

/** A shared `WebAssembly.Memory`. `buffer` must be taken anew when the memory may have grown. */
export interface SharedMemory {
  readonly buffer: ArrayBufferLike;
}

interface WebAssemblyInterface {
  readonly Memory: new (limits: { initial: number; maximum: number; shared: true }) => SharedMemory;
  readonly Module: new (binary: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, unknown>> };
}

declare const WebAssembly: WebAssemblyInterface; // the global one, at run time

export const webAssembly: WebAssemblyInterface = WebAssembly;

/** A new shared memory of at least `bytes`, at most 4 GiB, that cannot grow. */
export function createSharedMemory(bytes: number): SharedMemory {
  const pages = Math.max(1, Math.ceil(bytes / 65536));
  return new webAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}
