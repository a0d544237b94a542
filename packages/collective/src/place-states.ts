/**
 * How far a place is at one rank (see ring.ts). The numbers fit into a Uint8Array, 0 being the state at the beginning of a round.
 *
 *     one visit   idle -> arrived -> summing -> passedOn -> complete     a chunk's first visit skips `arrived`, its last one `passedOn`
 *     two visits  idle -> opening -> returning -> arrived -> summing -> complete     the chunk's fold starts and ends at this rank
 */

/** Nothing has happened. */
export const idle = 0;
/** The partial sum is here, but not all seats of the visit are ready. */
export const arrived = 1;
/** The rank's only or last visit is being summed. */
export const summing = 2;
/** The rank's visits are done; the complete segment is still to come. */
export const passedOn = 3;
/** The reduced values are here. */
export const complete = 4;
/** The first of two visits is being summed. */
export const opening = 5;
/** The first of two visits was passed on; the partial sum is to come back. */
export const returning = 6;
