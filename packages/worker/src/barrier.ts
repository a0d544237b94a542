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
  return {
    wait() {
      // Stands still until this thread has arrived.
      const before = Atomics.load(words, phase);
      if (Atomics.add(words, arrived, 1) + 1 === threads) {
        // Nobody is on the way to the next wait before the phase has changed. Counting from zero each time, no count ever overflows.
        Atomics.store(words, arrived, 0);
        Atomics.add(words, phase, 1);
        Atomics.notify(words, phase);
        return;
      }
      while (Atomics.load(words, phase) === before) Atomics.wait(words, phase, before);
    },
  };
}
