// graphile-worker, with its localQueue and batched completion as its page on performance recommends.
import { batched, pool, require, send } from './batch.mjs'

const { run, Logger } = require('graphile-worker')

const concurrentJobs = batched ? 500 : 24
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
