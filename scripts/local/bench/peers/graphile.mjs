// graphile-worker, with its localQueue and batched completion as its page on performance recommends.
import { createRequire } from 'node:module'
import { randomUUID } from 'node:crypto'

const require = createRequire(process.cwd() + '/')
const { run, Logger } = require('graphile-worker')
const { Pool } = require('pg')

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 12 })
const ONE = `update public.bench_messages set status = 'sent', message_id = $2, sent_at = now(), updated_at = now() where id = $1`
const MANY = `update public.bench_messages m set status = 'sent', message_id = g.message_id, sent_at = now(), updated_at = now()
  from unnest($1::uuid[], $2::text[]) as g (id, message_id) where m.id = g.id`

let waiting = []
async function flush() {
  const batch = waiting
  waiting = []
  await pool.query(MANY, [batch.map((w) => w.id), batch.map((w) => w.messageId)])
  for (const w of batch) w.resolve()
}
const send = {
  one: ({ id }) => pool.query({ name: 'one', text: ONE, values: [id, `mock-${randomUUID()}`] }),
  batched: ({ id }) =>
    new Promise((resolve) => {
      if (!waiting.length) setImmediate(flush)
      waiting.push({ id, messageId: `mock-${randomUUID()}`, resolve })
    }),
}[process.argv[2] ?? 'one']

const concurrentJobs = process.argv[2] === 'batched' ? 500 : 24
const poll = process.env.POLL_SECONDS // its local queue must not outlive it, or it would poll as seldom as by default
const waits = poll ? { pollInterval: 1000 * poll } : { localQueue: { size: 500 } }
await run({
  preset: { worker: { concurrentJobs, ...waits, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  pgPool: pool,
  logger: new Logger(() => () => {}),
  noHandleSignals: true,
  taskList: { send: async (payload) => void (await send(payload)) },
})
console.log('ready')
