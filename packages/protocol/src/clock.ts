/** A time or a span of time in milliseconds. Protocol code never reads a clock: time is an argument. */
export type Millis = number;
