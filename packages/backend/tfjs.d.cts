import tfjs = require("@tensorflow/tfjs");
export = tfjs;
