export type { ControlLink, LinkHandlers } from "./control-link.ts";
export { type DialOptions, dialCoordinator } from "./dial.ts";
export { type ListenOptions, listenForWorkers, type WorkerListener } from "./listen.ts";
export { memoryLinkPair } from "./memory-link.ts";
export { TransportError, type TransportErrorCode } from "./transport-error.ts";
