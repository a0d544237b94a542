/** Stands between one worker and its coordinator, and cuts the connection as a router that is switched off would. */
import { connect, createServer, type Socket } from "node:net";
import type { Owner } from "./ringmaster.ts";

export interface ControlProxy {
  /** ws://host:port, for `--join`. */
  readonly url: string;
  /** @returns how many connections there were. */
  cut(): number;
  /** From now on whoever dials it gets there. */
  leadTo(port: number): void;
}

const host = "127.0.0.1";

/** While nobody listens at `port`, whoever dials the proxy is hung up on. */
export async function proxyTo(t: Owner, port: number): Promise<ControlProxy> {
  let target = port;
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((near) => {
    const far = connect(target, host);
    const pair = [near, far] as const;
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of pair) socket.setNoDelay().on("error", end).on("close", end);
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const cut = () => {
    const { size } = pairs;
    for (const [near, far] of pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
    return size;
  };
  t.teardown(() => {
    server.close();
    cut();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("expected a port");
  const leadTo = (port: number) => {
    target = port;
  };
  return { url: `ws://${host}:${address.port}`, cut, leadTo };
}
