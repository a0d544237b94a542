/** How the ring's effects are made. */
import type { FloatRange } from "./layout.ts";
import type { Place, RingFault, SendEffect, SumEffect, SumKind } from "./ring-messages.ts";

export function sumEffect(at: Place, { start, end }: FloatRange, visit: number, seats: readonly number[]): SumEffect {
  const { round, bucket, chunk, segment } = at;
  return { type: "sum", round, bucket, chunk, segment, visit, seats, onto: visit > 0, start, end };
}

export function sendEffect(kind: SumKind, at: Place, { start, end }: FloatRange): SendEffect {
  const { round, bucket, chunk, segment } = at;
  return { type: "send", kind, round, bucket, chunk, segment, start, end };
}

export function faultEffect(code: RingFault["code"], message: string): RingFault {
  return { type: "fault", code, message };
}

export function describePlace({ round, bucket, chunk, segment }: Place): string {
  return `round ${round}, bucket ${bucket}, chunk ${chunk}, segment ${segment}`;
}
