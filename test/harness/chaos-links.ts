/**
 * Cuts connections between two processes, as a network would: the kernel ends them at both ends (`ss --kill`, SOCK_DESTROY). That takes root, iproute2 and a
 * kernel with CONFIG_INET_DIAG_DESTROY; without them `canCutLinks` says no.
 */
import { execFileSync } from "node:child_process";
import { connect, createServer } from "node:net";

interface Connection {
  readonly from: string;
  readonly to: string;
  readonly pid: number;
}

function ss(...args: readonly string[]): string {
  try {
    return execFileSync("ss", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return "";
  }
}

function established(): Connection[] {
  return ss("-tnpH", "state", "established")
    .split("\n")
    .flatMap((line) => {
      const [, from, to, pid] = /^\d+\s+\d+\s+(\S+)\s+(\S+)\s+users:\(\(.*?pid=(\d+),/.exec(line) ?? [];
      return from === undefined || to === undefined ? [] : [{ from, to, pid: Number(pid) }];
    });
}

/** @returns how many connections between the two there were. */
export function cutBetween(one: number, other: number): number {
  const all = established();
  const shared = all.filter(
    ({ pid, from, to }) => pid === one && all.some((end) => end.pid === other && end.from === to && end.to === from),
  );
  for (const { from, to } of shared) ss("-KtnH", "src", from, "dst", to);
  return shared.length;
}

/** Tries it on a connection of its own. */
export function canCutLinks(): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer((far) => {
      far.on("error", () => {});
      const killed = ss(
        ...["-KtnH", "src", `${far.remoteAddress}:${far.remotePort}`],
        ...["dst", `${far.localAddress}:${far.localPort}`],
      );
      server.close();
      far.destroy();
      resolve(killed.trim() !== "");
    }).listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (address === null || typeof address === "string") return resolve(false);
      connect(address.port, address.address).on("error", () => {});
    });
  });
}
