import { WorkerError } from "./worker-error.ts";

/** Where a rank's compute threads wait for each other, by Atomics over shared memory. They may block: the main thread never waits here. */
export interface Barrier {
  /**
   * Returns when all threads have called it as often as this one.
   * @throws WorkerError BARRIER_ABORTED once `abort` has been called: whom it waits for may never come.
   */
  wait(): void;
  /** Whoever waits, or comes to wait later, leaves with an error. From any thread, and for good. */
  abort(): void;
}

const arrived = 0;
const phase = 1;
const aborted = 2;

export const barrierBytes = 12;

export function createBarrier(buffer: SharedArrayBuffer, threads: number): Barrier {
  const words = new Int32Array(buffer);
  const checkWhole = () => {
    if (Atomics.load(words, aborted) === 0) return;
    throw new WorkerError("BARRIER_ABORTED", "this rank's compute threads wait for each other no more: one has failed");
  };
  return {
    wait() {
      // Stands still until this thread has arrived, or until the barrier is aborted: hence read before the abort word.
      const before = Atomics.load(words, phase);
      checkWhole();
      if (Atomics.add(words, arrived, 1) + 1 === threads) {
        // Nobody is on the way to the next wait before the phase has changed. Counting from zero each time, no count ever overflows.
        Atomics.store(words, arrived, 0);
        Atomics.add(words, phase, 1);
        Atomics.notify(words, phase);
        return;
      }
      while (Atomics.load(words, phase) === before) Atomics.wait(words, phase, before);
      checkWhole();
    },
    abort() {
      Atomics.store(words, aborted, 1);
      // Who is about to wait for the old phase does not fall asleep.
      Atomics.add(words, phase, 1);
      Atomics.notify(words, phase);
    },
  };
}
