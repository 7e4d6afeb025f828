'use strict';
// The article's design: `ws`, and a worker thread for each call, which is sent every packet and decodes it.
//
//   article.js PORT RINGFILE CALLS KIND
//
// The way of a packet is the article's, line by line: the asynchronous handler, the map, the message to the worker, the
// look at the backlog. In its favour, what happens on a timer or once a call is left out (the heartbeat, the checks of
// headers), and a request is answered when its worker runs: the article starts one at the first packet, and its start of
// tens of milliseconds would be counted as the packets'. Streams are kept by participant and not, as there, by call: the
// two directions of a call would share a decoder. To its disadvantage, Node cannot map a file, so that a worker writes its
// ring by two pwrite(2): 2 µs a packet that the others do not have.
const WebSocket = require('ws');
const http = require('http');
const fs = require('fs');
const path = require('path');
const { Worker } = require('worker_threads');

const RATES_HZ = { opus16k: 16000, opus8k: 8000 };
const [port, ringFile, , kind] = process.argv.slice(2);
const rateHz = RATES_HZ[kind];
const descriptor = fs.openSync(ringFile, 'r+');
const activeStreams = new Map();
let slotsTaken = 0;

const server = http.createServer((request, response) => {
  response.writeHead(404);
  response.end();
});
const wss = new WebSocket.Server({
  server,
  maxPayload: 1048576,
  perMessageDeflate: false,
  verifyClient: ({ req }, callback) => {
    const participantId = req.headers['x-genesys-participant-id'];
    const workerData = { descriptor, rateHz, slot: slotsTaken++, participantId };
    const worker = new Worker(path.join(__dirname, 'article_worker.js'), { workerData });
    activeStreams.set(participantId, { buffer: [], worker, lastFrameTime: Date.now() });
    worker.once('message', () => callback(true));
  },
});

async function processAudioFrame(ws, binaryData) {
  const stream = activeStreams.get(ws.genesysContext.participantId);
  stream.lastFrameTime = Date.now();
  stream.worker.postMessage({ type: 'audio_chunk', data: binaryData });
  if (stream.buffer.length > 100) {
    stream.buffer.shift();
  }
}

wss.on('connection', (ws, request) => {
  ws.genesysContext = {
    callId: request.headers['x-genesys-call-id'],
    participantId: request.headers['x-genesys-participant-id'],
  };
  ws.on('message', async (data, isBinary) => {
    if (isBinary) {
      await processAudioFrame(ws, data);
    }
  });
  ws.on('close', () => {
    const { participantId } = ws.genesysContext;
    activeStreams.get(participantId).worker.postMessage({ type: 'terminate' });
    activeStreams.delete(participantId);
  });
  ws.on('error', () => {});
});

server.listen(Number(port), '127.0.0.1', 4096, () => console.log('READY'));
