export { journalLostExitCode } from "./restarts.ts";
export { type CoordinatorAddress, type LocalLaunch, superviseLocal } from "./supervise-local.ts";
export { listenForShutdown, type Shutdown } from "./supervised-channel.ts";
