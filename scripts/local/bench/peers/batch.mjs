// What a job's handler does: its row becomes `sent`, by a statement of its own, or by one for a turn of the event loop.

import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'

export const require = createRequire(`${process.cwd()}/`)
export const batched = process.argv[2] === 'batched'
export const pool = new (require('pg').Pool)({ connectionString: process.env.DATABASE_URL, max: 12 })

const ONE = `update public.bench_messages set status = 'sent', due_at = null, message_id = $2, sent_at = now(), updated_at = now() where id = $1`
const MANY = `update public.bench_messages m set status = 'sent', due_at = null, message_id = g.message_id, sent_at = now(), updated_at = now()
  from unnest($1::uuid[], $2::text[]) as g (id, message_id) where m.id = g.id`

let waiting = []
async function flush() {
  const batch = waiting
  waiting = []
  await pool.query(MANY, [batch.map((w) => w.id), batch.map((w) => w.messageId)])
  for (const w of batch) w.resolve()
}

const sendOne = ({ id }) => pool.query({ name: 'one', text: ONE, values: [id, `mock-${randomUUID()}`] })
const sendBatched = ({ id }) =>
  new Promise((resolve) => {
    if (!waiting.length) setImmediate(flush)
    waiting.push({ id, messageId: `mock-${randomUUID()}`, resolve })
  })
export const send = batched ? sendBatched : sendOne
