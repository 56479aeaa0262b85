// pg-boss, several workers that fetch large batches and go on at once while batches are full.
import { batched, require, send } from './batch.mjs'

const { PgBoss } = require('pg-boss')

const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, max: 8, supervise: false, schedule: false })
await boss.start()
await boss.createQueue('send', { partition: true })
const fetching = {
  batchSize: 500,
  burstWhenBatchFull: true,
  localConcurrency: batched ? 2 : 4,
  priority: false,
  orderByCreatedOn: false,
}
const pollingIntervalSeconds = Number(process.env.POLL_SECONDS ?? 0.5)
await boss.work(
  'send',
  { ...fetching, pollingIntervalSeconds },
  async (jobs) => void (await Promise.all(jobs.map((job) => send(job.data)))),
)
console.log('ready')
