/** The control messages of each direction; their names say it. */
import { z } from "zod";
import * as coordinator from "./coordinator-messages.ts";
import * as worker from "./worker-messages.ts";

/** Worker to coordinator. */
export const workerMessageSchema = z.discriminatedUnion("type", [
  worker.workerHelloSchema,
  worker.workerReadySchema,
  worker.workerRegroupedSchema,
  worker.workerLinkLostSchema,
  worker.workerSpoiledSchema,
  worker.workerLeavingSchema,
  worker.workerHeldSchema,
  worker.workerEvaluatedSchema,
  worker.workerStateHashSchema,
  worker.workerStateSchema,
  worker.workerDoneSchema,
  worker.workerFailedSchema,
  worker.workerByeSchema,
  worker.workerHeartbeatSchema,
]);
export const workerMessageTypes: readonly string[] = workerMessageSchema.options.map(({ shape }) => shape.type.value);
export type WorkerMessage = z.infer<typeof workerMessageSchema>;

/** Coordinator to worker. */
export const coordinatorMessageSchema = z.discriminatedUnion("type", [
  coordinator.coordinatorWelcomeSchema,
  coordinator.coordinatorStartSchema,
  coordinator.coordinatorRegroupSchema,
  coordinator.coordinatorFetchSchema,
  coordinator.coordinatorLoadSchema,
  coordinator.coordinatorProceedSchema,
  coordinator.coordinatorPlanSchema,
  coordinator.coordinatorSavedSchema,
  coordinator.coordinatorKeptSchema,
  coordinator.coordinatorFinishSchema,
  coordinator.coordinatorAbortSchema,
  coordinator.coordinatorHeartbeatSchema,
]);
export const coordinatorMessageTypes: readonly string[] = coordinatorMessageSchema.options.map(
  ({ shape }) => shape.type.value,
);
export type CoordinatorMessage = z.infer<typeof coordinatorMessageSchema>;
