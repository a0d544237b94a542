/** For what a user is told where no run's console is there to say it. */
export const sayOnStderr = (line: string): void => void process.stderr.write(`${line}\n`);
