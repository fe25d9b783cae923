// Uploads files with tus-js-client, one after another, and tries for ever.
// node tus.mjs ENDPOINT, with JSON on its input: [{"file", "location", "chunk"}]
import fs from "node:fs";
import { createRequire } from "node:module";

// Not "import": that does not look where NODE_PATH says.
const tus = createRequire(import.meta.url)("tus-js-client");

function upload(job) {
  return new Promise((resolve, reject) => {
    const started = new tus.Upload(fs.readFileSync(job.file), {
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

for (const job of JSON.parse(fs.readFileSync(0, "utf-8"))) {
  await upload(job);
  console.log(job.location);
}
