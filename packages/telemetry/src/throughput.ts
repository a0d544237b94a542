/**
 * How fast a run goes, smoothed over its last steps.
 *
 * The window is the last 20 steps or the last 5 seconds of stepping, whichever reaches further back: short steps are averaged over seconds, so that the
 * number can be read, and long ones over enough of them. Time that passes between the last step and `start` (a validation, a regroup) does
 * not count. The caller brings the time.
 */
export interface Throughput {
  /** Stepping begins, or goes on after a pause. */
  start(nowMs: number): void;
  /** A step of `images` samples ended. The first without a `start` before it only sets the clock. */
  step(images: number, nowMs: number): void;
  /** Samples a second over the window; undefined until a step was measured. */
  imagesPerSecond(): number | undefined;
  /** Seconds that so many further steps take at the window's pace; undefined until a step was measured. */
  secondsFor(steps: number): number | undefined;
}

export interface ThroughputWindow {
  /** Default 20. */
  readonly steps?: number;
  /** Default 5,000. */
  readonly ms?: number;
}

export function createThroughput({ steps: minSteps = 20, ms: minMs = 5_000 }: ThroughputWindow = {}): Throughput {
  let window: { images: number; ms: number }[] = [];
  let first = 0; // Index of the oldest step that still counts; those before it are cut off now and then.
  let [windowMs, windowImages] = [0, 0];
  let clockMs: number | undefined;

  const dropOld = () => {
    for (;;) {
      const oldest = window[first];
      if (oldest === undefined || window.length - first <= minSteps || windowMs - oldest.ms < minMs) break;
      windowMs -= oldest.ms;
      windowImages -= oldest.images;
      first += 1;
    }
    if (first < 1024) return;
    window = window.slice(first);
    first = 0;
    // Summed anew, so that what subtraction rounds off cannot pile up over millions of steps.
    windowMs = window.reduce((total, { ms }) => total + ms, 0);
    windowImages = window.reduce((total, { images }) => total + images, 0);
  };

  return {
    start(nowMs) {
      clockMs = nowMs;
    },
    step(images, nowMs) {
      if (clockMs !== undefined) {
        const ms = Math.max(0, nowMs - clockMs);
        window.push({ images, ms });
        windowMs += ms;
        windowImages += images;
        dropOld();
      }
      clockMs = nowMs;
    },
    imagesPerSecond: () => (windowMs > 0 ? (windowImages / windowMs) * 1_000 : undefined),
    secondsFor: (steps) => (windowMs > 0 ? (steps * windowMs) / (window.length - first) / 1_000 : undefined),
  };
}
