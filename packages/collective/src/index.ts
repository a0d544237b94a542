export { CollectiveError, type CollectiveErrorCode } from "./collective-error.ts";
export { type FetchedState, type FetchStateOptions, fetchState } from "./fetch-state.ts";
export {
  type BucketLayout,
  checkLayout,
  chunkRange,
  edgeFloats,
  type FloatRange,
  flatFloats,
  maxSeats,
  segmentsOf,
} from "./layout.ts";
export { type OpenRingOptions, openRing, type RingPeer } from "./open-ring.ts";
export { foldRange, parityOf, type ReductionMemory } from "./reduction-memory.ts";
export { createRing, type Ring, type RingOptions } from "./ring.ts";
export { listenForRing, type RingListener, type RingListenerOptions } from "./ring-listener.ts";
export type {
  HeldEffect,
  Place,
  RingEffect,
  RingFault,
  RingInput,
  SendEffect,
  SumEffect,
  SumKind,
} from "./ring-messages.ts";
export type { RingCounters, RingTransport } from "./ring-transport.ts";
export {
  checkSeating,
  foldOrder,
  nextRank,
  previousRank,
  type Seating,
  type Visit,
  visits,
  worldSize,
} from "./schedule.ts";
export type { StateOffer } from "./state-offer.ts";
export { loadSumKernels, type SumKernels } from "./sum-kernels.ts";
