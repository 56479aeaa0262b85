// Consumes the queue as the application's broadcast worker does, and tells on standard output what it got.
// node node_consumer.mjs bullmq5|bullmq6 HOST PORT QUEUE PREFIX
import { createRequire } from 'node:module'

const [library, host, port, queue, prefix] = process.argv.slice(2)
const { Worker } = createRequire(import.meta.url)(library)
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

const worker = new Worker(
  queue,
  async (job) => say({ got: { id: job.id, name: job.name, data: job.data, opts: job.opts } }),
  { connection: { host, port: Number(port) }, prefix, concurrency: 5 },
)
worker.on('completed', (job) => say({ completed: job.id }))
worker.on('failed', (job, fault) => say({ failed: job?.id, reason: fault.message }))
worker.on('error', () => {}) // Redis restarts in the tests; the worker reconnects by itself
await worker.waitUntilReady()
say({ ready: library })
process.on('SIGTERM', () => worker.close().then(() => process.exit(0)))
