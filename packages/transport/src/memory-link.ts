import type { ControlLink, LinkHandlers } from "./control-link.ts";

/** Two ends of a link within one process: the same messages as over a socket, delivered in order in later turns of the event loop. */
export function memoryLinkPair(): readonly [ControlLink, ControlLink] {
  const ends = [createEnd(), createEnd()] as const;
  ends[0].other = ends[1];
  ends[1].other = ends[0];
  return [ends[0].link, ends[1].link];
}

interface End {
  readonly link: ControlLink;
  other: End | undefined;
  handlers: LinkHandlers | undefined;
  isClosed: boolean;
}

function createEnd(): End {
  const deliver = (bytes: Uint8Array) => {
    const { other } = end;
    if (end.isClosed) return;
    setImmediate(() => {
      if (other && !other.isClosed) other.handlers?.message(bytes);
    });
  };
  const end: End = {
    other: undefined,
    handlers: undefined,
    isClosed: false,
    link: {
      peer: "this process",
      send: deliver,
      async sendBulk(header, payload) {
        deliver(Buffer.concat([header, payload]));
      },
      listen(handlers) {
        end.handlers = handlers;
      },
      close(reason) {
        if (end.isClosed) return;
        end.isClosed = true;
        const { other } = end;
        setImmediate(() => {
          if (!other || other.isClosed) return;
          other.isClosed = true;
          other.handlers?.closed(reason);
        });
      },
    },
  };
  return end;
}
