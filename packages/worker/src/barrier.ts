/** Where a rank's compute threads wait for each other, by Atomics over shared memory. They may block: the main thread never waits here. */
export interface Barrier {
  /** Returns when all threads have called it as often as this one. */
  wait(): void;
}

const arrived = 0;
const phase = 1;

export const barrierBytes = 8;

export function createBarrier(buffer: SharedArrayBuffer, threads: number): Barrier {
  const words = new Int32Array(buffer);
  let passed = 0;
  return {
    wait() {
      passed++;
      if (Atomics.add(words, arrived, 1) + 1 === threads * passed) {
        Atomics.store(words, phase, passed);
        Atomics.notify(words, phase);
        return;
      }
      for (let seen = Atomics.load(words, phase); seen < passed; seen = Atomics.load(words, phase)) {
        Atomics.wait(words, phase, seen);
      }
    },
  };
}
