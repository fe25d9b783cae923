// Uploads files with tus-js-client, WIDTH (1) at a time, and tries for ever.
// node tus.mjs ENDPOINT [stream [WIDTH]], with JSON on its input: [{"file", "location", "chunk"}]
// With "stream" a file is read as it is sent; else it is in memory as a whole.
import fs from "node:fs";
import { createRequire } from "node:module";

// Not "import": that does not look where NODE_PATH says.
const tus = createRequire(import.meta.url)("tus-js-client");

function upload(job) {
  return new Promise((resolve, reject) => {
    const streams = process.argv[3] === "stream";
    const data = streams ? fs.createReadStream(job.file) : fs.readFileSync(job.file);
    const started = new tus.Upload(data, {
      endpoint: process.argv[2],
      chunkSize: job.chunk || Infinity,
      metadata: { location: job.location, filetype: "application/x-test" },
      retryDelays: Array(1000).fill(20),
      onError: reject,
      onSuccess: () => resolve(),
    });
    started.start();
  });
}

const jobs = JSON.parse(fs.readFileSync(0, "utf-8"));

async function work() {
  for (let job; (job = jobs.shift()); ) {
    await upload(job);
    console.log(job.location);
  }
}

await Promise.all(Array.from({ length: Number(process.argv[4] || 1) }, work));
