const ofThisCommand = /^(npm_|NX_|NODE_OPTIONS|INIT_CWD)/i;
const caches = /^(XDG_|RINGMASTER_|PIP_CACHE)/i;
const wayOut = /^npm_config_(registry|cafile|.*proxy)$/i;

/**
 * The environment without what somebody else does not have: npm's variables of the command that runs this, and unless `keepCaches`,
 * tools' folders and Ringmaster's cache. A way out to the network stays.
 */
export function newcomersEnvironment({ keepCaches }) {
  const isOurs = (name) => (ofThisCommand.test(name) && !wayOut.test(name)) || (!keepCaches && caches.test(name));
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isOurs(name)));
}
