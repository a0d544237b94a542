/** A supervised process, seen from its supervisor. */
import { type ChildProcess, spawn } from "node:child_process";
import type { ProcessEnd } from "./restarts.ts";
import type { SupervisedMessage, SupervisorMessage } from "./supervised-channel.ts";

export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly onMessage: (message: SupervisedMessage) => void;
  /** A line of its output; without this its output is this process's own. */
  readonly onOutput?: (line: string) => void;
  readonly onError: (error: Error) => void;
}

/** By then a signal to the whole group has been seen by each of its processes. */
const sameSignalMs = 250;

export class Child {
  readonly #process: ChildProcess;
  readonly ended: Promise<ProcessEnd>;
  #isRunning = true;

  constructor({ command, args, env, onMessage, onOutput, onError }: ChildOptions) {
    const output = onOutput ? "pipe" : "inherit";
    const child = spawn(command, args, { stdio: ["ignore", output, output, "ipc"], env });
    this.#process = child;
    child.on("message", onMessage);
    if (onOutput) for (const stream of [child.stdout, child.stderr]) relayLines(stream, onOutput);
    this.ended = new Promise((resolve) => {
      const end = (how: ProcessEnd) => {
        this.#isRunning = false;
        resolve(how);
      };
      child.once("exit", (code, signal) => {
        this.#isRunning = false;
        // Ctrl-C that met it before it could look away has met this process too, which is just about to see it.
        if (signal === "SIGINT") setTimeout(() => end({ code, signal }), sameSignalMs);
        else end({ code, signal });
      });
      child.on("error", (error) => {
        onError(error);
        if (child.pid === undefined) end({ code: null, signal: null });
      });
    });
  }

  /** Undefined where it could not be started. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  stop(reason: string): void {
    const message: SupervisorMessage = { type: "stop", reason };
    // One that is just ending does not hear it.
    if (this.#isRunning && this.#process.connected) this.#process.send(message, () => {});
  }

  kill(): void {
    if (this.#isRunning) this.#process.kill("SIGKILL");
  }
}

export function describeEnd({ code, signal }: ProcessEnd): string {
  if (signal !== null) return `was ended by ${signal}`;
  return code === null ? "could not be started" : `ended with exit code ${code}`;
}

function relayLines(stream: NodeJS.ReadableStream | null, onLine: (line: string) => void): void {
  let pending = "";
  stream?.on("data", (data: Buffer) => {
    const lines = (pending + data.toString()).split("\n");
    pending = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") onLine(line);
  });
}
