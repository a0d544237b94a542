export type { Cluster, StepTime } from "./cluster.ts";
export type { Fault } from "./faults.ts";
export { randomWorld } from "./random-world.ts";
export { type ScalingPoint, scalingCurve, scalingPicture } from "./scaling.ts";
export { smallWorld, type WorldSettings } from "./settings.ts";
export { type RecoveryCause, type SimulateOptions, type SimulationReport, simulateRun } from "./simulate-run.ts";
export { World, type WorldEvent, type WorldOptions, type WorldOutcome } from "./world.ts";
