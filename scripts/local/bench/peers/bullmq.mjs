// BullMQ on a Redis whose timers are as exact as it allows. Its jobs are elsewhere than the rows: they are added when told to.
import { createInterface } from 'node:readline'

import { batched, pool, require, send } from './batch.mjs'

const { Queue, Worker } = require('bullmq')

const { hostname: host, port } = new URL(process.env.REDIS_URL)
const connection = { host, port: Number(port) }
const queue = new Queue('send', { connection, defaultJobOptions: { removeOnComplete: true } })
await queue.pause()
const worker = new Worker('send', async (job) => void (await send(job.data)), {
  connection,
  concurrency: batched ? 500 : 50,
})
await worker.waitUntilReady()
console.log('ready')

for await (const _ of createInterface({ input: process.stdin })) {
  const { rows } = await pool.query('select id, scheduled_at from public.bench_messages')
  const delay = (row) => Math.max(0, row.scheduled_at - Date.now())
  for (let i = 0; i < rows.length; i += 1000) {
    await queue.addBulk(
      rows.slice(i, i + 1000).map((row) => ({ name: 'send', data: { id: row.id }, opts: { delay: delay(row) } })),
    )
  }
  await queue.resume()
  console.log('enqueued')
}
