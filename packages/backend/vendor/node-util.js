// What tfjs-node's kernels take from node:util; newer Nodes have neither (isNullOrUndefined went with Node 23).
export const isNullOrUndefined = (value) => value === null || value === undefined;
export const isArray = Array.isArray;
