/** One end of the connection between a coordinator and a worker: messages in order, each a msgpack value, both ways. */
export interface ControlLink {
  /** Where the other end is, for logs. */
  readonly peer: string;
  /** Control messages are small; they are queued. Nothing happens on a closed link. */
  send(message: Uint8Array): void;
  /** A bulk message, header and payload as one. Resolves when there is room for the next; the payload may change only then. */
  sendBulk(header: Uint8Array, payload: Uint8Array): Promise<void>;
  /** Set once, before the event loop turns. */
  listen(handlers: LinkHandlers): void;
  /** Ends the link after what was sent; the other end hears `reason`. */
  close(reason: string): void;
}

export interface LinkHandlers {
  message(bytes: Uint8Array): void;
  /** Once. Neither end says anything afterwards. `reason` is empty where the peer vanished. */
  closed(reason: string): void;
}
