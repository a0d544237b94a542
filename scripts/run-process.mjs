import { spawn } from "node:child_process";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The workspace's folder: every tool runs in it. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Taken anew for each tool: a set-up step may name in the environment what it has installed. */
const withTools = () => ({
  ...process.env,
  PATH: [join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter),
  // nx as a plain program: no screen of its own, no background process that outlives the command, no cloud.
  NX_TUI: "false",
  NX_DAEMON: "false",
  NX_NO_CLOUD: "true",
  NX_SKIP_LOG_GROUPING: "true",
  NO_COLOR: "1",
  FORCE_COLOR: undefined,
});

const heartbeatMs = 15_000;
/** How long a command may take to end after Ctrl-C: ringmaster gives a run 5 s. */
const patienceMs = 6000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins what is to be removed
const terminalCodes = /\u001b\[[0-9;?]*[A-Za-z]/g;

/**
 * Runs a tool to its end and keeps what it says, stdout and stderr together, line by line.
 *
 * `onLine(line)` hears each line as it comes; `onSilence(seconds)` is called after every quarter of a minute without one. It runs in the
 * workspace's folder, with its tools, unless `cwd` and `env` say otherwise. Never rejects because of how the
 * tool ended: `{ code, seconds, lines }` says so, with code 127 if there is no such command and 128 + n after signal n.
 */
export async function listenTo(command, args, options = {}) {
  const { onLine = () => {}, onSilence = () => {}, cwd = root, env = withTools() } = options;
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1000;
  const lines = [];
  const hear = (line) => {
    const plain = line.replace(terminalCodes, "").replace(/\r$/, "");
    lines.push(plain);
    heartbeat.refresh();
    onLine(plain);
  };
  const heartbeat = setInterval(() => onSilence(seconds()), heartbeatMs);
  const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (text) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop();
      parts.forEach(hear);
    });
    stream.on("end", () => rest && hear(rest));
  }
  const code = await exitCode(child, "close");
  clearInterval(heartbeat);
  if (code !== 0 && lines.length === 0) lines.push(`${command} ended with exit code ${code}, without a word`);
  return { code, seconds: seconds(), lines };
}

/**
 * Runs a command on this terminal and returns its exit code.
 *
 * Ctrl-C reaches the command by itself, for a terminal tells the whole process group; here it only must not end us before the command
 * has shut down in its own way. Passing it on at once would tell the command twice, which means "at once, without saving". Where there is no
 * terminal and the command still runs after its own patience, SIGINT came to this process alone, and is passed on.
 */
export async function handOver(command, args, { cwd = root, env = process.env } = {}) {
  const child = spawn(command, args, { cwd, env, stdio: "inherit" });
  let unheard;
  const handlers = {
    SIGINT: () => {
      if (!process.stdin.isTTY) unheard ??= setTimeout(() => child.kill("SIGINT"), patienceMs);
    },
    SIGTERM: () => child.kill("SIGTERM"),
    SIGHUP: () => child.kill("SIGHUP"),
  };
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
  try {
    return await exitCode(child, "exit");
  } finally {
    clearTimeout(unheard);
    for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler);
  }
}

function exitCode(child, ending) {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => (error.code === "ENOENT" ? resolve(127) : reject(error)));
    child.once(ending, (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}
