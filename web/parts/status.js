// What a message's status means to its author.
import { html } from '../html.js'
import { When } from './time.js'

// Still to be sent: may be edited, cancelled and deleted.
export const WAITING = ['pending', 'processing', 'in_queue']

export const WORDS = {
  pending: 'pending',
  processing: 'being sent',
  in_queue: 'in the queue',
  sent: 'sent',
  failed: 'failed',
  unconfirmed: 'unconfirmed',
  cancelled: 'cancelled',
}

export const Status = ({ row }) => {
  const waits = row.status === 'processing' && row.waiting_reason
  const delivered = row.status === 'sent' && ['delivered', 'read'].includes(row.delivery_status) && row.delivery_status
  const words = waits ? 'waiting' : (WORDS[row.status] ?? row.status)
  return html`<span class=${`status ${row.status}`}>${words}${delivered && ` · ${delivered}`}</span>`
}

// Why it is not sent, in the daemon's words.
export function Reason({ row }) {
  const isOver = !WAITING.includes(row.status)
  return html`${row.error && html`<p class=${isOver && row.status !== 'sent' ? 'fault' : 'muted'}>${row.error}</p>`}
    ${
      !isOver &&
      row.waiting_reason &&
      html`<p class="waits">
      Waits: ${row.waiting_reason}${row.waiting_until && html`, until about <${When} at=${row.waiting_until} zone=${row.timezone ?? undefined} />`}
    </p>`
    }`
}
