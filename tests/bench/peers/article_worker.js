'use strict';
// One call's worker: decodes packets in the order of their messages into the call's slot of the ring file.
const fs = require('fs');
const { OpusEncoder } = require('@discordjs/opus');
const { parentPort, workerData } = require('worker_threads');

const HEADER_BYTES = 64;
const PUBLISHED_BYTE = 16;
const RING_SECONDS = 2;
const { descriptor, rateHz, slot, participantId } = workerData;
const ringBytes = RING_SECONDS * rateHz * 2;
const start = slot * (HEADER_BYTES + ringBytes);
const decoder = new OpusEncoder(rateHz, 1);
const published = new BigUint64Array(1);
let writtenBytes = 0;

parentPort.on('message', (message) => {
  if (message.type === 'terminate') {
    process.exit();
  }
  const { buffer, byteOffset, length } = message.data;
  const samples = decoder.decode(Buffer.from(buffer, byteOffset, length));
  fs.writeSync(descriptor, samples, 0, samples.length, start + HEADER_BYTES + (writtenBytes % ringBytes));
  writtenBytes += samples.length;
  published[0] = BigInt(writtenBytes / 2);
  fs.writeSync(descriptor, published, 0, 8, start + PUBLISHED_BYTE);
});

fs.writeSync(descriptor, Buffer.from(participantId.replaceAll('-', ''), 'hex'), 0, 16, start);
parentPort.postMessage('ready');
