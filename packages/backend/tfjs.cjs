// tfjs as the CommonJS module that it is. Where ESM imports it by its own name, Node first reads its four megabytes for the names in them: .26 s of
// processor in every thread. It looks for names no further than into this file, which has none.
const tfjs = require("@tensorflow/tfjs");
module.exports = tfjs;
